package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// thirdParty are n objects of an organisation that is no member's, as ATT&CK's are: its identity and its copyright first,
// each object marked with that, half of them as TLP:CLEAR besides.
func thirdParty(n, version int) (objects []string) {
	const creator = "identity--c78cb6e5-0c4b-4611-8297-d1b8b55e40b5"
	objects = append(objects,
		`{"type":"identity","spec_version":"2.1","id":"`+creator+`","created":"2017-06-01T00:00:00.000Z","modified":"2025-03-19T15:00:40.855Z","name":"The Corporation","identity_class":"organization","object_marking_refs":["`+copyrightID+`"]}`,
		definition(copyrightID, copyright))
	for i := range n {
		marks := `"` + copyrightID + `"`
		if i%2 == 0 {
			marks = `"` + tlp.Clear.MarkingID() + `",` + marks
		}
		objects = append(objects, fmt.Sprintf(`{"type":"attack-pattern","spec_version":"2.1","id":"attack-pattern--%08d-0000-4000-8000-000000000000","created":"2020-01-01T00:00:00.000Z",`+
			`"modified":"2026-01-%02dT00:00:00.000Z","created_by_ref":%q,"name":"Pattern %d","object_marking_refs":[%s],"external_references":[{"source_name":"mitre-attack","external_id":"T%04d"}]}`, i, version, creator, i, marks, i))
	}
	return objects
}

// Third parties' objects, with statements and shared by many, are everybody's to post: byte for byte, and again.
func TestThirdPartiesObjectsAreEverybodysToPost(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	first := thirdParty(2000, 1)
	for _, m := range []member{at, pl, at} {
		if st := post(t, e, "low", m.id, m.token, envelope(first...)); st.SuccessCount != len(first) {
			t.Fatalf("%s: %d of %d: %+v", m.id, st.SuccessCount, len(first), append(st.Failures, st.Pendings...)[0])
		}
	}
	got, _ := e.Pull(t, "low", taxiiclient.Cursor{}, taxii.Filter{Limit: 5000})
	if !slices.Equal(got, first) {
		t.Errorf("%d objects, want %d, byte for byte and in order", len(got), len(first))
	}
	// Everybody adds versions of them, and deletes its own alone.
	second := thirdParty(2000, 2)
	if st := post(t, e, "low", at.id, at.token, envelope(second...)); st.SuccessCount != len(second) {
		t.Fatalf("%+v", st.Failures[0])
	}
	const one = "/exchange/collections/low/objects/attack-pattern--00000001-0000-4000-8000-000000000000/"
	if code, _, text := e.Do(t, "DELETE", one, pl.id, pl.token, ""); code != http.StatusForbidden {
		t.Error(code, text)
	}
	if why := pl.add("low", strings.Replace(second[3], "2026-01-02", "2026-01-03", 1)); why != "" {
		t.Error(why)
	}
	if code, _, text := e.Do(t, "DELETE", one, pl.id, pl.token, ""); code != http.StatusOK {
		t.Error(code, text)
	}
	if _, _, text := e.Do(t, "GET", one+"versions/", pl.id, pl.token, "", "Accept", taxii.MediaType); strings.Contains(text, "2026-01-03") || !strings.Contains(text, "2026-01-02") {
		t.Error(text)
	}
	whole(t, e, "low")
}

// The label of an object is the same on the wire as it was decided, from its own marking, a report or the floor, and can be looked for.
func TestALabelIsOnTheWire(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(labelled, "collections:\n", "collections:\n  - {id: strict, ceiling: amber+strict, floor: amber, readers: [cert-at], writers: all}\n", 1))
	at := as(t, e, "cert-at")
	report := strings.Replace(amber, `,"`, `"`, 1)
	objects := []string{
		`{"type":"report","spec_version":"2.1","id":"report--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"R","published":"2026-01-01T00:00:00Z","object_refs":["` +
			sampleID(1) + `","` + sampleID(2) + `"],` + report + `}`,
		sample(1, version1, ""), sample(2, version1, green),
	}
	if st := post(t, e, "mid", at.id, at.token, envelope(objects...)); st.SuccessCount != 3 {
		t.Fatalf("%+v", st.Failures)
	}
	get := func(path string) string {
		_, _, text := e.Do(t, "GET", "/exchange/collections/"+path, at.id, at.token, "", "Accept", taxii.MediaType)
		return text
	}
	if text := get("mid/objects/?match[tlp]=amber"); !strings.Contains(text, sampleID(1)+`","created`) || strings.Contains(text, sampleID(2)+`","created`) {
		t.Error(text)
	}
	// A floor is written too, and AMBER+STRICT, which the standard does not define, is defined before it, once.
	for n, m := range []string{"", amberStrict, amberStrict} {
		if why := at.add("strict", sample(10+n, version1, m)); why != "" {
			t.Error(why)
		}
	}
	if why := at.add("strict", `{"type":"report","spec_version":"2.1","id":"report--00000002-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"R","published":"2026-01-01T00:00:00Z","object_refs":["`+sampleID(13)+`"]`+amberStrict+`}`); why != "" {
		t.Error(why)
	}
	for n := range 2 {
		if why := at.add("strict", sample(13, []string{version1, version2}[n], "")); why != "" {
			t.Error(why)
		}
	}
	text := get("strict/objects/?match[version]=all")
	if strings.Count(text, `"type":"marking-definition"`) != 1 || strings.Index(text, `"type":"marking-definition"`) > strings.Index(text, `{"object_marking_refs":["`+tlp.AmberStrict.MarkingID()) || strings.Count(text, `{"object_marking_refs":["`+tlp.Amber.MarkingID()) != 1 {
		t.Error(text)
	}
}

