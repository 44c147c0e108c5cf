package apiclient

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// blocks makes a chain of blocks of three objects, and the texts of their bundles.
func blocks(n int) (list []*record.Block, texts []string) {
	previous := ""
	for i := range n {
		b := &record.Block{Collection: "a", Number: uint64(i + 1), Previous: previous, Count: 3, AddedFirst: time.UnixMicro(int64(10 * i)), Seed: record.NewSeed()}
		l, objects := record.NewLeaves(b.Seed), []string(nil)
		for k := range b.Count {
			objects = append(objects, fmt.Sprintf(`{"type":"tool","id":"tool--%08d-0000-4000-8000-%012d"}`, i, k))
			l.Add([]byte(objects[k]))
		}
		b.Root = l.Root()
		previous = b.Hash()
		list, texts = append(list, b), append(texts, `{"objects":[`+strings.Join(objects, ",")+`]}`)
	}
	return list, texts
}

// Blocks that come in any order are a chain, from wherever it begins; one that continues another is none.
func TestTheChainIsChecked(t *testing.T) {
	list, _ := blocks(6)
	for name, c := range map[string]struct {
		behind uint64
		order  []int
		change func(b *record.Block) // of the third
		broken bool
	}{
		"in order":                    {0, []int{0, 1, 2, 3, 4, 5}, nil, false},
		"what was replaced, later":    {0, []int{0, 3, 4, 2, 1, 5}, nil, false},
		"from the third":              {2, []int{2, 3, 4}, nil, false},
		"from the third, which lacks": {2, []int{3, 4, 2}, nil, false},
		"another label":               {0, []int{0, 1, 2, 3}, func(b *record.Block) { b.Label++ }, true},
		"another one before":          {0, []int{0, 1, 2}, func(b *record.Block) { b.Previous = "x" }, true},
		"later":                       {0, []int{0, 2, 3, 1}, func(b *record.Block) { b.Previous = "x" }, true},
		"the first has one before":    {0, []int{2}, func(b *record.Block) { b.Number = 1 }, true},
		"nobody knows what is before": {2, []int{2, 3}, func(b *record.Block) { b.Root = "x" }, true},
	} {
		var x chain
		x.begin(c.behind)
		var err error
		for _, i := range c.order {
			b := *list[i]
			if i == 2 && c.change != nil {
				c.change(&b)
			}
			err = errors.Join(err, x.add(&b))
		}
		if errors.Is(err, ErrChain) != c.broken {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A block has what it commits to, and tells what has gone of it since.
func TestABlockIsWhatItCommitsTo(t *testing.T) {
	list, texts := blocks(2)
	b := list[0]
	ids, err := committed(b, []byte(texts[0]))
	if err != nil || len(ids) != 3 {
		t.Fatal(ids, err)
	}
	for name, text := range map[string]string{
		"another's": texts[1], "one less": `{"objects":[{"type":"tool","id":"tool--00000000-0000-4000-8000-000000000000"}]}`, "nothing": `{"objects":[]}`, "no JSON": "x",
		"one more": strings.Replace(texts[0], "]}", `,{"type":"tool","id":"tool--1"}]}`, 1),
	} {
		if _, err := committed(b, []byte(text)); !errors.Is(err, ErrChain) {
			t.Errorf("%s: %v", name, err)
		}
	}
	g := newGiven()
	g.add(b, ids)
	less := *b
	objects := func(k ...int) (m map[int][]byte, text string) {
		m = make(map[int][]byte)
		var all []string
		for _, k := range k {
			m[k] = fmt.Appendf(nil, `{"type":"tool","id":"tool--%08d-0000-4000-8000-%012d"}`, 0, k)
			all = append(all, string(m[k]))
		}
		return m, `{"objects":[` + strings.Join(all, ",") + `]}`
	}
	all, _ := objects(0, 1, 2)
	less.Without(all, []int{1})
	_, rest := objects(0, 2)
	if got, err := committed(&less, []byte(rest)); err != nil || got[1] != "" || got[2] != ids[2] {
		t.Error(got, err)
	}
	if _, err := committed(&less, []byte(texts[0])); !errors.Is(err, ErrChain) {
		t.Error("what is gone is taken:", err)
	}
	if d := cmp.Diff([]Removed{{1, ids[1]}}, g.remove(&less)); d != "" {
		t.Error(d)
	}
	if got := g.remove(&less); len(got) != 0 {
		t.Error("told twice:", got)
	}
	least := less
	some, _ := objects(0, 2)
	least.Without(some, []int{2})
	if d := cmp.Diff([]Removed{{2, ids[2]}}, g.remove(&least)); d != "" {
		t.Error(d)
	}
	other := newGiven() // who was not given it knows where, and not what
	if d := cmp.Diff([]Removed{{1, ""}, {2, ""}}, other.remove(&least)); d != "" {
		t.Error(d)
	}
}
