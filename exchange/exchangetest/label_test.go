package exchangetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// labelled is the register of these tests: collections of each ceiling that members write to.
const labelled = `
members:
  - {id: cert-at, kind: csirt, clearance: red, constituency: {countries: [AT]}, identities: [identity--00000000-0000-4000-8000-0000000000aa]}
  - {id: cert-pl, kind: csirt, clearance: amber+strict, constituency: {countries: [PL]}, identities: [identity--00000000-0000-4000-8000-0000000000cc]}
  - {id: isp-one, kind: network-owner, clearance: amber, constituency: {asns: [64511], prefixes: ["240.1.0.0/16"]}}
  - {id: dcu, kind: publisher, clearance: red}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock}, default_tlp: amber, allow_reserved: true}
collections:
  - {id: low, ceiling: green, floor: clear, readers: all, writers: all}
  - {id: mid, ceiling: amber, floor: clear, readers: all, writers: all}
  - {id: room, ceiling: red, floor: red, persons: [cert-at/eva, admin/otto], writers: all}
quarantine: [cert-at/eva]
`

const (
	green   = `,"object_marking_refs":["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]`
	amber   = `,"object_marking_refs":["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"]`
	red     = `,"object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`
	unknown = `,"object_marking_refs":["marking-definition--00000000-0000-4000-8000-00000000acac","marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"]`

	vendor = `,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000aa"` // whom cert-at speaks for

	version2 = "2026-01-02T00:00:00.000Z"
	version3 = "2026-01-03T00:00:00.000Z"
)

// member is one who writes and reads.
type member struct {
	t     *testing.T
	e     *exchangetest.Exchange
	id    string
	token string
}

func as(t *testing.T, e *exchangetest.Exchange, id string) member {
	return member{t, e, id, e.Token(t, id)}
}

// add posts one object and returns why it was refused, "" where it was not.
func (m member) add(collection, object string) string {
	m.t.Helper()
	st := post(m.t, m.e, collection, m.id, m.token, envelope(object))
	for _, d := range append(st.Failures, st.Pendings...) {
		return d.Message
	}
	return ""
}

// has lists the versions of sample n in a collection.
func (m member) has(collection string, n int) (list []string) {
	m.t.Helper()
	path := fmt.Sprintf("/exchange/collections/%s/objects/indicator--%08d-0000-4000-8000-%012d/versions/", collection, n, n)
	code, _, text := m.e.Do(m.t, "GET", path, m.id, m.token, "", "Accept", taxii.MediaType)
	var got taxii.Versions
	if code == http.StatusOK && json.Unmarshal([]byte(text), &got) != nil {
		m.t.Fatal(text)
	}
	return got.Versions
}

func TestOnlyTheOwnerLowersALabel(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl, operator := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, exchange.Admin)
	if why := at.add("mid", sample(1, version1, amber+vendor)); why != "" {
		t.Fatal(why)
	}
	_, relation := telling("relationship", 7, version1, green, sampleID(1), sampleID(2))
	for what, why := range map[string]string{
		"the same version, unmarked":          pl.add("low", sample(1, version1, vendor)),
		"a newer version":                     pl.add("mid", sample(1, version2, green+vendor)),
		"a relationship that refers to it":    at.add("low", relation),
		"what says that it is of its creator": pl.add("low", sample(3, version1, green+vendor)),
	} {
		if why == "" {
			t.Errorf("%s was taken", what)
		}
	}
	// Who reads it may post it on, as it is read.
	if why := pl.add("mid", sample(1, version1, amber+vendor)); why != "" {
		t.Error(why)
	}
	if why := at.add("mid", sample(1, version2, green+vendor)); why != "" {
		t.Fatal("its owner may lower it:", why)
	}
	if why := pl.add("low", sample(1, version2, green+vendor)); why != "" {
		t.Error("what is read may be posted on:", why)
	}
	if why := operator.add("low", sample(1, version3, vendor)); why != "" {
		t.Error(why)
	}
	if _, _, text := e.Do(t, "GET", "/exchange/collections/low/objects/"+sampleID(1)+"/", at.id, at.token, "", "Accept", taxii.MediaType); !strings.Contains(text, version3) || !strings.Contains(text, green[1:]) {
		t.Error("who is not the owner has lowered a label:", text)
	}
	if at.add("mid", sample(1, "2026-01-04T00:00:00.000Z", green+`,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000bb"`)) == "" {
		t.Error("the creator has changed")
	}
}

