package taxiiclient_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// foreign is a TAXII server as others have written it: a list of objects, one a
// second, and habits of its own.
type foreign struct {
	n        int
	withNext bool
	habit    func(w http.ResponseWriter, r *http.Request) bool // true: answered
	requests []string
}

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func (f *foreign) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.requests = append(f.requests, r.URL.RequestURI())
	if f.habit != nil && f.habit(w, r) {
		return
	}
	if user, pass, _ := r.BasicAuth(); user != "u" || pass != "p" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	switch r.URL.Path {
	case "/taxii2/":
		reply(taxii.Discovery{Title: "x", APIRoots: []string{"/root1/", "http://" + r.Host + "/root2"}})
	case "/root1/", "/root2/":
		reply(taxii.APIRoot{Title: "x", Versions: []string{taxii.MediaType}})
	case "/root1/collections/":
		w.WriteHeader(http.StatusForbidden)
	case "/root2/collections/":
		reply(taxii.Collections{Collections: []taxii.Collection{{ID: "c1", Title: "A title", Alias: "alias"}, {ID: "c2", Title: "c1"}}})
	case "/root2/collections/c1/objects/":
		f.page(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func (f *foreign) page(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	start := 0
	if s := q.Get("added_after"); s != "" {
		t, err := taxii.ParseTime(s)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		start = int(t.Sub(epoch)/time.Second) + 1
	}
	if s := q.Get("next"); s != "" {
		start, _ = strconv.Atoi(s)
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	if limit == 0 {
		limit = 10
	}
	end := min(start+limit, f.n)
	env := taxii.Envelope{More: end < f.n}
	for i := start; i < end; i++ {
		env.Objects = append(env.Objects, json.RawMessage(strconv.Itoa(i)))
	}
	if len(env.Objects) > 0 {
		w.Header().Set(taxii.HeaderAddedFirst, taxii.FormatTime(epoch.Add(time.Duration(start)*time.Second)))
		w.Header().Set(taxii.HeaderAddedLast, taxii.FormatTime(epoch.Add(time.Duration(end-1)*time.Second)))
	}
	if env.More && f.withNext {
		env.Next = strconv.Itoa(end)
	}
	_ = json.NewEncoder(w).Encode(env)
}

func start(t *testing.T, f *foreign, path string) *taxiiclient.Client {
	t.Helper()
	s := httptest.NewServer(f)
	t.Cleanup(s.Close)
	h := taxiiclient.NewHTTP()
	h.RetryWaitMin, h.RetryWaitMax = time.Millisecond, time.Millisecond
	c, err := taxiiclient.New(taxiiclient.Options{Server: s.URL + path, User: "u", Token: "p", HTTP: h})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read returns the objects from a cursor on, and the cursor behind them.
func read(t *testing.T, c *taxiiclient.Client, from taxiiclient.Cursor, f taxii.Filter) ([]string, taxiiclient.Cursor, error) {
	t.Helper()
	col, err := c.Find(t.Context(), "alias")
	if err != nil {
		return nil, from, err
	}
	var list []string
	for p, err := range c.Pages(t.Context(), col, from, f) {
		if err != nil {
			return list, from, err
		}
		for _, o := range p.Objects {
			list = append(list, string(o))
		}
		from = p.After
	}
	return list, from, nil
}

func numbers(from, to int) (list []string) {
	for i := from; i < to; i++ {
		list = append(list, strconv.Itoa(i))
	}
	return list
}

func TestReadsServersWithAndWithoutNext(t *testing.T) {
	for _, withNext := range []bool{true, false} {
		for _, limit := range []int{0, 1, 7, 100} {
			f := &foreign{n: 35, withNext: withNext}
			c := start(t, f, "")
			got, cursor, err := read(t, c, taxiiclient.Cursor{}, taxii.Filter{Limit: limit})
			if err != nil || !slices.Equal(got, numbers(0, 35)) {
				t.Errorf("next %v, limit %d: %v, %v", withNext, limit, got, err)
			}
			// The cursor goes through JSON and on, when there is more.
			text, err := json.Marshal(cursor)
			if err != nil {
				t.Fatal(err)
			}
			var kept taxiiclient.Cursor
			if err := json.Unmarshal(text, &kept); err != nil {
				t.Fatal(err)
			}
			f.n = 40
			if got, _, err := read(t, c, kept, taxii.Filter{Limit: limit}); err != nil || !slices.Equal(got, numbers(35, 40)) {
				t.Errorf("next %v, limit %d, later: %v, %v", withNext, limit, got, err)
			}
		}
	}
}

func TestAnExpiredNextFallsBackToAddedAfter(t *testing.T) {
	f := &foreign{n: 30, withNext: true}
	f.habit = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("next") == "20" {
			w.WriteHeader(http.StatusBadRequest)
			return true
		}
		return false
	}
	if got, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{}); err != nil || !slices.Equal(got, numbers(0, 30)) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestServersThatDoNotGetOnAreReported(t *testing.T) {
	at := func(s int) string { return taxii.FormatTime(epoch.Add(time.Duration(s) * time.Second)) }
	for name, answer := range map[string]func(w http.ResponseWriter, n int) string{
		"the same next":    func(http.ResponseWriter, int) string { return `{"more":true,"next":"x","objects":[1]}` },
		"no next, no date": func(http.ResponseWriter, int) string { return `{"more":true,"objects":[1]}` },
		"back in time": func(w http.ResponseWriter, n int) string {
			w.Header().Set(taxii.HeaderAddedFirst, at(100-n))
			w.Header().Set(taxii.HeaderAddedLast, at(101-n))
			return fmt.Sprintf(`{"more":true,"next":"%d","objects":[1]}`, n)
		},
		"more of nothing": func(http.ResponseWriter, int) string { return `{"more":true}` },
	} {
		n := 0
		f := &foreign{habit: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/objects/") {
				return false
			}
			n++
			_, _ = w.Write([]byte(answer(w, n)))
			return true
		}}
		if _, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{}); !errors.Is(err, taxiiclient.ErrLoops) || n > 5 {
			t.Errorf("%s: %v after %d pages", name, err, n)
		}
	}
}

