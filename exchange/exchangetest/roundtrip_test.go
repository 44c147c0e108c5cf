package exchangetest_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// onward has a feed of each profile, and one that takes what was pulled.
const onward = `
members:
  - {id: dcu, name: DCU, kind: publisher, clearance: amber+strict}
  - {id: cert-at, name: CERT.at, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}}
feeds:
  - {id: infection, publisher: dcu, operation: one, malware: {name: Rustock, types: [bot]}, default_tlp: amber, profile: infection, allow_reserved: true, evidence: all, places: publisher}
  - {id: observation, publisher: dcu, operation: two, malware: {name: Rustock, types: [bot]}, default_tlp: amber, profile: observation, allow_reserved: true, evidence: all, places: publisher}
  - {id: indicator, publisher: dcu, operation: three, malware: {name: Rustock, types: [bot]}, default_tlp: amber, profile: indicator, allow_reserved: true, evidence: all, places: publisher}
`

// manyRows are sightings of hosts, some seen several times, under every label, with and without what a row may say.
func manyRows(r *rand.Rand, hosts int) string {
	var b strings.Builder
	b.WriteString("timestamp,ip,port,asn,cc,hostname,malware,protocol,application,provider,dst_ip,dst_port,exposed,tlp,colour\n")
	maybe := func(s string) string {
		if r.IntN(3) == 0 {
			return ""
		}
		return s
	}
	for n := range hosts {
		label := []string{"clear", "green", "amber", "amber+strict"}[r.IntN(4)]
		exposed := ""
		if r.IntN(10) == 0 {
			exposed = "scan_rdp"
		}
		for range 1 + r.IntN(3) {
			at := time.Date(2026, 3, 19, 0, 0, 0, r.IntN(1000)*1e6, time.UTC).Add(time.Duration(r.IntN(86_000)) * time.Second)
			fmt.Fprintf(&b, "%s,240.%d.%d.%d,%s,64511,AT,%s,%s,%s,%s,%s,%s,%s,%s,%s,%s\n", at.Format(stix.TimeLayout), n>>16, n>>8&255, n&255, maybe(strconv.Itoa(1+r.IntN(65_535))),
				maybe(fmt.Sprintf("host%d.example.at", n)), maybe("rustock"), maybe("tcp"), maybe("http"), maybe("Sinkhole"), maybe("198.51.100.7"), maybe("80"), exposed, label, maybe("blue"))
		}
	}
	return b.String()
}

// hostsOf tells what a collection says of each host: all but identifiers and decisions.
func hostsOf(objects []string) map[string]string {
	addresses, list := make(map[string]string), make(map[string]string)
	for _, o := range objects {
		var x struct{ Type, ID, Value string }
		if json.Unmarshal([]byte(o), &x) == nil && strings.HasSuffix(x.Type, "-addr") {
			addresses[x.ID] = x.Value
		}
	}
	for _, o := range objects {
		var x struct {
			Type, Pattern string
			First         string   `json:"first_observed"`
			Last          string   `json:"last_observed"`
			From          string   `json:"valid_from"`
			Number        int64    `json:"number_observed"`
			Refs          []string `json:"object_refs"`
			Markings      []string `json:"object_marking_refs"`
			Extensions    map[string]map[string]any
		}
		if json.Unmarshal([]byte(o), &x) != nil {
			continue
		}
		switch x.Type {
		case "observed-data":
			e := x.Extensions[exchange.HostEvidenceID]
			delete(e, "operation")
			text, _ := json.Marshal(e)
			list[addresses[x.Refs[0]]+" "+fmt.Sprint(e["exposed"])] = fmt.Sprint(x.First, " ", x.Last, " ", x.Number, " ", x.Markings, " ", string(text))
		case "indicator":
			list[x.Pattern] = fmt.Sprint(x.From, x.Markings)
		}
	}
	return list
}

