package exchangetest_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// writable is the register of these tests: besides what others have, a
// collection that all may write, and one for everybody in the world.
const writable = exchangetest.Register + `
  - {id: drop, ceiling: green, readers: [cert-at], writers: all}
  - {id: board, ceiling: amber, readers: all, writers: all}
  - {id: news, ceiling: clear, public: true, writers: [dcu]}
`

const boardObjects = "/exchange/collections/board/objects/"

// sample is an indicator; extra is more of its properties, each with a comma
// before it.
func sample(n int, modified, extra string) string {
	return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--%08d-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z",`+
		`"modified":"%s","pattern":"[ipv4-addr:value = '198.51.100.1']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"%s}`, n, n, modified, extra)
}

func envelope(objects ...string) string { return `{"objects":[` + strings.Join(objects, ",") + `]}` }

const version1 = "2026-01-01T00:00:00.000Z"

// post adds objects and returns the status.
func post(t *testing.T, e *exchangetest.Exchange, collection, user, token, body string) *taxii.Status {
	t.Helper()
	code, _, text := e.Do(t, "POST", "/exchange/collections/"+collection+"/objects/", user, token, body, "Content-Type", taxii.MediaType)
	st := new(taxii.Status)
	if err := json.Unmarshal([]byte(text), st); err != nil || code != http.StatusAccepted {
		t.Fatalf("%d %.300s", code, text)
	}
	return st
}

func TestDiscoveryShowsWhatACallerMayUse(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	token := e.Token(t, "cert-at")
	var d taxii.Discovery
	for _, c := range []struct {
		user, token string
		want        []string
	}{{"cert-at", token, []string{"/exchange/", "/public/"}}, {"", "", []string{"/public/"}}} {
		_, _, text := e.Do(t, "GET", "/taxii2/", c.user, c.token, "")
		if err := json.Unmarshal([]byte(text), &d); err != nil || !slices.Equal(d.APIRoots, c.want) || d.Default != c.want[0] {
			t.Errorf("%q sees %s", c.user, text)
		}
	}
	post(t, e, "news", "dcu", e.Token(t, "dcu"), envelope(sample(1, version1, "")))
	_, _, text := e.Do(t, "GET", "/public/collections/", "", "", "")
	var list taxii.Collections
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list.Collections) != 1 || !list.Collections[0].CanRead || list.Collections[0].CanWrite {
		t.Fatalf("without credentials: %s", text)
	}
	if _, _, text := e.Do(t, "GET", "/public/collections/news/objects/", "", "", ""); !strings.Contains(text, "indicator--00000001") {
		t.Error(text)
	}
	for path, want := range map[string]int{
		"/public/": 200, "/public/collections/board/": 404, "/public/collections/cert-at/objects/": 404,
		"/exchange/": 401, "/exchange/collections/": 401, "/exchange/collections/news/": 401, "/other/": 401, "/v1/collections": 401,
	} {
		if code, _, text := e.Do(t, "GET", path, "", "", ""); code != want {
			t.Errorf("%s without credentials: %d, want %d: %s", path, code, want, text)
		}
	}
	if code, _, _ := e.Do(t, "POST", "/public/collections/news/objects/", "dcu", e.Token(t, "dcu"), envelope(sample(2, version1, ""))); code != 403 {
		t.Errorf("written through the public root: %d", code)
	}
}