func TestRaisingALabelWithdraws(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	told := make(chan []string, 8)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		_ = client(e, pl.id, pl.token).Events(ctx, "low", "", "", func(ev *apiclient.Event) error {
			if ev.Withdrawn != nil {
				told <- ev.Withdrawn
			}
			return nil
		})
	}()
	go func() {
		_ = client(e, pl.id, pl.token).Subscribe(ctx, "low", "", func(b *apiclient.Block) error {
			for _, o := range b.Removed {
				told <- []string{o.ID}
			}
			return nil
		})
	}()
	for n := range 3 {
		if why := at.add("low", sample(n, version1, green+vendor)); why != "" {
			t.Fatal(why)
		}
	}
	// Somebody else's word does not count.
	if pl.add("mid", sample(1, version2, amber+vendor)) == "" {
		t.Error("cert-pl may add nothing of others")
	}
	if got := pl.has("low", 1); len(got) != 1 {
		t.Fatal("low has", got)
	}
	if why := at.add("mid", sample(1, version2, amber+vendor)); why != "" {
		t.Fatal(why)
	}
	// Refused where it is posted, and withdrawn all the same.
	if why := at.add("low", sample(2, version2, amber+vendor)); !strings.Contains(why, "AMBER") {
		t.Error(why)
	}
	for n, want := range [][]int{{1, 0}, {0, 1}, {0, 0}} {
		if low, mid := pl.has("low", n), pl.has("mid", n); len(low) != want[0] || len(mid) != want[1] {
			t.Errorf("%d: low has %v, mid %v", n, low, mid)
		}
	}
	for n := 1; n <= 2; n++ {
		if pl.add("low", sample(n, version1, green+vendor)) == "" || at.add("low", sample(n, version1, green+vendor)) == "" {
			t.Error("what was withdrawn came back")
		}
	}
	seen := make(map[string]int)
	for range 4 { // both, over both ways
		select {
		case list := <-told:
			seen[strings.Join(list, " ")]++
		case <-time.After(10 * time.Second):
			t.Fatal("who had them was not told:", seen)
		}
	}
	if seen[sampleID(1)] != 2 || seen[sampleID(2)] != 2 {
		t.Error(seen)
	}
	if _, _, text := e.Do(t, "GET", "/v1/collections/low/withdrawn", pl.id, pl.token, ""); !strings.Contains(text, sampleID(1)) || !strings.Contains(text, sampleID(2)) {
		t.Error(text)
	}
	cancel()
	// A view that is made anew says the same.
	whole(t, e, "low")
	e = rebuilt(t, e)
	at.e, pl.e = e, e
	if got := pl.has("low", 1); got != nil {
		t.Error("after a rebuild low has", got)
	}
	if at.add("low", sample(1, version1, green+vendor)) == "" || pl.add("mid", sample(1, version3, amber+vendor)) == "" {
		t.Error("a rebuild has forgotten whose it is, and its label")
	}
}

func TestRaisingAnEventsLabelWithdrawsItsHost(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	isp, at := as(t, e, "isp-one"), as(t, e, "cert-at")
	const rows = "ip,timestamp,cc,asn,port,tlp\n240.1.0.1,2026-03-19T%s:00:00Z,AT,64511,4711,%s\n"
	e.Publish(t, "rustock", fmt.Sprintf(rows, "09", ""))
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,port,protocol\n240.1.0.1,2026-03-19T09:30:00Z,AT,64511,53,udp\n")
	for n := range 40 { // more than are kept
		e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc,asn,port\n240.1.0.1,2026-03-19T09:%02d:00Z,AT,64511,%d\n", 31+n%20, 1000+n))
	}
	e.Publish(t, "rustock", fmt.Sprintf(rows, "10", ""))
	of := func(m member) int {
		var got struct{ Objects []json.RawMessage }
		_, _, text := e.Do(t, "GET", "/exchange/collections/"+m.id+"/objects/?match[type]=observed-data,sighting,indicator,relationship,network-traffic&match[version]=all", m.id, m.token, "", "Accept", taxii.MediaType)
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(text)
		}
		n := 0
		for _, o := range got.Objects {
			if !strings.Contains(string(o), `"remediates"`) {
				n++
			}
		}
		return n
	}
	if isp, at := of(isp), of(at); isp == 0 || isp != at {
		t.Fatal(isp, at)
	}
	if r := e.Publish(t, "rustock", fmt.Sprintf(rows, "11", "amber+strict")); r.Withheld != 1 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	if n := of(isp); n != 0 {
		t.Errorf("isp-one still has %d objects of a host that is amber+strict now", n)
	}
	if of(at) == 0 {
		t.Error("cert-at has nothing")
	}
	_, _, text := e.Do(t, "GET", "/v1/collections/isp-one/withdrawn", isp.id, isp.token, "")
	if !strings.Contains(text, "observed-data--") || strings.Contains(text, "network-traffic--") { // whose ids anybody can compute
		t.Error(text)
	}
	whole(t, e, "isp-one")
}

