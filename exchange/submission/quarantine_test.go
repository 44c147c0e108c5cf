package submission_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/oracle"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

const (
	unknownID = "marking-definition--00000000-0000-4000-8000-00000000acac"
	otherID   = things.Unknown
	amberID   = "marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"
)

// hall is an exchange of two members and one collection, up to AMBER.
type hall struct {
	*town
	t *testing.T
	s *shelf
	p *submission.Poster
}

func newHall(t *testing.T) *hall {
	h := &hall{t: t, s: new(shelf), town: &town{members: []string{"a", "b"}, config: oracle.Config{
		Members:     map[string]oracle.Member{"a": {}, "b": {}},
		Collections: map[string]*oracle.Collection{"c": {Ceiling: 3, Floor: 1, Readers: []string{"a", "b"}, Writers: []string{"a", "b"}}, exchange.Quarantine: {Ceiling: 5, Floor: 5}},
	}}}
	h.open()
	return h
}

// open is as after a start.
func (h *hall) open() {
	h.p = &submission.Poster{
		Log: h.s, View: h.s, Seal: record.Seal{Key: []byte("key")}, Gate: new(sync.RWMutex), Fatal: func(err error) { h.t.Fatal(err) },
		Removed: func(context.Context, string, uint64) error { return nil },
	}
}

func (h *hall) as(member, collection string) *submission.Request {
	return &submission.Request{By: member, Rules: citizen{h.town, member, collection}, SpecVersions: []string{"2.1"}}
}

// tool is a versioned object with markings.
func tool(n int, marks ...string) string {
	return fmt.Sprintf(`{"type":"tool","spec_version":"2.1","id":"tool--%08d-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"T","object_marking_refs":["%s"]}`, n, strings.Join(marks, `","`))
}

// statement defines a marking that says nothing about who may read, or, with another type, one that may.
func statement(id, typ string) string {
	return fmt.Sprintf(`{"type":"marking-definition","spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00.000Z","definition_type":%q,"definition":{%q:"x"}}`, id, typ, typ)
}

func (h *hall) post(member string, objects ...string) []submission.Result {
	h.t.Helper()
	r := h.as(member, "c")
	for _, o := range objects {
		r.Objects = append(r.Objects, []byte(o))
	}
	results, _, err := h.p.Add(h.t.Context(), r)
	if err != nil {
		h.t.Fatal(err)
	}
	return results
}

func (h *hall) stands(n int) bool {
	raw, _ := h.s.Object(h.t.Context(), "c", record.Version{ID: fmt.Sprintf("tool--%08d-0000-4000-8000-000000000000", n), SpecVersion: "2.1", Version: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)})
	return raw != nil
}

// waiting lists what waits, all or for a definition.
func (h *hall) waiting(all bool) (list []*submission.Quarantined) {
	h.t.Helper()
	list, err := h.p.ListQuarantined(h.t.Context(), all)
	if err != nil {
		h.t.Fatal(err)
	}
	return list
}