func TestRightsOfWritableCollections(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	st := post(t, e, "drop", "cert-pl", pl, envelope(sample(1, version1, "")))
	for _, c := range []struct {
		method, path, user, token string
		want                      int
	}{
		{"GET", "/exchange/collections/drop/", "cert-pl", pl, 200}, // to write
		{"GET", "/exchange/collections/drop/objects/", "cert-pl", pl, 403},
		{"GET", "/exchange/collections/drop/objects/", "cert-at", at, 200},
		{"GET", "/exchange/collections/news/objects/", "cert-at", at, 200},
		{"POST", "/exchange/collections/news/objects/", "cert-at", at, 403},
		{"POST", "/exchange/collections/cert-at/objects/", "cert-at", at, 403},
		{"POST", "/exchange/collections/cert-at/objects/", "cert-pl", pl, 404},
		{"DELETE", "/exchange/collections/drop/objects/" + st.Successes[0].ID + "/", "cert-pl", pl, 403},
		{"GET", "/exchange/status/" + st.ID + "/", "cert-at", at, 404},
		{"GET", "/exchange/status/" + st.ID + "/", "cert-pl", pl, 200},
		{"GET", "/exchange/status/" + st.ID + ".0/", "cert-pl", pl, 404},
		{"GET", "/exchange/status/>/", "cert-pl", pl, 404},
		{"GET", "/public/status/" + st.ID + "/", "", "", 404},
		{"DELETE", "/exchange/collections/drop/objects/" + st.Successes[0].ID + "/", "cert-at", at, 403}, // which is cert-pl's
	} {
		if code, _, text := e.Do(t, c.method, c.path, c.user, c.token, envelope(sample(2, version1, ""))); code != c.want {
			t.Errorf("%s %s as %s: %d, want %d: %s", c.method, c.path, c.user, code, c.want, text)
		}
	}
}

func TestAStatusOutlivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, writable)
	token := e.Token(t, "cert-at")
	st := post(t, e, "board", "cert-at", token, envelope(sample(1, version1, ""), `{"type":"x"}`))
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	code, _, text := e.Do(t, "GET", "/exchange/status/"+st.ID+"/", "cert-at", token, "")
	back := new(taxii.Status)
	if err := json.Unmarshal([]byte(text), back); err != nil || code != 200 || back.Status != taxii.StatusComplete || back.SuccessCount != 1 || back.FailureCount != 1 {
		t.Errorf("%d %s", code, text)
	}
}

// bad are objects that cannot be stored, one of each kind.
func bad(n int) []string {
	id := fmt.Sprintf("indicator--%08d-0000-4000-9000-%012d", n, n)
	object := func(s string) string { return `{"type":"indicator","spec_version":"2.1","id":"` + id + `"` + s + `}` }
	return []string{
		`{}`, `7`, `"text"`, `null`, `[]`, `nope`, `{"type":"indicator"}`, `{"id":"` + id + `"}`,
		`{"type":"malware","spec_version":"2.1","id":"` + id + `","created":"2026-01-01T00:00:00Z"}`,
		`{"type":"indicator","spec_version":"2.1","id":"indicator--1","created":"2026-01-01T00:00:00Z"}`,
		`{"type":"indicator","spec_version":"2.1","id":"` + strings.ToUpper(id[11:]) + `"}`,
		object(`,"created":"2026-01-01T00:00:00Z","modified":"yesterday"`),
		object(`,"created":"2026-01-02T00:00:00Z","modified":"2026-01-01T00:00:00Z"`),
		object(`,"created":"2026-01-01T00:00:00Z","created":"2026-01-01T00:00:00Z"`),
		object(`,"created":"2026-01-01T00:00:00Z","x_deep":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)),
		object(`,"created":"2026-01-01T00:00:00Z","object_marking_refs":["marking-definition--00000000-0000-4000-8000-000000000000"]`),
		object(`,"created":"2026-01-01T00:00:00Z","object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`),
		object(`,"created":"2026-01-01T00:00:00Z","labels":["TLP:RED"]`),
		object(`,"created":"2026-01-01T00:00:00Z","name":"` + "\xff" + `"`),
		`{"type":"bundle","id":"bundle--` + id[11:] + `","objects":[]}`,
		`{"type":"indicator","id":"` + id + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}`,
		`{"\u0074ype":"indicator","spec_version":"2.1","id":"` + id + `","created":"2026-01-01T00:00:00Z"}`,
	}
}

func TestOneBadObjectFailsAlone(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	token := e.Token(t, "cert-at")
	var objects []string
	failures, n := 0, 0
	for len(objects) < 10_000 {
		if len(objects)%100 == 50 {
			kinds := bad(len(objects))
			objects = append(objects, kinds[failures%len(kinds)])
			failures++
			continue
		}
		n++
		objects = append(objects, sample(n, version1, ""))
	}
	st := post(t, e, "board", "cert-at", token, envelope(objects...))
	if st.TotalCount != 10_000 || st.FailureCount != 100 || st.SuccessCount != 9_900 || st.PendingCount != 0 ||
		len(st.Failures) != 100 || len(st.Successes) != 9_900 || st.Status != taxii.StatusComplete {
		t.Errorf("%d in all, %d and %d", st.TotalCount, st.SuccessCount, st.FailureCount)
	}
	reasons := make(map[string]bool)
	for _, f := range st.Failures {
		if f.Message == "" || f.ID == "" || f.Version == "" {
			t.Errorf("%+v", f)
		}
		reasons[f.Message] = true
	}
	if len(reasons) < 15 {
		t.Errorf("%d reasons: %v", len(reasons), reasons)
	}
	got, _ := e.Pull(t, "board", taxiiclient.Cursor{}, taxii.Filter{Limit: 5000})
	want := slices.DeleteFunc(slices.Clone(objects), func(o string) bool {
		return !strings.Contains(o, "-4000-8000-") || !strings.HasPrefix(o, `{"type":"indicator","spec`) || strings.Contains(o, "-4000-9000-")
	})
	for i := range want {
		want[i] = `{"object_marking_refs":["` + tlp.Amber.MarkingID() + `"],` + want[i][1:] // the floor's
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d readable, want %d, byte for byte and in order", len(got), len(want))
	}
}

