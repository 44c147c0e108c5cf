package submission_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/oracle"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// newStreet is an exchange of two members, who read and write four collections: c and d take up to AMBER, e up to GREEN,
// and what f takes is AMBER+STRICT at least. They write to g, and do not read it.
func newStreet(t *testing.T) *hall {
	h := newHall(t)
	both := []string{"a", "b"}
	for i, m := range both {
		h.config.Members[m] = oracle.Member{Identities: []string{things.Identity(i)}}
	}
	for c, of := range map[string][2]int{"c": {3, 1}, "d": {3, 2}, "e": {2, 1}, "f": {5, 4}} {
		h.config.Collections[c] = &oracle.Collection{Ceiling: of[0], Floor: of[1], Readers: both, Writers: both}
	}
	h.config.Collections["g"] = &oracle.Collection{Ceiling: 3, Floor: 1, Writers: both}
	return h
}

// item is an object in a version, with a label or tlp.None, that refers to others.
func item(typ string, n, version int, label tlp.Level, refs ...string) string {
	text := fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00.000Z","modified":"2026-01-%02dT00:00:00.000Z"`, typ, itemID(typ, n), version)
	switch typ {
	case "tool":
		text += `,"name":"T","created_by_ref":"` + things.Identity(0) + `"`
	case "report":
		text += `,"name":"R","published":"2026-01-01T00:00:00Z"`
	case "note":
		text += `,"content":"N"`
	case "observed-data":
		text += `,"first_observed":"2026-01-01T00:00:00Z","last_observed":"2026-01-01T00:00:00Z","number_observed":1`
	}
	if label != tlp.None {
		text += `,"object_marking_refs":["` + label.MarkingID() + `"]`
	}
	if len(refs) > 0 {
		text += `,"object_refs":["` + strings.Join(refs, `","`) + `"]`
	}
	return text + "}"
}

func itemID(typ string, n int) string {
	return fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n)
}

const (
	addressID = "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4"
	address   = `{"type":"ipv4-addr","spec_version":"2.1","id":"` + addressID + `","value":"198.51.100.3"}`
)

// act is one thing that is done.
type act func(*hall) error

func posts(member, collection string, objects ...string) act {
	return func(h *hall) error {
		r := h.as(member, collection)
		for _, o := range objects {
			r.Objects = append(r.Objects, []byte(o))
		}
		_, _, err := h.p.Add(h.t.Context(), r)
		return err
	}
}

func deletes(member, collection, id string) act {
	return func(h *hall) error {
		_, err := h.p.Delete(h.t.Context(), h.as(member, collection), id, func(all []record.Version) []record.Version { return all })
		return err
	}
}

func decides(label tlp.Level) act {
	return func(h *hall) error {
		for _, id := range h.first() {
			if _, err := h.p.Decide(h.t.Context(), id, label, "eva", "because", h.as); err != nil {
				return err
			}
		}
		return nil
	}
}

func reconsiders(h *hall) error { return h.p.Reconsider(h.t.Context(), "", h.as) }

// first lists what is in quarantine, without a fault.
func (h *hall) first() (ids []string) {
	calls := h.s.calls
	h.s.calls = 0
	for _, q := range h.waiting(true) {
		ids = append(ids, q.ID)
	}
	h.s.calls = calls
	return ids
}

// state is what stands where under which label, what is remembered, what followers were told of, what waits, and what is
// kept.
func (h *hall) state() (list []string) {
	for _, b := range h.s.books {
		if b.gone || b.Collection == exchange.Quarantine {
			continue
		}
		typ, _, _ := strings.Cut(b.ID, "--")
		line := fmt.Sprintf("%s %s/%d %s", b.Collection, typ, b.Posted.Version.Version.Day(), b.Label)
		switch {
		case b.own:
			line = b.Collection + " " + typ
		case b.Remembered:
			line += " remembered"
		case h.p.Seal.Is(b.By, "b"):
			line += " of b"
		}
		if label, err := stix.ParseHead(b.raw); !b.own && !b.Remembered && b.Label > tlp.Clear && (err != nil || label.KnownLabel() != b.Label) {
			line += " but marked otherwise"
		}
		list = append(list, line)
	}
	for _, q := range h.waiting(false) {
		typ, _, _ := strings.Cut(q.Object, "--")
		list = append(list, "waits "+typ)
	}
	for id := range h.s.told {
		where, _, _ := strings.Cut(id, "--")
		list = append(list, where+" told")
	}
	for id := range h.s.texts {
		kind, _, _ := strings.Cut(id, "-")
		list = append(list, "kept "+kind)
	}
	slices.Sort(list)
	return list
}