// The same file again with a higher label is no second sighting: the host is labelled so now, and leaves those who may not
// have it.
func TestTheSameFileWithAHigherLabelRaisesIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	isp, at := as(t, e, "isp-one"), as(t, e, "cert-at")
	for n, rows := range []string{
		"ip,timestamp,cc,asn\n240.1.0.1,2026-03-19T09:00:00Z,AT,64511\n240.1.0.1,2026-03-19T10:00:00Z,AT,64511\n",
		"ip,timestamp,cc,asn,tlp\n240.1.0.2,2026-03-19T09:00:00Z,AT,64511,LABEL\n", // of the rows' own
	} {
		host := fmt.Sprintf("240.1.0.%d", n+1)
		publish := func(label string) *exchange.Receipt {
			p := apiclient.Publication{Feed: "rustock"}
			if n == 0 {
				p.TLP = label
			}
			return e.PublishAs(t, strings.ReplaceAll(rows, "LABEL", label), p)
		}
		count := func(m member) string {
			_, _, text := e.Do(t, "GET", "/exchange/collections/"+m.id+"/objects/?match[type]=observed-data,indicator", m.id, m.token, "", "Accept", taxii.MediaType)
			if !strings.Contains(text, "'"+host+"'") {
				return "none"
			}
			_, text, _ = strings.Cut(text[strings.LastIndex(text, `"number_observed":`):], ":")
			text, _, _ = strings.Cut(text, ",")
			return text
		}
		first := publish("amber")
		seen := count(at)
		if first.Events != int64(2-n) || count(isp) != seen || seen != fmt.Sprint(2-n) {
			t.Fatalf("%+v %s", first, seen)
		}
		if r := publish("amber"); r.Duplicates != first.Events || r.Raised != 0 {
			t.Errorf("%+v", r)
		}
		if r := publish("amber+strict"); r.Duplicates != first.Events || r.Raised != 1 || r.Events != 0 {
			t.Errorf("%+v", r)
		}
		if count(isp) != "none" || count(at) != seen {
			t.Errorf("isp-one has %s, cert-at %s, want none and %s", count(isp), count(at), seen)
		}
		if r := publish("green"); r.Raised != 0 || r.Duplicates != first.Events || count(isp) != "none" {
			t.Errorf("lowered: %+v", r)
		}
	}
	whole(t, e, "isp-one")
}

// What is exposed and not infected is told as that: with a note, and without anything that says it is compromised.
func TestWhatIsExposedIsNotCompromised(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	r := e.PublishAs(t, "timestamp,severity,ip,port,protocol,asn,geo\n2026-03-19 00:04:07,high,240.1.0.1,3389,tcp,64511,AT\n",
		apiclient.Publication{Feed: "rustock", Name: "2026-03-19-scan_rdp-example.csv"})
	e.Publish(t, "rustock", "timestamp,ip,asn,cc\n2026-03-19 00:04:07,240.1.0.2,64511,AT\n")
	e.Publish(t, "rustock", "timestamp,ip,asn,cc\n2026-03-19 00:05:07,240.1.0.1,64511,AT\n") // and infected as well
	e.Publish(t, "rustock", "timestamp,ip\n2026-03-19 00:06:07,240.1.0.1\n")
	if r.Events != 1 || r.Collections["cert-at"] != 1 || r.Collections["isp-one"] != 1 {
		t.Fatalf("%+v", r)
	}
	objects, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	var indicators, notes, infected, exposed int
	for _, o := range objects {
		switch {
		case strings.Contains(o, `"type":"indicator"`):
			indicators++
		case strings.Contains(o, `"type":"note"`):
			if notes++; !strings.Contains(o, "scan_rdp") {
				t.Error(o)
			}
		case strings.Contains(o, `"type":"observed-data"`) && strings.Contains(o, `"exposed":"scan_rdp"`):
			if exposed++; !strings.Contains(o, `"number_observed":1`) {
				t.Error(o)
			}
		case strings.Contains(o, `"type":"observed-data"`):
			infected++
		}
	}
	if indicators != 2 || notes != 1 || exposed != 1 || infected != 2 {
		t.Errorf("%d indicators, %d notes, %d exposed, %d infected", indicators, notes, exposed, infected)
	}
	if r := e.PublishAs(t, "timestamp,severity,ip,port,protocol,asn,geo\n2026-03-19 00:04:07,high,240.1.0.1,3389,tcp,64511,AT\n",
		apiclient.Publication{Feed: "rustock", Name: "2026-03-19-scan_rdp-again.csv"}); r.Duplicates != 1 {
		t.Errorf("again: %+v", r)
	}
	whole(t, e, "cert-at")
}