// STIX 2.0 is no less held to its labels and versions where a collection takes it.
func TestObjectsOfSTIX20AreExamined(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register+"\n  - {id: old, ceiling: amber, readers: all, writers: all, stix: [\"2.0\"]}\n")
	tool := `{"type":"tool","id":"tool--00000000-0000-4000-8000-00000000000%d","created":"2026-01-02T00:00:00.000Z","modified":"2026-01-0%dT00:00:00.000Z","name":"t","labels":["x"]}`
	marking := `{"type":"marking-definition","id":"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","definition":{"tlp":"%s"}}`
	st := post(t, e, "old", "cert-at", e.Token(t, "cert-at"), envelope(fmt.Sprintf(tool, 1, 1), fmt.Sprintf(tool, 2, 2), fmt.Sprintf(marking, "white"), fmt.Sprintf(marking, "green"), sample(1, version1, "")))
	var got []string
	for _, f := range st.Failures {
		got = append(got, f.Message)
	}
	want := []string{
		"modified (2026-01-01T00:00:00.000Z) is before created (2026-01-02T00:00:00.000Z)", "its id is that of TLP:GREEN, which it does not define",
		"it is STIX 2.1; this collection takes STIX 2.0",
	}
	if d := cmp.Diff(want, got); d != "" || st.SuccessCount != 2 {
		t.Errorf("%d are in: %s", st.SuccessCount, d)
	}
}

// Labels of a submission hold for what they refer to, and nothing goes above a
// ceiling.
func TestLabelsOfSubmissions(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	token := e.Token(t, "cert-at")
	red := `,"object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`
	report := func(n int, extra string) string {
		return fmt.Sprintf(`{"type":"report","spec_version":"2.1","id":"report--%08d-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z",`+
			`"name":"x","published":"2026-01-01T00:00:00Z","object_refs":["indicator--%08d-0000-4000-8000-%012d"]%s}`, n, n, n, n, extra)
	}
	for name, c := range map[string]struct {
		collection string
		objects    []string
		in         int
	}{
		"unmarked":                     {"board", []string{sample(1, version1, "")}, 1},
		"red":                          {"board", []string{sample(2, version1, red), sample(3, version1, "")}, 1},
		"in a red report":              {"board", []string{sample(4, version1, ""), report(4, red)}, 0},
		"in an unmarked report":        {"board", []string{report(5, ""), sample(5, version1, "")}, 2},
		"amber above green":            {"drop", []string{sample(6, version1, `,"labels":["tlp:amber"]`)}, 0},
		"green":                        {"drop", []string{sample(7, version1, `,"labels":["tlp:green"]`)}, 1},
		"granular":                     {"board", []string{sample(8, version1, `,"granular_markings":[{"selectors":["pattern"],"marking_ref":"marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"}]`)}, 0},
		"the definition of a label":    {"board", []string{`{"type":"marking-definition","spec_version":"2.1","id":"marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","definition":{"tlp":"red"}}`}, 1},
		"a marking that nobody knows":  {"board", []string{sample(9, version1, `,"object_marking_refs":["marking-definition--00000000-0000-4000-8000-000000000001"]`)}, 0},
		"a label of TLP nobody knows ": {"board", []string{sample(10, version1, `,"labels":["tlp:purple"]`)}, 0},
	} {
		if st := post(t, e, c.collection, "cert-at", token, envelope(c.objects...)); st.SuccessCount != c.in || st.FailureCount+st.PendingCount != len(c.objects)-c.in {
			t.Errorf("%s: %d in, want %d: %+v", name, st.SuccessCount, c.in, st.Failures)
		}
	}
}