// What becomes of an object whose marking nobody knows: it waits for the definition, and goes its way with that; what
// might restrict who reads waits for the operator.
func TestWhatWaitsForADefinition(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		before, with, after []string
		held, waits         bool // at once
		stands              bool // in the end
	}{
		"known markings":                       {nil, []string{tool(1, amberID)}, nil, false, false, true},
		"no definition":                        {nil, []string{tool(1, unknownID)}, nil, true, true, false},
		"the definition before it":             {[]string{statement(unknownID, "statement")}, []string{tool(1, unknownID)}, nil, false, false, true},
		"in the same request, behind it":       {nil, []string{tool(1, unknownID), statement(unknownID, "statement")}, nil, false, false, true},
		"later":                                {nil, []string{tool(1, unknownID)}, []string{statement(unknownID, "statement")}, true, true, true},
		"of another marking":                   {nil, []string{tool(1, unknownID)}, []string{statement(otherID, "statement")}, true, true, false},
		"of one of two":                        {nil, []string{tool(1, unknownID, otherID)}, []string{statement(otherID, "statement")}, true, true, false},
		"of a kind that nobody knows, before":  {[]string{statement(unknownID, "acs")}, []string{tool(1, unknownID)}, nil, true, true, false},
		"of a kind that nobody knows, with it": {nil, []string{tool(1, unknownID), statement(unknownID, "acs")}, nil, true, false, false},
		"harmless and not, with it":            {nil, []string{tool(1, unknownID), statement(unknownID, "statement"), statement(unknownID, "acs")}, nil, true, false, false},
		"harmless once, and no more":           {[]string{statement(unknownID, "statement"), statement(unknownID, "acs")}, []string{tool(1, unknownID)}, nil, true, true, false},
	} {
		h := newHall(t)
		for _, o := range c.before {
			h.post("a", o)
		}
		r := h.post("a", c.with...)[0]
		if r.Held != c.held || (r.Waits != "") != c.waits || (r.Problem != "") != c.held {
			t.Errorf("%s: %+v", name, r)
		}
		if list := h.waiting(false); c.held != (len(list) == 1) || c.held && (list[0].Waits() != c.waits || list[0].By != "a" || list[0].Collection != "c" || list[0].Size == 0 || list[0].Until.IsZero() == c.waits) {
			t.Errorf("%s: %+v", name, list)
		}
		if c.held && h.stands(1) {
			t.Errorf("%s: it is there already", name)
		}
		for _, o := range c.after {
			if h.post("a", o); len(h.waiting(false)) != 1 {
				t.Errorf("%s: it went its way by itself", name)
			}
			if err := h.p.Reconsider(t.Context(), "b", h.as); err != nil || h.stands(1) {
				t.Errorf("%s: another member's definition counts, or %v", name, err)
			}
			if err := h.p.Reconsider(t.Context(), "a", h.as); err != nil {
				t.Error(name, err)
			}
		}
		if h.stands(1) != c.stands || (len(h.waiting(false)) == 0) != (c.stands || !c.held) {
			t.Errorf("%s: it is there: %v; %+v", name, h.stands(1), h.waiting(false))
		}
	}
}

// What the operator decides, once, and what that means for who posts it again.
func TestWhatTheOperatorDecides(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		object string
		label  tlp.Level
		want   error
		again  string // what its member is told then
		stands bool
	}{
		"released":                      {tool(1, unknownID), tlp.Green, nil, "", true},
		"rejected":                      {tool(1, unknownID), tlp.None, nil, "was rejected: because", false},
		"below what it says":            {tool(1, unknownID, amberID), tlp.Green, submission.ErrLabel, "for you to post", false},
		"as it says":                    {tool(1, unknownID, amberID), tlp.Amber, nil, "", true},
		"above what the collection has": {tool(1, unknownID), tlp.Red, submission.ErrLabel, "for you to post", false},
	} {
		h := newHall(t)
		h.post("a", c.object)
		list := h.waiting(false)
		if len(list) != 1 {
			t.Fatal(name, list)
		}
		id := list[0].ID
		got, err := h.p.Decide(t.Context(), id, c.label, "eva", "because", h.as)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (got.DecidedBy != "eva" || got.Why != "because" || got.Label != c.label || got.DecidedAt.IsZero() || (got.Decision == submission.Released) != c.stands) {
			t.Errorf("%s: %+v", name, got)
		}
		if h.stands(1) != c.stands || (len(h.waiting(false)) == 0) != (c.want == nil) || len(h.waiting(true)) != 1 {
			t.Errorf("%s: there %v, waiting %+v", name, h.stands(1), h.waiting(true))
		}
		if c.want == nil {
			if _, err := h.p.Decide(t.Context(), id, tlp.Green, "eva", "", h.as); !errors.Is(err, submission.ErrNotHeld) {
				t.Errorf("%s: decided twice: %v", name, err)
			}
		}
		if r := h.post("a", c.object)[0]; !strings.Contains(r.Problem, c.again) || r.Already != c.stands {
			t.Errorf("%s: posted again: %+v", name, r)
		}
		if r := h.post("b", c.object)[0]; c.want != nil && !r.Held {
			t.Errorf("%s: another member's is not its own: %+v", name, r)
		}
	}
	h := newHall(t)
	if _, err := h.p.Decide(t.Context(), "nothing", tlp.Green, "eva", "", h.as); !errors.Is(err, submission.ErrNotHeld) {
		t.Error(err)
	}
}