// Who is responsible for a host no more keeps what it was given up to AMBER, and loses it above that.
func TestRaisingAnEventsLabelReachesWhoAnsweredForItsHost(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	isp, at, pl := as(t, e, "isp-one"), as(t, e, "cert-at"), as(t, e, "cert-pl")
	const row = "ip,timestamp,cc,asn,port,tlp\n240.1.0.%d,2026-03-19T%s:00:00Z,AT,64511,4711,%s\n"
	hosts := func(m member) int {
		_, _, text := e.Do(t, "GET", "/exchange/collections/"+m.id+"/objects/?match[type]=observed-data", m.id, m.token, "", "Accept", taxii.MediaType)
		return strings.Count(text, `"type":"observed-data"`)
	}
	for n := 1; n <= 2; n++ {
		e.Publish(t, "rustock", fmt.Sprintf(row, n, "09", "green"))
	}
	if isp, at := hosts(isp), hosts(at); isp != 2 || at != 2 {
		t.Fatal(isp, at)
	}
	e.Apply(t, strings.NewReplacer("countries: [PL]", "countries: [AT]", "countries: [AT]", "countries: [PL]", `asns: [64511], prefixes: ["240.1.0.0/16"]`, "asns: [64512]").Replace(labelled))
	e.Publish(t, "rustock", fmt.Sprintf(row, 1, "10", "amber"))
	if isp, at := hosts(isp), hosts(at); isp != 2 || at != 2 {
		t.Error("what is amber was withdrawn:", isp, at)
	}
	e.Publish(t, "rustock", fmt.Sprintf(row, 1, "11", "amber+strict"))
	if isp, at, pl := hosts(isp), hosts(at), hosts(pl); isp != 1 || at != 1 || pl != 1 {
		t.Errorf("isp-one has %d, cert-at %d, cert-pl %d", isp, at, pl)
	}
	whole(t, e, "isp-one")
}

