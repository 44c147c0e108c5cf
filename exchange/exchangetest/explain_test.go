package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// explained asks what happened, as a member.
func explained(t *testing.T, e *exchangetest.Exchange, member, token string, query url.Values) (list []admission.Explanation) {
	t.Helper()
	status, _, text := e.Do(t, "GET", "/v1/explain?"+query.Encode(), member, token, "")
	if status != http.StatusOK {
		t.Fatal(status, text)
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// grantsOf says who is given what, by which key, plainly: it knows nothing of the
// exchange's tables.
func grantsOf(grants []exchange.Grant) (list []string) {
	for _, g := range grants {
		list = append(list, fmt.Sprintln(g.Collection, g.Key.Kind, g.Key.Value, g.Allow, g.Rule))
	}
	return list
}

// 1,000 events, each under a register that changes meanwhile: what explain says of
// each equals what the rules, written down here once more, give.
func TestExplainAgreesWithAnIndependentRecomputation(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	random := rand.New(rand.NewPCG(5, 6))
	const events, batches = 1000, 10
	type row struct {
		exchange.Event
		want []string
	}
	var rows []row
	owner := "240.1.0.0/16"
	for batch := range batches {
		if batch == batches/2 { // the owner loses half of its prefix
			owner = "240.1.0.0/17"
			e.Apply(t, strings.Replace(exchangetest.Register, "240.1.0.0/16", owner, 1))
		}
		var csv strings.Builder
		csv.WriteString("ip,timestamp,asn,cc,tlp\n")
		for i := range events / batches {
			a := netip.AddrFrom4([4]byte{240, byte(1 + random.IntN(2)), byte(random.IntN(256)), byte(batch*25 + i/4)})
			r := row{Event: exchange.Event{Address: a, Observed: time.Date(2026, 3, 1+i%4, batch, i, 0, 0, time.UTC), Count: 1}}
			r.ASN = []uint32{64511, 7, 0}[random.IntN(3)]
			r.Country = []string{"AT", "PL", "DE", ""}[random.IntN(4)]
			label := []string{"green", "amber", "amber+strict"}[random.IntN(3)]
			if err := r.Label.UnmarshalText([]byte(label)); err != nil {
				t.Fatal(err)
			}
			asn := ""
			if r.ASN != 0 {
				asn = fmt.Sprint(r.ASN)
			}
			fmt.Fprintf(&csv, "%s,%s,%s,%s,%s\n", a, r.Observed.Format(time.RFC3339), asn, r.Country, label)
			team := map[string]string{"AT": "cert-at", "PL": "cert-pl"}[r.Country]
			if team != "" {
				r.want = append(r.want, fmt.Sprintln(team, "country", r.Country, true, "within-ceiling"))
			}
			key := ""
			if netip.MustParsePrefix(owner).Contains(a) {
				key = "prefix " + owner
			} else if r.ASN == 64511 {
				key = "asn AS64511"
			}
			if key != "" && label == "amber+strict" {
				r.want = append(r.want, fmt.Sprintln("isp-one", key, false, "above-ceiling"))
			} else if key != "" {
				r.want = append(r.want, fmt.Sprintln("isp-one", key, true, "within-ceiling"))
			}
			if r.want == nil {
				r.want = []string{fmt.Sprintln("unclaimed", "", "", true, "within-ceiling")}
			}
			rows = append(rows, r)
		}
		if got := e.Publish(t, "rustock", csv.String()); got.Events != events/batches {
			t.Fatalf("%+v", got)
		}
	}
	admin := e.AdminToken()
	for i := range rows {
		list := explained(t, e, exchange.Admin, admin, url.Values{"event": {admission.EventName("rustock", &rows[i].Event)}})
		if len(list) != 1 || list[0].Observed == nil || !list[0].Observed.Equal(rows[i].Observed) {
			t.Fatalf("event %d: %+v", i, list)
		}
		got := grantsOf(list[0].Grants)
		slices.Sort(got)
		slices.Sort(rows[i].want)
		if d := cmp.Diff(rows[i].want, got); d != "" {
			t.Fatalf("event %d, %+v: %s", i, rows[i].Event, d)
		}
	}
}

// Whoever holds an object may ask why, and is told what was given to them, no more.
func TestAMemberIsToldWhyItGotAnObject(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", "ip,timestamp,cc,tlp\n240.1.2.3,2026-03-19T00:00:00Z,AT,amber\n240.1.2.3,2026-03-19T01:00:00Z,AT,red\n")
	objects, _ := e.Pull(t, "isp-one", taxiiclient.Cursor{}, taxii.Filter{})
	token := e.Token(t, "isp-one")
	kinds := 0
	for _, text := range objects {
		var o struct{ ID, Type string }
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		switch o.Type {
		case "indicator", "observed-data", "sighting", "relationship":
		default:
			continue
		}
		if strings.Contains(text, `"remediates"`) {
			continue // it is about the malware, and no host
		}
		kinds++
		list := explained(t, e, "isp-one", token, url.Values{"event": {o.ID}})
		if len(list) != 1 || len(list[0].Grants) != 1 || list[0].Grants[0].Key.Value != "240.1.0.0/16" || list[0].Label.String() != "amber" {
			t.Errorf("%s: %+v", o.Type, list)
		}
	}
	if kinds < 4 {
		t.Errorf("%d kinds of objects", kinds)
	}
	// Another member learns nothing of it, and nobody of the one that is red.
	pl := e.Token(t, "cert-pl")
	if list := explained(t, e, "cert-pl", pl, url.Values{"address": {"240.1.2.3"}, "day": {"2026-03-19"}}); len(list) != 0 {
		t.Errorf("cert-pl is told %+v", list)
	}
	red := exchange.Event{Address: netip.MustParseAddr("240.1.2.3"), Observed: time.Date(2026, 3, 19, 1, 0, 0, 0, time.UTC), Count: 1, Country: "AT"}
	if err := red.Label.UnmarshalText([]byte("red")); err != nil {
		t.Fatal(err)
	}
	if status, _, text := e.Do(t, "GET", "/v1/explain?"+url.Values{"event": {admission.EventName("rustock", &red)}}.Encode(), "isp-one", token, ""); status != http.StatusNotFound {
		t.Errorf("isp-one is told of what is red: %d %s", status, text)
	}
	if list := explained(t, e, exchange.Admin, e.AdminToken(), url.Values{"event": {admission.EventName("rustock", &red)}}); len(list) != 1 || list[0].Grants[0].Allow {
		t.Errorf("the operator is told %+v", list)
	}
}

// What a member may not know it does not learn by asking either.
func TestExplainTellsAMemberNothingOfOthers(t *testing.T) {
	t.Parallel()
	file := strings.Replace(exchangetest.Register, "feeds:", `  - {id: small, name: Small, kind: network-owner, clearance: amber, constituency: {prefixes: [240.1.2.0/24]}}
feeds:
  - {id: covert, publisher: dcu, operation: covert, malware: {name: Covert}, default_tlp: red, allow_reserved: true}
  - {id: without, publisher: dcu, operation: without, malware: {name: X}, exclude: [isp-one], allow_reserved: true}`, 1)
	e := exchangetest.Start(t, file)
	isp, pl := e.Token(t, "isp-one"), e.Token(t, "cert-pl")
	// Another key is more specific: whose, and on which feeds not for it, it does not learn.
	_, _, text := e.Do(t, "GET", "/v1/explain?address=240.1.2.3", "isp-one", isp, "")
	for _, word := range []string{"small", "covert", "without", "240.1.2.0"} {
		if strings.Contains(text, word) {
			t.Errorf("isp-one is told of %s: %s", word, text)
		}
	}
	if !strings.Contains(text, "a more specific key counts") {
		t.Errorf("isp-one is not told why: %s", text)
	}
	// The day of a host was withheld as a whole.
	e.Publish(t, "rustock", "ip,timestamp,cc,tlp,hostname\n240.1.3.3,2026-03-19T00:00:00Z,AT,amber,secret.example.org\n240.1.3.3,2026-03-19T01:00:00Z,AT,amber+strict,x\n")
	if objects, _ := e.Pull(t, "isp-one", taxiiclient.Cursor{}, taxii.Filter{}); len(objects) != 0 {
		t.Fatal("isp-one was given it")
	}
	if list := explained(t, e, "isp-one", isp, url.Values{"address": {"240.1.3.3"}, "day": {"2026-03-19"}}); len(list) != 0 {
		t.Errorf("isp-one is told %+v", list)
	}
	// Whether there is an event, or a feed, shows in nothing.
	all := explained(t, e, exchange.Admin, e.AdminToken(), url.Values{"address": {"240.1.3.3"}, "day": {"2026-03-19"}})
	if len(all) != 2 {
		t.Fatal(all)
	}
	answers := make(map[string]bool)
	for _, query := range []string{"event=" + url.QueryEscape(all[0].Event), "event=" + url.QueryEscape(all[0].Event[:len(all[0].Event)-4]+"0000")} {
		status, _, text := e.Do(t, "GET", "/v1/explain?"+query, "cert-pl", pl, "")
		answers[fmt.Sprint(status, text)] = true
	}
	if len(answers) != 1 {
		t.Errorf("events: %v", answers)
	}
	clear(answers)
	for _, feed := range []string{"rustock", "covert", "nope"} {
		status, _, text := e.Do(t, "GET", "/v1/explain?address=8.8.8.8&feed="+feed, "cert-pl", pl, "")
		answers[fmt.Sprint(status, text)] = true
	}
	if len(answers) != 1 {
		t.Errorf("feeds: %v", answers)
	}
}
