package view_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// What a block does not commit to is not shown: the collection takes nothing more.
func TestABlockThatDoesNotHoldWhatItCommitsToIsNotShown(t *testing.T) {
	object := func(n int) string {
		return fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--00000000-0000-4000-8000-%012d","value":"240.0.0.%d"}`, n, n)
	}
	root := func(seed []byte, texts ...string) string {
		l := record.NewLeaves(seed)
		for _, text := range texts {
			l.Add([]byte(text))
		}
		return l.Root()
	}
	seed := record.NewSeed()
	const removal = `{"versions":[]}`
	for name, c := range map[string]struct {
		b      record.Block
		broken bool
	}{
		"as it was written":   {record.Block{Count: 1, Payload: []byte(`{"objects":[` + object(2) + `]}`), Root: root(seed, object(2))}, false},
		"another object":      {record.Block{Count: 1, Payload: []byte(`{"objects":[` + object(3) + `]}`), Root: root(seed, object(2))}, true},
		"one more":            {record.Block{Count: 2, Payload: []byte(`{"objects":[` + object(2) + `,` + object(3) + `]}`), Root: root(seed, object(2))}, true},
		"in another order":    {record.Block{Count: 2, Payload: []byte(`{"objects":[` + object(3) + `,` + object(2) + `]}`), Root: root(seed, object(2), object(3))}, true},
		"under another seed":  {record.Block{Count: 1, Payload: []byte(`{"objects":[` + object(2) + `]}`), Root: root(record.NewSeed(), object(2))}, true},
		"a control block":     {record.Block{Control: record.ControlDelete, Payload: []byte(removal), Root: root(seed, removal)}, false},
		"another one's words": {record.Block{Control: record.ControlDelete, Payload: []byte(removal + " "), Root: root(seed, removal)}, true},
	} {
		v, err := view.Open(view.Options{
			Removal: view.PlainRemoval,
			Dir:     t.TempDir(), Decompress: func(dst, data []byte) ([]byte, error) { return append(dst, data...), nil },
			Continues: func(*record.Block, uint64, string, time.Time) error { return nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		first := &record.Block{Collection: "a", Number: 1, Count: 1, Sequence: 1, AddedFirst: time.UnixMicro(1), Seed: seed, Payload: []byte(`{"objects":[` + object(1) + `]}`), Root: root(seed, object(1))}
		c.b.Collection, c.b.Number, c.b.Sequence, c.b.AddedFirst, c.b.Seed = "a", 2, 2, time.UnixMicro(10), seed
		for _, b := range []*record.Block{first, &c.b} {
			if err := v.ApplyBlock(b); err != nil {
				t.Fatal(name, err)
			}
		}
		p, err := v.Page(t.Context(), rightTo("a"), view.Query{Limit: 10})
		if want := 1 + c.b.Count; err != nil || !c.broken && p.Count != want || c.broken && p.Count != 1 || (v.Broken()["a"] != nil) != c.broken {
			t.Errorf("%s: %d objects, %v %v", name, p.Count, v.Broken(), err)
		}
		if err := v.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