// What one exchange gives, published on another, is the same there.
func TestWhatWasPulledIsTheSameOnAnotherExchange(t *testing.T) {
	t.Parallel()
	hosts := 300
	if n, err := strconv.Atoi(os.Getenv("TOCSIN_ROUNDTRIP_HOSTS")); err == nil {
		hosts = n
	}
	here := exchangetest.Start(t, onward)
	rows := manyRows(rand.New(rand.NewPCG(5, 6)), hosts)
	for _, profile := range []string{"infection", "observation", "indicator"} {
		if r := here.Publish(t, profile, rows); r.Rejected != 0 || len(r.Notes) != 0 {
			t.Fatalf("%+v", r)
		}
		objects, _ := here.Pull(t, exchange.FeedCollection(profile), taxiiclient.Cursor{}, taxii.Filter{})
		want := hostsOf(objects)
		if len(want) < hosts {
			t.Fatalf("%s: %d hosts", profile, len(want))
		}
		lines := strings.Join(objects, "\n") + "\n"
		for name, source := range map[string]string{
			"as a bundle": `{"type":"bundle","id":"bundle--99999999-0000-4000-8000-000000000000","objects":[` + strings.Join(objects, ",") + `]}`,
			"as lines":    lines, "as CSV": asCSV(t, objects),
		} {
			if name == "as a bundle" && len(source) > report.MaxDocument {
				continue
			}
			there := exchangetest.Start(t, onward)
			r := there.PublishAs(t, source, apiclient.Publication{Feed: profile})
			if r.Rejected != 0 || len(r.Unread) != 0 {
				t.Errorf("%s, %s: %+v", profile, name, r.Problems)
			}
			again, _ := there.Pull(t, exchange.FeedCollection(profile), taxiiclient.Cursor{}, taxii.Filter{})
			if d := cmp.Diff(want, hostsOf(again)); d != "" {
				t.Errorf("%s, %s: %.3000s", profile, name, d)
			}
			// What was pulled is the same sightings, however often and in whichever form they come.
			if name == "as lines" {
				if r := there.PublishAs(t, asCSV(t, objects), apiclient.Publication{Feed: profile}); r.Events != 0 {
					t.Errorf("%s: as CSV after lines: %+v", profile, r)
				}
			}
			there.Stop(t)
		}
	}
}

// What one exchange gives to MISP, published on another: address, times, what is exposed, and the newest source port are
// the same, and no label is lower. MISP has no place for the rest (report/misp.go has the table), and none for what is AMBER+STRICT.
func TestWhatMISPGotIsTheSameOnAnotherExchange(t *testing.T) {
	t.Parallel()
	here, there := exchangetest.Start(t, onward), exchangetest.Start(t, onward)
	here.Publish(t, "observation", manyRows(rand.New(rand.NewPCG(7, 8)), 200))
	m := &misp{member: as(t, here, "dcu"), collection: "feed-observation"}
	for id := range m.manifest() {
		m.tags = nil
		_, text := m.get(id + ".json")
		if r := there.PublishAs(t, text, apiclient.Publication{Feed: "observation", Format: report.MISP}); r.Rejected != 0 || r.Events == 0 {
			t.Errorf("%+v", r)
		}
	}
	hosts := func(e *exchangetest.Exchange) map[string]string {
		objects, _ := e.Pull(t, "feed-observation", taxiiclient.Cursor{}, taxii.Filter{})
		rows, err := csv.NewReader(strings.NewReader(asCSV(t, objects))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		column := func(name string) int { return slices.Index(report.SightingColumns(), name) }
		type host struct{ first, last, port, label string }
		list := make(map[string]host)
		for _, row := range rows[1:] {
			at, since := row[column("timestamp")], row[column("first_seen")]
			key := row[column("ip")] + " " + row[column("exposed")]
			h, known := list[key]
			if since == "" {
				since = at
			}
			if !known || since < h.first {
				h.first = since
			}
			if at >= h.last {
				h.last, h.port = at, row[column("port")]
			}
			h.label = row[column("tlp")]
			list[key] = h
		}
		out := make(map[string]string)
		for key, h := range list {
			if e == there || h.label != "tlp:amber+strict" { // which MISP does not get
				h.label = "tlp:amber+strict" // the event has something AMBER, so MISP's distribution is one organisation
				out[key] = fmt.Sprint(h)
			}
		}
		return out
	}
	if d := cmp.Diff(hosts(here), hosts(there)); d != "" || len(hosts(there)) < 100 {
		t.Errorf("%d hosts, %.3000s", len(hosts(there)), d)
	}
}

// asCSV is what tocsin pull --output csv prints.
func asCSV(t *testing.T, objects []string) string {
	t.Helper()
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	s := report.NewSightings()
	if err := w.Write(report.SightingColumns()); err != nil {
		t.Fatal(err)
	}
	for page := range slices.Chunk(objects, 37) {
		for _, o := range page {
			s.Add([]byte(o))
		}
		if err := s.Page(false, func(x *report.Sighting) error { return w.Write(x.Row()) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Page(true, func(x *report.Sighting) error { return w.Write(x.Row()) }); err != nil {
		t.Fatal(err)
	}
	if n, why := s.Left(); n != 0 {
		t.Fatal(n, why)
	}
	w.Flush()
	return b.String()
}