// A report that comes after its objects raises them: they leave, or are marked anew and stand at the end.
func TestAReportRaisesWhatCameBeforeIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	address := stix.AddressID(netip.MustParseAddr("198.51.100.7"))
	scos := `{"type":"ipv4-addr","spec_version":"2.1","id":"` + address + `","value":"198.51.100.7"}`
	for n, o := range []string{sample(1, version1, ""), sample(2, version1, green), scos} {
		if why := at.add("mid", o); why != "" {
			t.Fatal(n, why)
		}
	}
	if why := pl.add("mid", sample(3, version1, "")); why != "" {
		t.Fatal(why)
	}
	report := func(collection, version, marking string) string {
		return at.add(collection, `{"type":"report","spec_version":"2.1","id":"report--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"`+version+`","name":"R","published":"2026-01-01T00:00:00Z","object_refs":["`+
			sampleID(1)+`","`+sampleID(2)+`","`+sampleID(3)+`","`+address+`"]`+marking+`}`)
	}
	if why := report("mid", version1, amber); why != "" {
		t.Fatal(why)
	}
	got, _ := e.Pull(t, "mid", taxiiclient.Cursor{}, taxii.Filter{})
	var order []string
	for _, o := range got {
		h, err := stix.ParseHead([]byte(o))
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, h.ID[len(h.Type)+2:len(h.Type)+10]+" "+h.KnownLabel().String())
	}
	// What has a label of its own, and what another has posted, stays; the rest has the report's, behind it.
	if want := "00000002 green,00000003 ,00000001 amber"; !strings.HasPrefix(strings.Join(order, ","), want) || strings.Count(strings.Join(order, ","), "amber") != 3 {
		t.Error(order)
	}
	// Refused itself, it takes them out.
	if why := report("mid", version2, red); why == "" {
		t.Error("a RED report is in")
	}
	if at.has("mid", 1) != nil || at.hasObject("mid", address) || at.has("mid", 2) == nil || at.has("mid", 3) == nil {
		t.Error(at.has("mid", 1), at.hasObject("mid", address), at.has("mid", 2), at.has("mid", 3))
	}
	// And they stay out while it says so.
	if why := at.add("mid", sample(1, version2, "")); !strings.Contains(why, "RED") {
		t.Error(why)
	}
	whole(t, e, "mid")
	e = rebuilt(t, e)
	at.e = e
	if at.has("mid", 1) != nil || at.has("mid", 3) == nil {
		t.Error("a rebuild knows other labels")
	}
}