// A cursor altered in any bit, used by another member, or after the right was
// taken, shows nothing.
func TestCursorsOpenForNobodyElse(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	post(t, e, "board", "cert-at", at, envelope(sample(1, version1, ""), sample(2, version1, "")))
	_, _, text := e.Do(t, "GET", boardObjects+"?limit=1", "cert-at", at, "")
	var env taxii.Envelope
	if err := json.Unmarshal([]byte(text), &env); err != nil || env.Next == "" {
		t.Fatal(text)
	}
	page := func(user, token, next string) int {
		code, _, text := e.Do(t, "GET", boardObjects+"?next="+url.QueryEscape(next), user, token, "")
		if code != 200 && strings.Contains(text, "indicator--") {
			t.Errorf("shown: %s", text)
		}
		return code
	}
	for i := range len(env.Next) * 8 {
		altered := []byte(env.Next)
		altered[i/8] ^= 1 << (i % 8)
		if code := page("cert-at", at, string(altered)); code != 400 {
			t.Errorf("bit %d altered: %d", i, code)
		}
	}
	if code := page("cert-pl", pl, env.Next); code != 400 {
		t.Errorf("another member: %d", code)
	}
	if code := page("cert-at", at, env.Next); code != 200 {
		t.Errorf("its owner: %d", code)
	}
	e.Apply(t, "collections: [{id: board, ceiling: amber, readers: [cert-pl], writers: [cert-pl]}]")
	if code := page("cert-at", at, env.Next); code != 404 {
		t.Errorf("after the right was taken: %d", code)
	}
}

func TestConditional(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	post(t, e, "board", "cert-at", at, envelope(sample(1, version1, ""), sample(2, version1, "")))
	for _, path := range []string{"/taxii2/", "/exchange/", "/exchange/collections/", "/exchange/collections/board/", boardObjects, boardObjects + "?limit=1", "/exchange/collections/board/manifest/"} {
		_, h, _ := e.Do(t, "GET", path, "cert-at", at, "")
		tag := h.Get("ETag")
		if !strings.HasPrefix(tag, `W/"`) || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Authorization") {
			t.Errorf("%s: %v", path, h)
		}
		for _, match := range []string{tag, `"x", ` + tag, strings.TrimPrefix(tag, "W/")} {
			if code, h, text := e.Do(t, "GET", path, "cert-at", at, "", "If-None-Match", match); code != 304 || text != "" || h.Get("ETag") != tag {
				t.Errorf("%s with %s: %d %s", path, match, code, text)
			}
		}
		if code, _, _ := e.Do(t, "GET", path, "cert-at", at, "", "If-None-Match", `W/"x"`); code != 200 {
			t.Errorf("%s with another tag: %d", path, code)
		}
		if _, h, _ := e.Do(t, "GET", path, "cert-pl", pl, ""); h.Get("ETag") == tag && strings.Contains(path, "limit") {
			t.Errorf("%s: one tag for two callers, whose cursors differ", path)
		}
		if code, _, _ := e.Do(t, "GET", path, "cert-at", "wrong", "", "If-None-Match", tag); code != 401 {
			t.Errorf("%s with a tag instead of a credential: %d", path, code)
		}
	}
	_, h, _ := e.Do(t, "GET", boardObjects, "cert-at", at, "")
	post(t, e, "board", "cert-at", at, envelope(sample(3, version1, "")))
	if code, _, _ := e.Do(t, "GET", boardObjects, "cert-at", at, "", "If-None-Match", h.Get("ETag")); code != 200 {
		t.Errorf("after it grew: %d", code)
	}
	_, h, _ = e.Do(t, "GET", boardObjects, "cert-at", at, "")
	e.Do(t, "DELETE", boardObjects+"indicator--00000003-0000-4000-8000-000000000003/", "cert-at", at, "")
	if code, _, _ := e.Do(t, "GET", boardObjects, "cert-at", at, "", "If-None-Match", h.Get("ETag")); code != 200 {
		t.Errorf("after something was deleted: %d", code)
	}
}