// What requests leave behind. And whichever call of the journal and the view fails, that is told, and who makes the request
// again, after a start, gets what would have been without it.
func TestWhatRequestsLeaveBehindAlsoAfterAFault(t *testing.T) {
	t.Parallel()
	unknown := func(typ string, n int, refs ...string) string {
		return strings.Replace(item(typ, n, 1, tlp.Green, refs...), tlp.Green.MarkingID(), unknownID, 1)
	}
	for name, c := range map[string]struct {
		made   map[string]string
		before []act
		do     act
		want   []string
	}{
		"a copy has the lowest label under which it is read": {
			before: []act{posts("a", "d", item("tool", 1, 1, tlp.None)), posts("a", "e", item("tool", 1, 1, tlp.None))},
			do:     posts("b", "c", item("tool", 1, 1, tlp.None)),
			want:   []string{"c tool/1 clear of b", "d tool/1 green", "e tool/1 clear"},
		},
		"the same, found in the other order": {
			before: []act{posts("a", "c", item("tool", 1, 1, tlp.None)), posts("a", "d", item("tool", 1, 1, tlp.None))},
			do:     posts("b", "e", item("tool", 1, 1, tlp.None)),
			want:   []string{"c tool/1 clear", "d tool/1 green", "e tool/1 clear of b"},
		},
		"a newer version raises older ones everywhere": {
			before: []act{posts("a", "c", item("tool", 1, 1, tlp.None)), posts("a", "d", item("tool", 1, 1, tlp.None)), posts("b", "e", item("tool", 1, 1, tlp.None))},
			do:     posts("a", "c", item("tool", 1, 2, tlp.Amber)),
			want:   []string{"c tool/1 amber", "c tool/2 amber", "c tool/2 amber remembered", "d tool/1 amber", "d tool/2 amber remembered", "e tool told"},
		},
		"what was raised is not posted again below": {
			before: []act{posts("a", "e", item("tool", 1, 1, tlp.None)), posts("a", "c", item("tool", 1, 2, tlp.Amber))},
			do:     posts("a", "e", item("tool", 1, 1, tlp.None)),
			want:   []string{"c tool/2 amber", "e tool told", "e tool/2 amber remembered"},
		},
		"a version raises also beside one that names no creator and is dropped": {
			before: []act{posts("a", "e", item("tool", 1, 1, tlp.None)), posts(exchange.Admin, "g", item("tool", 1, 1, tlp.None))},
			do:     posts("a", "g", strings.Replace(item("tool", 1, 3, tlp.Amber), `,"created_by_ref":"`+things.Identity(0)+`"`, "", 1), item("tool", 1, 1, tlp.Amber)),
			want:   []string{"e tool told", "e tool/1 amber remembered", "g tool/1 amber"},
		},
		"a version that stands is raised though what it refers to waits": {
			before: []act{posts("a", "c", item("note", 1, 1, tlp.None, itemID("tool", 2)))},
			do:     posts("a", "c", item("note", 1, 1, tlp.Amber, itemID("tool", 2)), unknown("tool", 2)),
			want:   []string{"c note/1 amber", "c note/1 amber remembered", "waits tool"},
		},
		"an older version of two leaves a newer": {
			before: []act{posts("a", "e", item("tool", 1, 3, tlp.Green)), posts("a", "e", item("tool", 1, 1, tlp.None))},
			do:     posts("a", "c", item("tool", 1, 2, tlp.Amber)),
			want:   []string{"c tool/2 amber", "e tool/2 amber remembered", "e tool/3 green"},
		},
		"a report raises what it refers to": {
			before: []act{posts("a", "c", item("tool", 1, 1, tlp.None), address)},
			do:     posts("a", "c", item("report", 1, 1, tlp.Green, itemID("tool", 1), addressID)),
			want:   []string{"c ipv4-addr/1 green", "c report/1 green", "c tool/1 green"},
		},
		"a report above the ceiling": {
			before: []act{posts("a", "c", item("tool", 1, 1, tlp.None), address)},
			do:     posts("a", "c", item("report", 1, 1, tlp.Red, itemID("tool", 1), addressID)),
			want:   []string{"c ipv4-addr told", "c tool told", "kept context"},
		},
		"a report above the ceiling, and what it refers to later": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Red, itemID("tool", 1)))},
			do:     posts("a", "c", item("tool", 1, 1, tlp.None)),
			want:   []string{"kept context"},
		},
		"a report that stands, once more": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Amber, itemID("tool", 1)))},
			do:     posts("a", "c", item("report", 1, 1, tlp.Amber, itemID("tool", 1))),
			want:   []string{"c report/1 amber"},
		},
		"the same version of a report, in other words, where its member does not read": {
			before: []act{posts("a", "g", item("report", 1, 1, tlp.Amber, itemID("tool", 2))), posts("a", "g", item("report", 1, 1, tlp.Green, itemID("tool", 1)))},
			do:     posts("a", "g", item("tool", 1, 1, tlp.None)),
			want:   []string{"g report/1 amber", "g tool/1 green", "kept context"},
		},
		"a report that says less now": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Amber, itemID("tool", 1))), posts("a", "c", item("report", 1, 2, tlp.Clear, itemID("tool", 2)))},
			do:     posts("a", "c", item("tool", 1, 1, tlp.None)),
			want:   []string{"c report/1 amber", "c report/2 clear", "c tool/1 clear"},
		},
		"a report that was above the ceiling once": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Red, itemID("tool", 1)))},
			do:     posts("a", "c", item("report", 1, 2, tlp.Green, itemID("tool", 1)), item("tool", 1, 1, tlp.None)),
			want:   []string{"c report/2 green", "c tool/1 green", "kept context"},
		},
		"a report with a marking that was defined since": {
			before: []act{posts("a", "c", unknown("report", 1, itemID("tool", 1))), posts("a", "c", statement(unknownID, "statement"))},
			do:     posts("a", "c", item("tool", 1, 1, tlp.None)),
			want:   []string{"c marking-definition/1 clear", "c tool/1 clear", "kept context", "waits report"},
		},
		"a report is deleted, and what else it said": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Clear, itemID("tool", 1))), posts("a", "c", item("report", 1, 1, tlp.Red, itemID("tool", 2)), item("report", 2, 1, tlp.Red, itemID("tool", 3)))},
			do:     deletes("a", "c", itemID("report", 1)),
			want:   []string{"kept context"},
		},
		"and what it referred to has the floor's label": {
			before: []act{posts("a", "c", item("report", 1, 1, tlp.Clear, itemID("tool", 1))), posts("a", "c", item("report", 1, 1, tlp.Red, itemID("tool", 2))), deletes("a", "c", itemID("report", 1))},
			do:     posts("a", "c", item("tool", 2, 1, tlp.None)),
			want:   []string{"c tool/1 clear", "kept context"},
		},
		"an address leaves with the last that refers to it": {
			before: []act{posts("a", "c", address, item("observed-data", 1, 1, tlp.None, addressID), item("observed-data", 2, 1, tlp.None, addressID)), deletes("a", "c", itemID("observed-data", 2))},
			do:     deletes("a", "c", itemID("observed-data", 1)),
		},
		"an address stays while something refers to it": {
			before: []act{posts("a", "c", address, item("observed-data", 1, 1, tlp.None, addressID), item("observed-data", 2, 1, tlp.None, addressID))},
			do:     deletes("a", "c", itemID("observed-data", 1)),
			want:   []string{"c ipv4-addr/1 clear", "c observed-data/1 clear"},
		},
		"an address stays while another's object refers to it": {
			before: []act{posts("a", "c", address, item("observed-data", 1, 1, tlp.None, addressID)), posts("b", "c", item("observed-data", 2, 1, tlp.None, addressID))},
			do:     deletes("a", "c", itemID("observed-data", 1)),
			want:   []string{"c ipv4-addr/1 clear", "c observed-data/1 clear of b"},
		},
		"what a feed has made lends its label": {
			made: map[string]string{"e " + addressID: strings.Replace(address, "{", `{"object_marking_refs":["`+tlp.Green.MarkingID()+`"],`, 1)},
			do:   posts("a", "c", item("note", 1, 1, tlp.None, addressID)),
			want: []string{"c note/1 green"},
		},
		"a feed's object, posted on as it is read": {
			made: map[string]string{"e " + itemID("note", 1): item("note", 1, 1, tlp.Green, itemID("tool", 1))},
			do:   posts("a", "c", item("note", 1, 1, tlp.Green, itemID("tool", 1))),
			want: []string{"c note/1 green"},
		},
		"a newer version of one": {
			made: map[string]string{"e " + itemID("note", 1): item("note", 1, 1, tlp.Green, itemID("tool", 1))},
			do:   posts("a", "c", item("note", 1, 2, tlp.Clear, itemID("tool", 1))),
		},
		"the same, as one's own": {
			made: map[string]string{"e " + itemID("tool", 1): item("tool", 1, 1, tlp.Green)},
			do:   posts("a", "c", item("tool", 1, 2, tlp.Clear)),
		},
		"what is AMBER+STRICT brings its definition once": {
			before: []act{posts("a", "f", item("tool", 1, 1, tlp.None), item("tool", 2, 1, tlp.None))},
			do:     posts("a", "f", item("tool", 3, 1, tlp.None)),
			want:   []string{"f marking-definition", "f tool/1 amber+strict", "f tool/1 amber+strict", "f tool/1 amber+strict"},
		},
		"a marking that nobody knows": {
			do:   posts("a", "c", unknown("tool", 1)),
			want: []string{"waits tool"},
		},
		"and another's, of the same version": {
			before: []act{posts("a", "c", unknown("note", 1, itemID("tool", 1)))},
			do:     posts("b", "c", unknown("note", 1, itemID("tool", 1))),
			want:   []string{"waits note", "waits note"},
		},
		"released": {
			before: []act{posts("a", "c", unknown("tool", 1))},
			do:     decides(tlp.Amber),
			want:   []string{"c tool/1 amber"},
		},
		"rejected": {
			before: []act{posts("a", "c", unknown("tool", 1))},
			do:     decides(tlp.None),
		},
		"defined": {
			before: []act{posts("a", "c", unknown("tool", 1)), posts("a", "c", statement(unknownID, "statement"))},
			do:     reconsiders,
			want:   []string{"c marking-definition/1 clear", "c tool/1 clear"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run := func(calls int) (h *hall, err error) {
				h = newStreet(t)
				h.s.made, h.config.Made = c.made, make(map[string]bool)
				for at := range c.made {
					_, id, _ := strings.Cut(at, " ")
					h.config.Made[id] = !stix.Observable(id)
				}
				for _, a := range c.before {
					if err := a(h); err != nil {
						t.Fatal(err)
					}
				}
				h.s.calls = calls
				err = c.do(h)
				return h, err
			}
			h, err := run(0)
			if d := cmp.Diff(c.want, h.state()); err != nil || d != "" {
				t.Fatalf("%v (-want +got): %s", err, d)
			}
			for n := 1; ; n++ {
				h, err := run(n)
				if h.s.calls > 0 {
					if n == 1 {
						t.Error("nothing was called")
					}
					return
				}
				if !errors.Is(err, errShelf) {
					t.Errorf("call %d fails, and the request says %v", n, err)
				}
				h.open()
				if err := h.p.Finish(t.Context(), []string{"c", "d", "e", "f", "g"}); err != nil {
					t.Error(err)
				}
				if err := c.do(h); err != nil && !errors.Is(err, submission.ErrNoVersion) && !errors.Is(err, submission.ErrNotHeld) {
					t.Errorf("after call %d has failed: %v", n, err)
				}
				if d := cmp.Diff(c.want, h.state()); d != "" {
					t.Errorf("after call %d has failed (-want +got): %s", n, d)
				}
			}
		})
	}
}