// Two members' objects of one version wait beside each other, each with its own words.
func TestWhatWaitsBesideOther(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.post("a", tool(1, unknownID))
	h.post("b", strings.Replace(tool(1, unknownID), `"T"`, `"U"`, 1))
	list := h.waiting(false)
	if len(list) != 2 || list[0].Beside == list[1].Beside {
		t.Fatalf("%+v", list)
	}
	for _, q := range list {
		if _, err := h.p.Decide(t.Context(), q.ID, tlp.None, "eva", "", h.as); err != nil {
			t.Error(err)
		}
	}
	if len(h.waiting(false)) != 0 {
		t.Error("not all were decided about")
	}
	for id := range h.s.held {
		if strings.HasSuffix(id, "-content") {
			t.Error("the words of what was decided about are kept")
		}
	}
	for _, b := range h.s.books {
		if b.Collection == exchange.Quarantine && !b.gone {
			t.Error("it is in the quarantine still")
		}
	}
}

// A member's objects wait up to a bound, also over a start; what is decided about makes room.
func TestWhatWaitsIsBounded(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	large := strings.Replace(tool(1, unknownID), `"T"`, `"`+strings.Repeat("x", 3<<20)+`"`, 1)
	n, full := 0, ""
	for ; full == "" && n < 40; n++ {
		if r := h.post("a", strings.Replace(large, "tool--00000001", fmt.Sprintf("tool--%08d", n), 1))[0]; !r.Held {
			full = r.Problem
		}
	}
	if n != 22 || !strings.Contains(full, "21 objects of yours do") { // 64 MiB of them
		t.Fatal(n, full)
	}
	h.open()
	next := strings.Replace(large, "tool--00000001", "tool--00000099", 1)
	if r := h.post("a", next)[0]; r.Held {
		t.Error("after a start there is no bound")
	}
	if r := h.post("b", next)[0]; !r.Held {
		t.Error("another member's count for it:", r.Problem)
	}
	for _, q := range h.waiting(false)[:2] {
		if _, err := h.p.Decide(t.Context(), q.ID, tlp.None, "eva", "", h.as); err != nil {
			t.Fatal(err)
		}
	}
	if r := h.post("a", next)[0]; !r.Held {
		t.Error("what is decided about makes no room:", r.Problem)
	}
}

// What was cut short between taking out and adding again is added again, once.
func TestWhatWasCutShortIsFinished(t *testing.T) {
	t.Parallel()
	h := newHall(t)
	h.post("a", `{"type":"tool","spec_version":"2.1","id":"tool--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"T"}`)
	stop := errors.New("stopped")
	h.s.beforePost = func(p *record.Post) {
		if p.Control == "" && len(p.Share.Groups) > 0 && strings.Contains(string(p.Share.Groups[0].Objects[0].Raw), `"tool"`) {
			panic(stop)
		}
	}
	func() {
		defer func() {
			if p := recover(); p != stop {
				t.Fatal(p)
			}
		}()
		h.post("a", `{"type":"report","spec_version":"2.1","id":"report--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","name":"R","published":"2026-01-01T00:00:00Z","object_marking_refs":["`+amberID+`"],"object_refs":["tool--00000001-0000-4000-8000-000000000000"]}`)
	}()
	if h.stands(1) {
		t.Fatal("it was not cut short")
	}
	h.s.beforePost = nil
	h.open()
	for range 2 {
		if err := h.p.Finish(t.Context(), []string{"other", "c"}); err != nil {
			t.Fatal(err)
		}
		if !h.stands(1) || len(h.s.texts["again-c"]) != 0 {
			t.Error("it is not finished")
		}
	}
	copies := 0
	for _, b := range h.s.books {
		if b.ID == "tool--00000001-0000-4000-8000-000000000000" && !b.gone && !b.Remembered {
			if copies++; b.Label != tlp.Amber || !strings.Contains(string(b.raw), amberID) || !h.p.Seal.Is(b.By, "a") {
				t.Errorf("%+v %s", b.Posted, b.raw)
			}
		}
	}
	if copies != 1 {
		t.Errorf("it is there %d times", copies)
	}
}