func TestGzip(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	var objects []string
	for i := range 50 {
		objects = append(objects, sample(i, version1, ""))
	}
	_, _ = z.Write([]byte(envelope(objects...)))
	_ = z.Close()
	code, _, text := e.Do(t, "POST", boardObjects, "cert-at", at, body.String(), "Content-Type", taxii.MediaType, "Content-Encoding", "gzip")
	if code != 202 || !strings.Contains(text, `"success_count":50`) {
		t.Errorf("%d %.200s", code, text)
	}
	if code, _, text := e.Do(t, "POST", boardObjects, "cert-at", at, "nonsense", "Content-Type", taxii.MediaType, "Content-Encoding", "gzip"); code != 400 {
		t.Errorf("what is not gzip: %d %s", code, text)
	}
	if code, _, text := e.Do(t, "POST", boardObjects, "cert-at", at, "nonsense", "Content-Type", taxii.MediaType, "Content-Encoding", "br"); code != 415 {
		t.Errorf("brotli: %d %s", code, text)
	}
	bomb := new(bytes.Buffer)
	z = gzip.NewWriter(bomb)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 64<<20))
	_ = z.Close()
	if code, _, text := e.Do(t, "POST", boardObjects, "cert-at", at, bomb.String(), "Content-Type", taxii.MediaType, "Content-Encoding", "gzip"); code != 413 {
		t.Errorf("a bomb: %d %s", code, text)
	}
	_, h, packed := e.Do(t, "GET", boardObjects, "cert-at", at, "", "Accept-Encoding", "gzip")
	_, _, plain := e.Do(t, "GET", boardObjects, "cert-at", at, "", "Accept-Encoding", "identity")
	if h.Get("Content-Encoding") != "gzip" || len(packed)*3 > len(plain) || h.Get("Content-Type") != taxii.MediaType {
		t.Errorf("%d bytes, plain %d: %v", len(packed), len(plain), h)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer dec.Close()
	for _, accept := range []string{"zstd", "gzip, deflate, br, zstd", "zstd;q=1, gzip;q=0.5"} {
		_, h, packed = e.Do(t, "GET", boardObjects, "cert-at", at, "", "Accept-Encoding", accept)
		if h.Get("Content-Encoding") != "zstd" || !strings.Contains(h.Get("Vary"), "Accept-Encoding") {
			t.Errorf("%s: %v", accept, h)
			continue
		}
		if text, err := dec.DecodeAll([]byte(packed), nil); err != nil || string(text) != plain {
			t.Errorf("%s: %d bytes, plain %d: %v", accept, len(text), len(plain), err)
		}
	}
}

// Nothing comes before what it refers to, whoever starts to read whenever, and a
// page does not cut a host apart where there is room.
func TestNothingComesBeforeWhatItRefersTo(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	for day := 19; day < 23; day++ {
		e.Publish(t, "rustock", rows(30, "2026-03-"+strconv.Itoa(day), "AT"))
	}
	for _, collection := range []string{"cert-at", "feed-rustock"} {
		all, _ := e.Pull(t, collection, taxiiclient.Cursor{}, taxii.Filter{Limit: 5000})
		if len(all) < 30*4*6 {
			t.Fatalf("%s: %d objects", collection, len(all))
		}
		inOrder(t, collection, all)
		seen := make(map[string]bool)
		for _, o := range all {
			key := fmt.Sprint(property(o, "id"), property(o, "modified"))
			if seen[key] {
				t.Errorf("%s: %s is there twice", collection, key)
			}
			seen[key] = true
		}
		// Whoever starts between two days has what they need, too.
		for _, limit := range []int{1, 7, 100} {
			for _, start := range starts(t, e, collection) {
				got, _ := e.Pull(t, collection, taxiiclient.Cursor{AddedAfter: start}, taxii.Filter{Limit: limit, Versions: []taxii.VersionFilter{{Keyword: "all"}}})
				inOrder(t, fmt.Sprintf("%s from %v by %d", collection, start, limit), got, "ipv4-addr", "ipv6-addr")
			}
		}
		whole(t, e, collection)
	}
}