func TestBusyServersAreAskedAgain(t *testing.T) {
	n := 0
	f := &foreign{n: 5, habit: func(w http.ResponseWriter, _ *http.Request) bool {
		if n++; n%3 != 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}}
	if got, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{}); err != nil || len(got) != 5 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFindsByIDThenAliasThenTitle(t *testing.T) {
	for _, path := range []string{"", "/", "/taxii2", "/taxii2/", "/root2", "/root2/"} {
		c := start(t, &foreign{}, path)
		for name, want := range map[string]string{"c1": "c1", "alias": "c1", "A title": "c1", "c2": "c2"} {
			if col, err := c.Find(t.Context(), name); err != nil || col.ID != want {
				t.Errorf("%q: %s is %+v, %v", path, name, col, err)
			}
		}
		if _, err := c.Find(t.Context(), "nothing"); !errors.Is(err, taxiiclient.ErrNoCollection) {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	f := &foreign{habit: func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"title":"No","description":"not today","http_status":"403"}`))
		return true
	}}
	_, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{})
	var status *taxiiclient.StatusError
	if !errors.As(err, &status) || status.Status != 403 || !strings.Contains(err.Error(), "No: not today") {
		t.Error(err)
	}
	for _, bad := range []string{"", "ftp://x", "://", "host:80"} {
		if _, err := taxiiclient.New(taxiiclient.Options{Server: bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	f.habit = func(w http.ResponseWriter, _ *http.Request) bool { _, _ = w.Write([]byte("<html>")); return true }
	if _, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{}); err == nil || !strings.Contains(err.Error(), "not a TAXII 2.1 response") {
		t.Error(err)
	}
}

// A redirect to another host does not get the credentials.
func TestCredentialsStayWithTheirHost(t *testing.T) {
	leaked := false
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { leaked = leaked || r.Header.Get("Authorization") != "" }))
	defer other.Close()
	f := &foreign{habit: func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusFound)
		return true
	}}
	if _, _, err := read(t, start(t, f, ""), taxiiclient.Cursor{}, taxii.Filter{}); err == nil || leaked {
		t.Errorf("%v, leaked %v", err, leaked)
	}
}

// Sections 3.1, 3.2, 8.4 and 8.5: slashes, Accept, User-Agent, HTTP Basic.
func TestTheClientSendsWhatIsAsked(t *testing.T) {
	var seen []*http.Request
	f := &foreign{n: 3, habit: func(_ http.ResponseWriter, r *http.Request) bool {
		seen = append(seen, r)
		return false
	}}
	server := httptest.NewServer(f)
	defer server.Close()
	c, err := taxiiclient.New(taxiiclient.Options{Server: server.URL, User: "u", Token: "p", UserAgent: "example/1.0"})
	if err != nil {
		t.Fatal(err)
	}
	col, err := c.Find(t.Context(), "c1")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range c.Pages(t.Context(), col, taxiiclient.Cursor{}, taxii.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(seen) < 4 {
		t.Fatalf("%d requests", len(seen))
	}
	for _, r := range seen {
		user, pass, ok := r.BasicAuth()
		if !strings.HasSuffix(r.URL.Path, "/") || r.Header.Get("Accept") != taxii.MediaType || r.UserAgent() != "example/1.0" || !ok || user != "u" || pass != "p" {
			t.Errorf("%s: %v", r.URL, r.Header)
		}
	}
}

// intake is a server that takes objects, pending at first.
type intake struct {
	limit    int64
	bodies   []string
	statuses map[string]*taxii.Status
	asked    map[string]int
	headers  []http.Header
	// waits keeps the first request pending until so many have come.
	waits int
}

// start serves it, and returns a client and the collection.
func (s *intake) start(t *testing.T) (*taxiiclient.Client, *taxiiclient.Collection) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	c, err := taxiiclient.New(taxiiclient.Options{Server: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	col, err := c.Find(t.Context(), "c")
	if err != nil {
		t.Fatal(err)
	}
	return c, col
}

func (s *intake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	id, isStatus := strings.CutPrefix(r.URL.Path, "/root/status/")
	switch {
	case r.URL.Path == "/taxii2/":
		reply(taxii.Discovery{Title: "x", APIRoots: []string{"/root/"}})
	case r.URL.Path == "/root/":
		reply(taxii.APIRoot{Title: "x", Versions: []string{taxii.MediaType}, MaxContentLength: s.limit})
	case r.URL.Path == "/root/collections/":
		reply(taxii.Collections{Collections: []taxii.Collection{{ID: "c", Title: "c", CanWrite: true}}})
	case r.URL.Path == "/root/collections/c/objects/" && r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		s.bodies = append(s.bodies, string(body))
		s.headers = append(s.headers, r.Header)
		var env taxii.Envelope
		if json.Unmarshal(body, &env) != nil || int64(len(body)) > s.limit {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		st := &taxii.Status{ID: strconv.Itoa(len(s.bodies)), Status: taxii.StatusPending, TotalCount: len(env.Objects), PendingCount: len(env.Objects)}
		s.statuses[st.ID] = st
		w.WriteHeader(http.StatusAccepted)
		reply(st)
	case isStatus:
		id = strings.TrimSuffix(id, "/")
		if s.asked[id]++; s.asked[id] >= 3 && (id != "1" || len(s.bodies) >= s.waits) {
			st := s.statuses[id]
			st.Status, st.PendingCount, st.SuccessCount = taxii.StatusComplete, 0, st.TotalCount
		}
		reply(s.statuses[id])
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestPushSplitsAndPolls(t *testing.T) {
	s := &intake{limit: 200, statuses: map[string]*taxii.Status{}, asked: map[string]int{}}
	c, col := s.start(t)
	objects := func(yield func([]byte, error) bool) {
		for i := range 40 {
			if !yield(fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, i, strings.Repeat("x", i)), nil) {
				return
			}
		}
	}
	total := 0
	for p, err := range c.Push(t.Context(), col, objects) {
		if err != nil {
			t.Fatal(err)
		}
		if p.Status.Status != taxii.StatusComplete || p.PendingCount != 0 {
			t.Errorf("%+v", p)
		}
		total += p.SuccessCount
	}
	if total != 40 {
		t.Errorf("%d are in", total)
	}
	var all []string
	for i, body := range s.bodies {
		if int64(len(body)) > s.limit {
			t.Errorf("a body of %d bytes", len(body))
		}
		var env struct{ Objects []struct{ N int } }
		if err := json.Unmarshal([]byte(body), &env); err != nil {
			t.Fatal(err)
		}
		for _, o := range env.Objects {
			all = append(all, strconv.Itoa(o.N))
		}
		if h := s.headers[i]; h.Get("Content-Type") != taxii.MediaType || h.Get("Accept") != taxii.MediaType {
			t.Error(h)
		}
	}
	for i, n := range all {
		if n != strconv.Itoa(i) {
			t.Fatalf("out of order: %v", all)
		}
	}
	for id, n := range s.asked {
		if n != 3 {
			t.Errorf("status %s was asked for %d times; it is complete at the third", id, n)
		}
	}
	// One object that is larger than the server takes ends the push, after what
	// came before it.
	s.bodies, s.asked = nil, map[string]int{}
	large := func(yield func([]byte, error) bool) {
		_ = yield([]byte(`{"n":1}`), nil) && yield([]byte(`{"n":2,"text":"`+strings.Repeat("x", 300)+`"}`), nil)
	}
	var last error
	for _, last = range c.Push(t.Context(), col, large) {
	}
	if !errors.Is(last, taxiiclient.ErrTooLarge) || len(s.bodies) != 1 {
		t.Errorf("%v after %d requests", last, len(s.bodies))
	}
}

// What waits for an object that is sent later does not keep it from being sent: a definition of a marking may come last.
func TestPushSendsWhatOthersWaitFor(t *testing.T) {
	s := &intake{limit: 120, statuses: map[string]*taxii.Status{}, asked: map[string]int{}, waits: 3}
	c, col := s.start(t)
	total := 0
	for p, err := range c.Push(t.Context(), col, func(yield func([]byte, error) bool) {
		for i := range 3 {
			if !yield(fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, i, strings.Repeat("x", 70)), nil) {
				return
			}
		}
	}) {
		if err != nil || p.Status.Status != taxii.StatusComplete {
			t.Fatal(p, err)
		}
		total += p.SuccessCount
	}
	if total != 3 || len(s.bodies) != 3 {
		t.Errorf("%d are in, of %d requests", total, len(s.bodies))
	}
}
