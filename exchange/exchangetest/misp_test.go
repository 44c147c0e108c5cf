package exchangetest_test

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

// mispEvent is an event as MISP reads it (MISP core format, draft-dulaunoy-misp-core-format).
type mispEvent struct {
	UUID, Info, Date, Timestamp, Distribution, Analysis string
	Threat                                              string `json:"threat_level_id"`
	Published                                           bool
	Orgc                                                struct{ Name, UUID string }
	Tag                                                 []mispTag
	Attribute                                           []mispAttribute
}

type mispTag struct {
	Name    string
	Deleted bool
}

type mispAttribute struct {
	UUID, Type, Category, Value, Comment, Timestamp, Distribution string
	ToIDs                                                         *bool  `json:"to_ids"`
	First                                                         string `json:"first_seen"`
	Last                                                          string `json:"last_seen"`
	Deleted                                                       bool
	Tag                                                           []mispTag
	Sighting                                                      []struct {
		UUID, Type   string
		DateSighting string `json:"date_sighting"`
	}
}

// mispCategories are the categories that MISP takes of each type, as far as they are used here.
var mispCategories = map[string][]string{
	"ip-src": {"Network activity"}, "ip-src|port": {"Network activity"}, "ip-dst": {"Network activity"}, "email": {"Network activity"},
	"domain": {"Network activity"}, "url": {"Network activity"}, "md5": {"Payload delivery"}, "sha256": {"Payload delivery"},
	"malware-type": {"Payload delivery", "Payload installation"}, "filename": {"Payload delivery"}, "comment": {"Other"}, "hostname": {"Network activity"},
}

// misp reads a member's feed as MISP does.
type misp struct {
	member
	collection string
	tags       map[string]string // ETags by file
}

func (m *misp) get(file string) (int, string) {
	m.t.Helper()
	code, h, text := m.e.Do(m.t, "GET", "/misp/"+m.collection+"/"+file, m.id, m.token, "", "If-None-Match", m.tags[file])
	if m.tags == nil {
		m.tags = make(map[string]string)
	}
	if code == http.StatusOK {
		m.tags[file] = h.Get("ETag")
	}
	return code, text
}

// manifest returns each event's timestamp.
func (m *misp) manifest() map[string]string {
	m.t.Helper()
	m.tags = nil
	code, text := m.get("manifest.json")
	for code == http.StatusServiceUnavailable { // it is being made: MISP asks again later
		code, text = m.get("manifest.json")
	}
	list := make(map[string]mispEvent)
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK {
		m.t.Fatal(code, text, err)
	}
	out := make(map[string]string)
	for id, e := range list {
		if e.Info == "" || e.Date == "" || e.Analysis != "2" || e.Threat != "4" || len(e.Tag) == 0 || e.Orgc.UUID == "" {
			m.t.Errorf("%+v", e)
		}
		out[id] = e.Timestamp
	}
	return out
}