// property reads a property of an object as text or as a list of texts.
func property(object, name string) []string {
	var o map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &o); err != nil {
		panic(err)
	}
	var one string
	if json.Unmarshal(o[name], &one) == nil {
		return []string{one}
	}
	var list []string
	_ = json.Unmarshal(o[name], &list)
	return list
}

// references are what an object refers to.
func references(object string) (list []string) {
	for _, name := range []string{"created_by_ref", "object_refs", "src_ref", "dst_ref", "source_ref", "target_ref", "sighting_of_ref", "observed_data_refs", "where_sighted_refs"} {
		list = append(list, property(object, name)...)
	}
	return list
}

// inOrder checks that every reference is to something before it; of a reader
// who starts in between, to addresses.
func inOrder(t *testing.T, who string, objects []string, kinds ...string) {
	t.Helper()
	seen := make(map[string]bool)
	for _, o := range objects {
		seen[property(o, "id")[0]] = true
		for _, ref := range references(o) {
			kind, _, _ := strings.Cut(ref, "--")
			if !seen[ref] && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
				t.Errorf("%s: %s comes after %.120s", who, ref, o)
				return
			}
		}
	}
}

// starts are the places where a collection's blocks start.
func starts(t *testing.T, e *exchangetest.Exchange, collection string) (list []time.Time) {
	for n := uint64(1); ; n++ {
		b, found, err := e.View.Block(collection, n)
		if err != nil {
			t.Fatal(err)
		}
		if !found {
			return list
		}
		list = append(list, b.Added.Add(-time.Microsecond))
	}
}

// whole checks that no page cuts a host's objects apart.
func whole(t *testing.T, e *exchangetest.Exchange, collection string) {
	t.Helper()
	c, err := taxiiclient.New(taxiiclient.Options{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken()})
	if err != nil {
		t.Fatal(err)
	}
	col, err := c.Find(t.Context(), collection)
	if err != nil {
		t.Fatal(err)
	}
	for page, err := range c.Pages(t.Context(), col, taxiiclient.Cursor{}, taxii.Filter{Limit: 30}) {
		if err != nil {
			t.Fatal(err)
		}
		here := make(map[string]bool)
		for _, o := range page.Objects {
			here[property(string(o), "id")[0]] = true
		}
		for _, o := range page.Objects {
			for _, ref := range property(string(o), "observed_data_refs") {
				if !here[ref] {
					t.Errorf("%s: %s is on another page than its sighting", collection, ref)
				}
			}
		}
	}
}

// BenchmarkAdd posts batches of 1000 indicators; an operation is a batch.
func BenchmarkAdd(b *testing.B) {
	e := exchangetest.Start(b, writable)
	token := e.Token(b, "cert-at")
	n := 0
	for b.Loop() {
		var objects []string
		for range 1000 {
			n++
			objects = append(objects, sample(n, version1, ""))
		}
		if code, _, text := e.Do(b, "POST", boardObjects, "cert-at", token, envelope(objects...), "Content-Type", taxii.MediaType); code != http.StatusAccepted {
			b.Fatal(code, text)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkIngest publishes pieces of 2000 hosts; an operation is a piece.
func BenchmarkIngest(b *testing.B) {
	e := exchangetest.Start(b, exchangetest.Register)
	pieces := make([]string, 0, 64)
	for day := 1; day <= 28; day++ {
		pieces = append(pieces, rows(2000, fmt.Sprintf("2026-02-%02d", day), "AT"), rows(2000, fmt.Sprintf("2026-01-%02d", day), "AT"))
	}
	n := 0
	for b.Loop() {
		e.Publish(b, "rustock", pieces[n%len(pieces)])
		n++
	}
	b.ReportMetric(float64(2000*n)/b.Elapsed().Seconds(), "hosts/s")
}
