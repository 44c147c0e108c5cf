package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Somebody gives one object very many versions. Whoever asks for some of them, or
// deletes them, is answered, and nobody else waits for long.
func TestManyVersionsOfOneObject(t *testing.T) {
	t.Parallel()
	const many = 12_000
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var objects []string
	for i := range many {
		objects = append(objects, fmt.Sprintf(`{"type":"tool","name":"t","spec_version":"2.1","id":"tool--00000000-0000-4000-8000-000000000001","created":"2020-01-01T00:00:00Z","modified":"%s"}`,
			start.Add(time.Duration(i)*time.Second).Format(time.RFC3339)))
	}
	if st := post(t, e, "board", "cert-at", at, envelope(objects...)); st.SuccessCount != many {
		t.Fatalf("%d are in", st.SuccessCount)
	}
	began := time.Now()
	object := boardObjects + "tool--00000000-0000-4000-8000-000000000001/"
	for query, want := range map[string]int{
		"": 1, "?match[version]=first": 1, "?match[version]=first,last": 2, "?match[version]=all&match[type]=tool&limit=5000": 5000, "?match[version]=2020-01-01T00:00:07Z": 1,
	} {
		for _, path := range []string{boardObjects, object} {
			code, _, text := e.Do(t, "GET", path+query, "cert-at", at, "")
			if n := strings.Count(text, `"type":"tool"`); code != 200 || n != want {
				t.Errorf("%s%s: %d with %d objects, want %d", path, query, code, n, want)
			}
		}
	}
	if _, _, text := e.Do(t, "GET", object+"versions/?limit=2", "cert-at", at, ""); !strings.Contains(text, `["2020-01-01T00:00:00Z","2020-01-01T00:00:01Z"]`) {
		t.Error(text)
	}
	if code, _, _ := e.Do(t, "DELETE", object+"?match[version]=2001-01-01T00:00:00Z", "cert-at", at, ""); code != 404 {
		t.Error(code)
	}
	if code, _, text := e.Do(t, "DELETE", object, "cert-at", at, ""); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if code, _, _ := e.Do(t, "GET", object, "cert-at", at, ""); code != 404 {
		t.Error(code)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("all that took %v", took) // it was many minutes; it is a second
	}
}

// A page, and an event, hold so many bytes, however large objects are.
func TestPagesAndEventsAreBoundedInBytes(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	name := strings.Repeat("x", 1<<20)
	for i := range 5 {
		var objects []string
		for j := range 8 {
			objects = append(objects, sample(10*i+j, version1, `,"name":"`+name+`"`))
		}
		post(t, e, "board", "cert-at", at, envelope(objects...))
	}
	total, next := 0, ""
	for pages := 0; ; pages++ {
		_, _, text := e.Do(t, "GET", boardObjects+"?match[type]=indicator&limit=5000"+next, "cert-at", at, "")
		var env taxii.Envelope
		if err := json.Unmarshal([]byte(text), &env); err != nil || len(text) > 18<<20 || pages > 10 {
			t.Fatal(len(text), pages, err)
		}
		total += len(env.Objects)
		if !env.More {
			break
		}
		next = "&next=" + env.Next
	}
	if total != 40 {
		t.Errorf("%d objects", total)
	}
	if got, _ := receive(t, e, "cert-at", at, "board", "", "", 40); len(got) != 40 {
		t.Errorf("%d objects", len(got))
	}
}

func TestHostileObjects(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	clear := "marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9"
	for name, object := range map[string]string{
		"a label's id with another body": `{"type":"marking-definition","spec_version":"2.1","id":"` + clear + `","created":"2017-01-20T00:00:00.000Z","definition_type":"statement","definition":{"statement":"x"}}`,
		"a label's id with another's":    `{"type":"marking-definition","spec_version":"2.1","id":"` + clear + `","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","definition":{"tlp":"red"}}`,
		"a label that is marked red":     `{"type":"marking-definition","spec_version":"2.1","id":"` + clear + `","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","definition":{"tlp":"white"},"object_marking_refs":["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]}`,
		"a label with space":             sample(1, version1, `,"labels":[" TLP:RED"]`),
		"a label in a name space":        sample(2, version1, `,"labels":["misp:tlp:red"]`),
		"a time with an offset":          sample(3, "9999-12-31T23:59:59-23:59", ""),
		"a time with a comma":            sample(4, "2026-01-01T00:00:00,5Z", ""),
		"a time with one digit":          sample(5, "2026-01-01T1:00:00Z", ""),
		"a time with many digits":        sample(6, "2026-01-01T00:00:00."+strings.Repeat("3", 100_000)+"Z", ""),
		"a long name twice":              sample(7, version1, `,"`+strings.Repeat("k", 100_000)+`":1,"`+strings.Repeat("k", 100_000)+`":1`),
	} {
		code, _, text := e.Do(t, "POST", boardObjects, "cert-at", at, envelope(object), "Content-Type", taxii.MediaType)
		if code != 202 || !strings.Contains(text, `"failure_count":1`) || len(text) > 2000 {
			t.Errorf("%s: %d with %d bytes: %.300s", name, code, len(text), text)
		}
		if name == "a long name twice" && !strings.Contains(text, "indicator--00000007") {
			t.Errorf("%s: the failure does not say which object: %.300s", name, text)
		}
	}
	white := `{"type":"marking-definition","spec_version":"2.1","id":"` + clear + `","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","definition":{"tlp":"white"}}`
	if st := post(t, e, "board", "cert-at", at, envelope(white)); st.SuccessCount != 1 {
		t.Errorf("the label itself: %+v", st.Failures)
	}
	// Who may only write learns nothing of what is there.
	for range 2 {
		st := post(t, e, "drop", "cert-pl", pl, envelope(sample(9, version1, "")))
		if st.SuccessCount != 1 || st.Successes[0].Message != "" {
			t.Errorf("%+v", st)
		}
	}
}

// HEAD of a stream of events has its headers and ends.
func TestHeadOfEvents(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	for range 3 {
		if code, h, text := e.Do(t, http.MethodHead, "/v1/collections/board/events", "cert-at", at, ""); code != 200 || h.Get("Content-Type") != "text/event-stream" || text != "" {
			t.Errorf("%d %v %s", code, h, text)
		}
	}
}

func TestAConditionSavesNoError(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	for path, want := range map[string]int{boardObjects + "indicator--00000001-0000-4000-8000-000000000001/": 404, boardObjects + "?match[tlp]=zzz": 400} {
		if code, _, _ := e.Do(t, "GET", path, "cert-at", at, "", "If-None-Match", "*"); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}