// event reads an event and looks at each field that MISP needs.
func (m *misp) event(id string) *mispEvent {
	m.t.Helper()
	code, text := m.get(id + ".json")
	var got struct{ Event mispEvent }
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusOK {
		m.t.Fatal(code, text, err)
	}
	e := &got.Event
	seen := make(map[string]bool)
	for _, a := range e.Attribute {
		if a.Deleted && a.Type == "comment" && a.Value == "withdrawn" {
			a.Value += a.UUID
		}
		if uuid.Validate(a.UUID) != nil || seen[a.UUID] || seen[a.Type+a.Value] || a.Value == "" || a.ToIDs == nil || !slices.Contains(mispCategories[a.Type], a.Category) || !digits(a.Timestamp) || a.Distribution != "5" {
			m.t.Errorf("%+v is no attribute, or is there twice", a)
		}
		if victim := strings.HasPrefix(a.Type, "ip-src") || a.Type == "email"; victim && *a.ToIDs {
			m.t.Error("a victim is to be blocked:", a.Value)
		}
		for _, s := range a.Sighting {
			if uuid.Validate(s.UUID) != nil || s.Type != "0" && s.Type != "2" || !digits(s.DateSighting) {
				m.t.Errorf("%+v", s)
			}
		}
		seen[a.UUID], seen[a.Type+a.Value] = true, true
	}
	if e.UUID != id || !e.Published || !digits(e.Timestamp) || !digits(e.Distribution) || len(e.Date) != 10 || uuid.Validate(e.Orgc.UUID) != nil || len(e.Attribute) > 10_000 {
		m.t.Errorf("%+v", e)
	}
	return e
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

// values lists what hosts a feed has, by label.
func (m *misp) values() map[string]string {
	out := make(map[string]string)
	for id := range m.manifest() {
		for _, a := range m.event(id).Attribute {
			if a.Type != "malware-type" && a.Type != "comment" {
				out[a.Value] = a.Tag[0].Name
			}
		}
	}
	return out
}

func TestMISPFetchesACollectionAsAFeed(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	m := &misp{member: as(t, e, "cert-at"), collection: "cert-at"}
	if len(m.manifest()) != 0 {
		t.Error("there is something of nothing")
	}
	const rows = "ip,timestamp,cc,asn,port,dst_ip,dst_port\n240.1.0.1,2026-03-19T09:00:00Z,AT,64511,4711,192.0.2.1,80\n240.1.0.2,2026-03-19T10:00:00Z,AT,64511,,,\n240.1.0.1,2026-03-20T09:00:00Z,AT,64511,4712,192.0.2.1,80\n"
	e.Publish(t, "rustock", rows+"240.2.0.1,2026-03-19T09:00:00Z,PL,,,,\n")
	first := m.manifest()
	if len(first) != 2 {
		t.Fatal(first)
	}
	var days []string
	for id := range first {
		ev := m.event(id)
		days = append(days, ev.Date)
		names := fmt.Sprint(ev.Tag)
		if !strings.Contains(names, "tlp:amber") || !strings.Contains(names, `="Rustock"`) || ev.Distribution != "0" || !strings.Contains(ev.Info, "Rustock") {
			t.Errorf("%+v", ev)
		}
		want := map[string]string{"2026-03-19": "malware-type Rustock, ip-src|port 240.1.0.1|4711, ip-src 240.1.0.2", "2026-03-20": "malware-type Rustock, ip-src|port 240.1.0.1|4712"}[ev.Date]
		var got []string
		for _, a := range ev.Attribute {
			got = append(got, a.Type+" "+a.Value)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %s", ev.Date, got)
		}
		if a := ev.Attribute[1]; !strings.Contains(a.Comment, "192.0.2.1:80") || !strings.Contains(a.Comment, "AS64511") || a.First == "" || len(a.Sighting) != 1 {
			t.Errorf("%+v", a)
		}
		if code, text := m.get(id + ".json"); code != http.StatusNotModified || text != "" {
			t.Error(code, text)
		}
	}
	if slices.Sort(days); !slices.Equal(days, []string{"2026-03-19", "2026-03-20"}) {
		t.Error(days)
	}
	if code, _ := m.get("manifest.json"); code != http.StatusNotModified {
		t.Error(code)
	}
	if code, _ := m.get("/manifest.json"); code != http.StatusOK { // as MISP asks where the URL ends with a slash
		t.Error(code)
	}
	_, hashes := m.get("hashes.csv")
	sum := md5.Sum([]byte("240.1.0.2"))
	if !strings.Contains(hashes, hex.EncodeToString(sum[:])+",") || strings.Count(hashes, "\n") != 5 {
		t.Error(hashes)
	}
	// The same again changes nothing.
	e.Publish(t, "rustock", rows)
	if d := cmp.Diff(first, m.manifest()); d != "" {
		t.Error("the same events, published again, have changed the feed:", d)
	}
	// One more touches its day alone, and its timestamp grows.
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,port\n240.1.0.2,2026-03-19T11:00:00Z,AT,64511,99\n240.1.0.3,2026-03-19T11:00:00Z,AT,64511,99\n")
	second := m.manifest()
	for id, was := range first {
		a, _ := strconv.Atoi(was)
		b, _ := strconv.Atoi(second[id])
		switch ev := m.event(id); {
		case ev.Date == "2026-03-19" && (b <= a || len(ev.Attribute) != 4):
			t.Errorf("%d after %d: %+v", b, a, ev)
		case ev.Date == "2026-03-20" && b != a:
			t.Errorf("%d after %d", b, a)
		}
	}
	// The same after a restart.
	dir := e.Dir
	e.Stop(t)
	m.e = exchangetest.Open(t, dir)
	if d := cmp.Diff(second, m.manifest()); d != "" {
		t.Error(d)
	}
}

// A host that is reported clean is marked so in the event that it is in, and seen again it is a relapse.
func TestMISPIsToldWhatIsClean(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	at := as(t, e, "cert-at")
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.1,2026-03-18T09:00:00Z,AT,64511\n240.1.0.2,2026-03-18T09:00:00Z,AT,64511\n")
	feeds := []*misp{{member: at, collection: "cert-at"}, {member: as(t, e, "isp-one"), collection: "isp-one"}, {member: as(t, e, "dcu"), collection: "feed-rustock"}}
	states := func(m *misp) map[string]string {
		out := make(map[string]string)
		for id := range m.manifest() {
			for _, a := range m.event(id).Attribute {
				if a.Type == "malware-type" {
					continue
				}
				var said []string
				for _, x := range a.Tag[1:] {
					said = append(said, x.Name)
				}
				for _, s := range a.Sighting {
					said = append(said, s.Type+" "+s.DateSighting)
				}
				out[a.Value+" "+a.First[:10]] = strings.Join(said, ", ")
			}
		}
		return out
	}
	unix := func(text string) string {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(at.Unix(), 10)
	}
	seen, cleaned, again := unix("2026-03-18T09:00:00Z"), unix("2026-03-19T12:00:00Z"), unix("2026-03-20T10:00:00Z")
	want := map[string]string{"240.1.0.1 2026-03-18": "0 " + seen, "240.1.0.2 2026-03-18": "0 " + seen}
	same := func() {
		t.Helper()
		for _, m := range feeds {
			if d := cmp.Diff(want, states(m)); d != "" {
				t.Error(m.collection, d)
			}
		}
	}
	same()
	before := feeds[0].manifest()
	report := func() {
		t.Helper()
		code, _, text := e.Do(t, "POST", "/v1/clean", at.id, at.token, `{"hosts":[{"address":"240.1.0.1","at":"2026-03-19T12:00:00Z"}]}`)
		if code != http.StatusOK || !strings.Contains(text, `"cleaned":1`) {
			t.Fatal(code, text)
		}
	}
	report()
	want["240.1.0.1 2026-03-18"] = `tocsin:state="clean", 0 ` + seen + ", 2 " + cleaned
	same()
	after := feeds[0].manifest()
	for id := range before {
		if len(after) != 1 || after[id] <= before[id] {
			t.Error(before, after)
		}
	}
	report() // again, which changes nothing
	if d := cmp.Diff(after, feeds[0].manifest()); d != "" {
		t.Error(d)
	}
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.1,2026-03-20T10:00:00Z,AT,64511\n")
	want["240.1.0.1 2026-03-20"] = `tocsin:state="relapse", 0 ` + again
	same()
	e.Stop(t)
	if err := os.RemoveAll(filepath.Join(dir, "view")); err != nil {
		t.Fatal(err)
	}
	e = exchangetest.Open(t, dir)
	for _, m := range feeds {
		m.e = e
	}
	same()
}

// What may go out to MISP does, label by label, and nothing else: neither AMBER+STRICT nor RED.
func TestMISPGetsWhatItsLabelAllows(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, isp, pl := as(t, e, "cert-at"), as(t, e, "isp-one"), as(t, e, "cert-pl")
	for n, label := range []string{"clear", "green", "amber", "amber+strict", "red"} {
		e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc,asn,tlp\n240.1.0.%d,2026-03-%02dT09:00:00Z,AT,64511,%s\n", n, 10+n, label))
	}
	want := map[string]string{"240.1.0.0": "tlp:clear", "240.1.0.1": "tlp:green", "240.1.0.2": "tlp:amber"}
	for _, who := range []member{at, isp} {
		m := &misp{member: who, collection: who.id}
		if d := cmp.Diff(want, m.values()); d != "" {
			t.Error(who.id, d)
		}
		for id := range m.manifest() {
			ev := m.event(id)
			if d := map[string]string{"tlp:clear": "3", "tlp:green": "1", "tlp:amber": "0"}[ev.Tag[0].Name]; ev.Distribution != d {
				t.Errorf("%s goes out with distribution %s", ev.Tag[0].Name, ev.Distribution)
			}
		}
	}
	own := &misp{member: as(t, e, "dcu"), collection: "feed-rustock"}
	if d := cmp.Diff(want, own.values()); d != "" {
		t.Error(d)
	}
	for _, path := range []string{"cert-at", "room", "quarantine", "nothing"} {
		if code, text := (&misp{member: pl, collection: path}).get("manifest.json"); code != http.StatusNotFound {
			t.Error(path, code, text)
		}
	}
	if code, _, _ := e.Do(t, "GET", "/misp/cert-at/manifest.json", "", "", ""); code != http.StatusUnauthorized {
		t.Error(code)
	}
	// Raised, it leaves the feed, and the event says so by a newer timestamp.
	m := &misp{member: at, collection: "cert-at"}
	before := m.manifest()
	var was mispAttribute
	for id := range before {
		for _, a := range m.event(id).Attribute {
			if a.Value == "240.1.0.2" {
				was = a
			}
		}
	}
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.2,2026-03-12T10:00:00Z,AT,64511,amber+strict\n")
	after := m.manifest()
	// What was there is told of by its UUID, and how many are withheld.
	gone, told := 0, 0
	for id := range after {
		ev := m.event(id)
		for _, a := range ev.Attribute {
			switch {
			case a.UUID == was.UUID:
				if gone++; !a.Deleted || a.Value != "withdrawn" || a.Comment != "" || a.Type != "comment" {
					t.Errorf("%+v", a)
				}
			case a.Type == "comment":
				if told++; a.Deleted || !strings.HasPrefix(a.Value, "1 withheld here") || ev.Distribution != "0" {
					t.Errorf("%+v %+v", a, ev.Tag)
				}
			}
		}
		_, text := m.get(id + ".json")
		if strings.Contains(text, "240.1.0.2") || strings.Contains(text, "240.1.0.3") {
			t.Error(text)
		}
	}
	if gone != 1 || told != 2 {
		t.Errorf("%d are told to be gone, %d events tell of what is withheld", gone, told)
	}
	delete(want, "240.1.0.2")
	if d := cmp.Diff(want, m.values()); d != "" {
		t.Error(d)
	}
	changed := 0
	for id := range before {
		if after[id] != before[id] {
			changed++
		}
	}
	if changed != 1 {
		t.Error(before, after)
	}
	// A label that is raised takes the tag of the old one off.
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.0,2026-03-10T10:00:00Z,AT,64511,green\n")
	tags := 0
	for id := range m.manifest() {
		m.tags = nil
		ev := m.event(id)
		for _, list := range append([][]mispTag{ev.Tag}, ev.Attribute[len(ev.Attribute)-1].Tag) {
			if len(list) > 1 && slices.Contains(list, mispTag{"tlp:clear", true}) && slices.Contains(list, mispTag{"tlp:green", false}) {
				tags++
			}
		}
	}
	if want["240.1.0.0"] = "tlp:green"; tags != 2 || cmp.Diff(want, m.values()) != "" {
		t.Error(tags, m.values())
	}
	// So it is where it was withdrawn.
	if d := cmp.Diff(want, (&misp{member: isp, collection: "isp-one"}).values()); d != "" {
		t.Error(d)
	}
}

// An indicator that has grown goes where there is room for it.
func TestAnEventStaysWithinItsSize(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	indicator := func(n, values int, version string) string {
		var list []string
		for i := range values {
			list = append(list, fmt.Sprintf("'10.%d.%d.%d'", n/250, n%250, i))
		}
		return strings.Replace(sample(n, version, green), "= '198.51.100.1'", "IN ("+strings.Join(list, ", ")+")", 1)
	}
	var objects []string
	for n := range 100 {
		objects = append(objects, indicator(n, 99, version1))
	}
	if st := post(t, e, "mid", at.id, at.token, envelope(append(objects, indicator(100, 1, version1))...)); st.FailureCount > 0 {
		t.Fatal(st.Failures)
	}
	m := &misp{member: at, collection: "mid"}
	before := m.manifest()
	if len(before) != 1 {
		t.Fatal(before)
	}
	if why := at.add("mid", indicator(100, 100, version2)); why != "" {
		t.Fatal(why)
	}
	var sizes []int
	for id := range m.manifest() {
		sizes = append(sizes, len(m.event(id).Attribute))
	}
	if slices.Sort(sizes); !slices.Equal(sizes, []int{100, 9900}) {
		t.Error(sizes)
	}
	for id, was := range before {
		if m.manifest()[id] == was {
			t.Error("the event that it has left says nothing of it")
		}
	}
}

// What is raised elsewhere, or by a report that comes later, leaves the feeds of all collections that it is in.
func TestWhatIsRaisedLeavesEveryFeed(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strict)
	at := as(t, e, "cert-at")
	m := &misp{member: at, collection: "strict"}
	must := func(collection string, objects ...string) {
		t.Helper()
		for _, o := range objects {
			if why := at.add(collection, o); why != "" {
				t.Fatal(why)
			}
		}
	}
	for _, c := range []string{"strict", "strict2", "mid"} {
		must(c, sample(1, version1, green+vendor))
	}
	_, low, _, objects := mispEventObjects(7, "green")
	_, high, _, _ := mispEventObjects(7, "amber+strict")
	must("strict", low, objects[0])
	if got := m.values(); len(got) != 2 {
		t.Fatal(got)
	}
	must("strict2", sample(1, version2, amberStrict+vendor))
	if got := m.values(); len(got) != 1 {
		t.Error("raised in another collection:", got)
	}
	must("strict", strings.Replace(high, `"modified":"`+version1, `"modified":"`+version2, 1), objects[0]) // retagged, and pushed again
	if got := m.values(); len(got) != 0 {
		t.Error("raised by its report:", got)
	}
	// A version that no attribute can be made of takes the older one with it.
	for n, how := range []string{`,"revoked":true,"value":5`, amberStrict + `,"value":5`} {
		must("strict", sample(20+n, version1, green))
		if got := m.values(); len(got) != 1 {
			t.Fatal(got)
		}
		must("strict", sample(20+n, version2, how))
		if got := m.values(); len(got) != 0 {
			t.Error(how, got)
		}
	}
}