func TestRedIsReadByNamedPersonsOnly(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	if why := at.add("room", sample(1, version1, red)); why != "" {
		t.Fatal(why)
	}
	person := func(member, name string) string {
		token, _, err := e.Register.NewToken(t.Context(), "test", member, exchange.Token{Person: name})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, c := range []struct {
		user, token string
		want        int
	}{
		{"cert-at", person("cert-at", "eva"), 200},
		{exchange.Admin, person(exchange.Admin, "otto"), 200},
		{"cert-at", at.token, 403}, // it writes there, so it may know of it
		{"cert-at", person("cert-at", "adam"), 403},
		{"cert-pl", person("cert-pl", "eva"), 403},
		{exchange.Admin, e.AdminToken(), 403},
	} {
		code, h, text := e.Do(t, "GET", "/exchange/collections/room/objects/", c.user, c.token, "", "Accept", taxii.MediaType)
		if code != c.want || (code == 200) != strings.Contains(text, "indicator--") {
			t.Errorf("%s: %d %.200s", c.user, code, text)
		}
		if code == 200 && (h.Get("Cache-Control") != "no-store" || h.Get("ETag") != "") {
			t.Error(h)
		}
		if code, _, _ := eventStatus(t, e, c.user, c.token, "room", ""); code != 404 {
			t.Errorf("%s gets an event stream of what is red: %d", c.user, code)
		}
		if code, _, text := e.Do(t, "POST", "/v1/collections/room/subscription", c.user, c.token, ""); code == 200 {
			t.Errorf("%s gets what is red over NATS: %s", c.user, text)
		}
	}
	if why := at.add("mid", sample(2, version1, red)); !strings.Contains(why, "RED") {
		t.Error(why)
	}
}

func TestQuarantine(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl, admin := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, exchange.Admin)
	report := strings.NewReplacer(`"type":"indicator"`, `"type":"report"`, "indicator--", "report--", `"pattern":"[ipv4-addr:value = '198.51.100.1']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"`,
		`"name":"R","published":"2026-01-01T00:00:00Z","object_refs":["indicator--00000002-0000-4000-8000-000000000002"]`).Replace(sample(9, version1, unknown))
	if why := pl.add("mid", sample(1, version1, unknown)); !strings.Contains(why, "quarantine") || !strings.Contains(why, "acac") {
		t.Fatal(why)
	}
	st := post(t, e, "mid", pl.id, pl.token, envelope(report, sample(2, version1, ""), sample(3, version1, green)))
	if st.PendingCount+st.FailureCount != 2 || st.SuccessCount != 1 { // what has a label of its own has that
		t.Errorf("a report with an unknown marking: %+v", st)
	}
	held := func(query string) (list []submission.Quarantined) {
		_, _, text := e.Do(t, "GET", "/v1/quarantine"+query, admin.id, admin.token, "")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(text)
		}
		slices.SortFunc(list, func(a, b submission.Quarantined) int { return strings.Compare(a.Object, b.Object) })
		return list
	}
	list := held("")
	if len(list) != 3 || list[0].By != "cert-pl" || list[0].Collection != "mid" {
		t.Fatalf("%+v", list)
	}
	if pl.add("mid", sample(1, version1, unknown)); len(held("")) != 3 {
		t.Error("held twice")
	}
	eva, _, err := e.Register.NewToken(t.Context(), "test", "cert-at", exchange.Token{Person: "eva"})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, text := e.Do(t, "GET", "/exchange/collections/quarantine/objects/", "cert-at", eva, "", "Accept", taxii.MediaType); strings.Count(text, `"id":"indicator--`) != 2 {
		t.Error(text)
	}
	decide := func(id, body string, want int) {
		t.Helper()
		if code, _, text := e.Do(t, "POST", "/v1/quarantine/"+id, admin.id, admin.token, body); code != want {
			t.Errorf("%d %s", code, text)
		}
	}
	decide(list[0].ID, `{"label":"green","reason":"looked at"}`, 409) // it is marked amber as well
	decide(list[0].ID, `{"label":"amber"}`, 400)
	decide(list[0].ID, `{"label":"amber","reason":"a statement of thanks"}`, 200)
	decide(list[0].ID, `{"label":"amber","reason":"again"}`, 404)
	decide(list[2].ID, `{"reason":"nobody knows what it means"}`, 200)
	if got := pl.has("mid", 1); len(got) != 1 {
		t.Error("what was released is not there", got)
	}
	if why := pl.add("mid", report); !strings.Contains(why, "rejected") || !strings.Contains(why, "nobody knows") {
		t.Error(why)
	}
	if why := pl.add("low", sample(1, version1, unknown)); !strings.Contains(why, "quarantine") {
		t.Error("released into one collection is released into all:", why)
	}
	if all := held("?all"); len(all) != 4 { // and what came in between
		t.Error(all)
	}
	// The operator says once what the marking means, and all that waits goes its way, under the higher of both labels.
	if why := pl.add("mid", sample(6, version1, unknown)); !strings.Contains(why, "quarantine") {
		t.Error(why)
	}
	e.Apply(t, "markings:\n  - {id: marking-definition--00000000-0000-4000-8000-00000000acac, means: green}\n")
	waitFor(t, "what waits goes its way", func() bool { return len(held("")) == 0 })
	if got, below := pl.has("mid", 6), pl.has("low", 1); len(got) != 1 || len(below) != 0 { // AMBER beside, above low's ceiling
		t.Error(got, below)
	}
	if why := pl.add("mid", sample(7, version1, unknown)); why != "" {
		t.Error(why)
	}
	whole(t, e, "low")
	if code, _, _ := e.Do(t, "GET", "/v1/quarantine", at.id, at.token, ""); code != 403 {
		t.Error(code)
	}
	if _, err := e.Register.Change(t.Context(), "test", func(r *exchange.Register) error {
		r.Quarantine = []string{"cert-pl/paul"}
		return nil
	}); err == nil || errors.Is(err, exchange.ErrClosed) {
		t.Error("who is not cleared for red reads quarantine")
	}
}

// A publisher who is cleared for less than it publishes has nothing of that in its own collection, and
// that stands in the way of nothing: not of a change of the register, not of the next start.
func TestAPublisherMayBeClearedForLessThanItPublishes(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(labelled, "kind: publisher, clearance: red", "kind: publisher, clearance: green", 1))
	dcu := as(t, e, "dcu")
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T10:00:00Z,AT\n")
	_, _, text := e.Do(t, "GET", "/exchange/collections/feed-rustock/objects/", dcu.id, dcu.token, "", "Accept", taxii.MediaType)
	if strings.Contains(text, "240.0.0.1") {
		t.Error(text)
	}
	e.Apply(t, "collections:\n  - {id: more, ceiling: green}\n")
	dir := e.Dir
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	if have := e.View.Stats("feed-rustock").Label; have > tlp.Green {
		t.Error("the collection is said to hold", have)
	}
}