// What refused reports say is kept up to a bound; past it, all that the member posts there without a label has the highest.
func TestWhatReportsSayIsBounded(t *testing.T) {
	t.Parallel()
	h := newStreet(t)
	var refs []string
	for n := range 40_001 {
		refs = append(refs, itemID("tool", n+10))
	}
	if err := posts("a", "c", item("report", 1, 1, tlp.Red, refs...))(h); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(posts("a", "c", item("tool", 1, 1, tlp.None))(h), posts("a", "c", item("tool", 2, 1, tlp.Green))(h)); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"c tool/1 green", "kept context"}, h.state()); d != "" || len(h.s.texts[slices.Sorted(maps.Keys(h.s.texts))[0]]) > 100 {
		t.Error("(-want +got):", d)
	}
}

// A large request is several blocks, and its last is told also when what follows is there already.
func TestALargeRequestIsSeveralBlocks(t *testing.T) {
	t.Parallel()
	h := newStreet(t)
	r := h.as("a", "c")
	for n := range 501 {
		r.Objects = append(r.Objects, []byte(item("tool", n, 1, tlp.None)))
	}
	large := strings.Repeat("x", 300<<10)
	for n := range 2 {
		r.Objects = append(r.Objects, []byte(strings.Replace(item("tool", 600+n, 1, tlp.None), `"T"`, `"`+large+`"`, 1)))
	}
	for range 501 {
		r.Objects = append(r.Objects, r.Objects[0])
	}
	var blocks []int
	h.s.beforePost = func(p *record.Post) { blocks = append(blocks, len(p.Share.Groups)) }
	results, last, err := h.p.Add(t.Context(), r)
	if d := cmp.Diff([]int{500, 2, 1}, blocks); err != nil || d != "" || last != 3 {
		t.Errorf("%v, last %d (-want +got): %s", err, last, d)
	}
	for i, o := range results {
		if o.Problem != "" || o.Already != (i >= 503) {
			t.Fatalf("%d: %+v", i, o)
		}
	}
}

// Who posts is told why an object waits: for its own marking, or for that of what it comes with.
func TestWhyItWaits(t *testing.T) {
	t.Parallel()
	h := newStreet(t)
	marked := strings.Replace(item("report", 1, 1, tlp.Green, itemID("tool", 1)), tlp.Green.MarkingID(), unknownID, 1)
	r := h.post("a", marked, item("tool", 1, 1, tlp.None))
	for i, want := range []string{"it is marked with", "what refers to it, or what it refers to, is marked"} {
		if !r[i].Held || !strings.Contains(r[i].Problem, want) {
			t.Errorf("%+v, want %s", r[i], want)
		}
	}
}