// Ids that the exchange makes are known without being looked up, and nobody posts other words under them.
func TestNobodyPostsUnderIDsOfTheExchange(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T10:00:00Z,AT\n")
	here := exchange.Location{Country: "AT"}
	for day, known := range map[string]bool{"2026-03-19": true, "2026-03-20": false} {
		id := e.HostObject("rustock", "observed-data", "240.0.0.1", day, here)
		text := `{"type":"observed-data","spec_version":"2.1","id":"` + id + `","created":"2026-01-01T00:00:00.000Z","modified":"2026-03-21T00:00:00.000Z","first_observed":"2026-01-01T00:00:00Z","last_observed":"2026-01-01T00:00:00Z","number_observed":1,"revoked":true,"object_refs":["` + stix.AddressID(netip.MustParseAddr("240.0.0.1")) + `"]` + green + `}`
		for _, by := range []string{"", `"created_by_ref":"identity--00000000-0000-4000-8000-0000000000aa",`} { // its own
			if why := at.add("low", strings.Replace(text, `"created"`, by+`"created"`, 1)); !strings.Contains(why, "this exchange makes") {
				t.Errorf("%v, %s: %q", known, by, why)
			}
		}
	}
	// As it is read, it may be posted on.
	objects, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{Types: []string{"observed-data"}})
	if len(objects) != 1 {
		t.Fatal(objects)
	}
	if why := at.add("mid", objects[0]); why != "" {
		t.Error(why)
	}
	if _, _, text := e.Do(t, "GET", "/exchange/collections/mid/objects/", at.id, at.token, "", "Accept", taxii.MediaType); !strings.Contains(text, `"observed-data"`) {
		t.Error("it does not stand:", text)
	}
	if why := at.add("low", objects[0]); !strings.Contains(why, "AMBER") {
		t.Error(why)
	}
	// What refers to it is labelled as it is.
	_, relation := telling("relationship", 1, version1, green, e.HostObject("rustock", "observed-data", "240.0.0.1", "2026-03-19", here), sampleID(9))
	if why := at.add("low", relation); !strings.Contains(why, "AMBER") {
		t.Error(why)
	}
}

// Pulled and posted back, in other words of the same meaning or with the marking that was added, it is the same.
func TestTheSameInOtherWordsIsASuccess(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(labelled, "id: mid, ceiling: amber, floor: clear", "id: mid, ceiling: amber, floor: amber", 1))
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	if why := at.add("mid", sample(1, version1, vendor)); why != "" {
		t.Fatal(why)
	}
	got, _ := e.Pull(t, "mid", taxiiclient.Cursor{}, taxii.Filter{})
	if len(got) != 1 || !strings.HasPrefix(got[0], `{"object_marking_refs":["`+tlp.Amber.MarkingID()) {
		t.Fatal(got)
	}
	for n, o := range []string{got[0], sample(1, version1, vendor), strings.Replace(got[0], `"type":`, ` "type" : `, 1), sample(1, version1, green+vendor)} {
		for _, m := range []member{at, pl} {
			if why := m.add("mid", o); why != "" {
				t.Errorf("%d by %s: %s", n, m.id, why)
			}
		}
	}
	if why := at.add("mid", strings.Replace(got[0], "198.51.100.1", "198.51.100.2", 1)); !strings.Contains(why, "in other words") {
		t.Error(why)
	}
	if now, _ := e.Pull(t, "mid", taxiiclient.Cursor{}, taxii.Filter{}); !slices.Equal(now, got) {
		t.Error(now)
	}
	if why := pl.add("mid", sample(2, "2099-01-01T00:00:00.000Z", "")); !strings.Contains(why, "more than a day ahead") {
		t.Error(why)
	}
}

// What was taken out to be marked anew when the exchange stopped is there, marked, after the next start.
func TestWhatWasCutShortBetweenTwoMarkingsIsThere(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	if why := at.add("mid", sample(1, version1, "")); why != "" {
		t.Fatal(why)
	}
	version := record.Version{ID: sampleID(1), SpecVersion: "2.1", Version: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	text, err := json.Marshal(map[string]any{"objects": []any{map[string]any{
		"version": version, "label": tlp.Amber, "own": tlp.None, "by": record.Seal{Key: e.Register.Secret()}.Pseudonym("cert-at"), "raw": json.RawMessage(sample(1, version1, "")),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Journal.SetKept(t.Context(), "again-mid", text); err != nil {
		t.Fatal(err)
	}
	removal := &record.Removal{Raised: []record.Version{version}}
	if _, err := e.Journal.Post(&record.Post{Share: record.Share{Collection: "mid", Label: tlp.Clear}, Control: record.ControlWithdraw, Removal: removal}); err != nil {
		t.Fatal(err)
	}
	dir := e.Dir
	for range 2 { // and the second start does nothing again
		e.Stop(t)
		e = exchangetest.Open(t, dir)
		at.e = e
		got, _ := e.Pull(t, "mid", taxiiclient.Cursor{}, taxii.Filter{})
		if len(got) != 1 || !strings.HasPrefix(got[0], `{"object_marking_refs":["`+tlp.Amber.MarkingID()) {
			t.Fatal(got)
		}
	}
	if why := at.add("mid", sample(1, version1, "")); why != "" {
		t.Error(why)
	}
	whole(t, e, "mid")
}
