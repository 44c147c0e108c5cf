package submission_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// nothing is a collection that has nothing and keeps the last post.
type nothing struct{ posts []*record.Post }

func (n *nothing) Post(p *record.Post) (uint64, error) {
	n.posts = append(n.posts, p)
	return uint64(len(n.posts)), nil
}
func (*nothing) Sound(string) error                                              { return nil }
func (*nothing) Wait(context.Context, uint64, uint64) error                      { return nil }
func (*nothing) Posted([]string, func(int, *record.Posted) error) error          { return nil }
func (*nothing) Referring(string, string) ([]record.Version, error)              { return nil, nil }
func (*nothing) Object(context.Context, string, record.Version) ([]byte, error)  { return nil, nil }
func (*nothing) Made(context.Context, string, string) ([]byte, tlp.Level, error) { return nil, 0, nil }
func (*nothing) SetKept(context.Context, string, []byte) error                   { return nil }
func (*nothing) Kept(context.Context, string) ([]byte, bool, error)              { return nil, false, nil }
func (*nothing) SetQuarantined(context.Context, string, []byte) error            { return nil }
func (*nothing) Quarantined(context.Context, string) ([]byte, bool, error)       { return nil, false, nil }
func (*nothing) ListQuarantined(context.Context) ([]string, error)               { return nil, nil }

// operator relays, to one collection, and is asked nothing else.
type operator struct {
	submission.Rules
	collection *exchange.Collection
}

func (operator) Relays() bool                                { return true }
func (operator) Speaks(string) bool                          { return false }
func (operator) Others(string) bool                          { return false }
func (operator) Derived(string) bool                         { return false }
func (operator) Marking(string) (tlp.Level, bool)            { return tlp.None, false }
func (operator) Readable() []string                          { return nil }
func (operator) Members() []string                           { return nil }
func (o operator) Ceiling(string) tlp.Level                  { return o.collection.Ceiling }
func (o operator) Collection() (*exchange.Collection, error) { return o.collection, nil }

// What is stored of a hostile object can be read back: the fast scanner that
// reads blocks sees what the strict parser saw.
func FuzzStoredObjectsCanBeRead(f *testing.F) {
	for _, s := range []string{
		`{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}`,
		`{"id":"ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4","value":"\"}","type":"ipv4-addr","x":[{"id":"}"}]}`,
		` { "\u0074ype":"x" } `, `{"type":"x-y","id":"x-y--00000000-0000-4000-8000-000000000000","labels":["tlp:green"],"object_marking_refs":[],"granular_markings":[{"lang":"de"}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := new(nothing)
		p := &submission.Poster{Log: n, View: n, Fatal: func(err error) { t.Fatal(err) }, Gate: new(sync.RWMutex), Removed: func(context.Context, string, uint64) error { return nil }}
		c := &exchange.Collection{ID: "c", Ceiling: tlp.Amber, Floor: tlp.Clear}
		out, _, err := p.Add(t.Context(), &submission.Request{Rules: operator{collection: c}, SpecVersions: []string{"2.0", "2.1"}, Objects: [][]byte{raw}})
		if err != nil || len(out) != 1 {
			t.Fatal(out, err)
		}
		if out[0].Problem != "" {
			return
		}
		if len(n.posts) == 0 {
			return // the definition of a label, whose text is ours
		}
		groups := n.posts[0].Share.Groups
		text := append(append([]byte(`{"type":"bundle","objects":[`), groups[len(groups)-1].Objects[0].Raw...), "]}"...)
		count := 0
		ok := stix.Scan(text, func(_ []byte, b stix.Brief) {
			count++
			if string(b.ID) != out[0].ID || string(b.Version) != out[0].Version {
				t.Fatalf("%s reads as %s of %s", raw, b.ID, b.Version)
			}
		})
		if !ok || count != 1 {
			t.Fatalf("%s was taken and cannot be read", raw)
		}
		if err := stix.Objects(text, func([]byte) error { return nil }); err != nil {
			t.Fatal(err)
		}
		// An optional filter gets an answer.
		m, err := stix.ParseMatch(map[string][]string{"value": {"x"}, "revoked": {"false"}, "labels": {"a"}, "tlp": {"amber"}})
		if err != nil {
			t.Fatal(err)
		}
		m.Object(raw)
	})
}
