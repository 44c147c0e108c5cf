package record_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// block is one of some texts, as it is appended.
func block(texts [][]byte) *record.Block {
	b := &record.Block{
		Collection: "a", Feed: "f", Packaging: 1, Number: 7, Previous: "before", Count: len(texts), AddedFirst: time.UnixMicro(1234567).UTC(),
		Label: tlp.Amber, Starts: []byte{1}, New: []byte{3}, Seed: record.NewSeed(), Payload: []byte("payload"), Sealed: "sealed", Sequence: 9,
	}
	l := record.NewLeaves(b.Seed)
	for _, text := range texts {
		l.Add(text)
	}
	b.Root = l.Root()
	return b
}

// A block that has lost objects, once or several times, commits to the rest as before, has the same hash, and what went
// cannot be told from it.
func TestWhatStaysOfABlockStillVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var texts [][]byte
		for i := range rapid.IntRange(1, 20).Draw(t, "objects") {
			texts = append(texts, fmt.Appendf(nil, "object %d %s", i, rapid.StringN(0, 9, -1).Draw(t, "text")))
		}
		b := block(texts)
		root, hash := b.Root, b.Hash()
		there := make(map[int][]byte)
		for i, text := range texts {
			there[i] = text
		}
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			gone := rapid.SliceOfNDistinct(rapid.IntRange(0, len(texts)-1), 1, -1, rapid.ID).Draw(t, "gone")
			b.Without(there, gone)
			for _, i := range gone {
				delete(there, i)
			}
		}
		for i := range texts {
			if _, has := there[i]; has != b.Has(i) {
				t.Fatalf("object %d is there: %v", i, b.Has(i))
			}
		}
		if b.Hash() != hash || len(b.Seed) > 0 {
			t.Fatal("it is another block")
		}
		commits := func(b *record.Block, change int) string {
			l := record.LeavesOf(b)
			for _, i := range slices.Sorted(maps.Keys(there)) {
				text := there[i]
				if i == change {
					text = append(slices.Clip(text), 'x')
				}
				l.Add(text)
			}
			return l.Root()
		}
		// As it comes out of a message.
		back, err := record.ParseBlock(b.Header(), b.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, back, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		if got := commits(back, -1); got != root {
			t.Fatal("what stays does not verify")
		}
		for i := range there {
			if commits(back, i) == root {
				t.Fatal("a changed object verifies")
			}
		}
		for i := range texts {
			if b.Has(i) {
				continue
			}
			guess := record.NewLeaves(nil)
			guess.Add(texts[i])
			if string(b.Proofs[32*i:32*i+32]) == guess.Root() {
				t.Fatal("what went can be guessed")
			}
		}
	})
}

// Headers that contradict each other are no block.
func TestHeadersThatContradictEachOther(t *testing.T) {
	whole := block([][]byte{[]byte("a"), []byte("b"), []byte("c")})
	less := block([][]byte{[]byte("a"), []byte("b"), []byte("c")})
	less.Without(map[int][]byte{0: []byte("a"), 1: []byte("b"), 2: []byte("c")}, []int{1})
	control := block(nil)
	control.Control = record.ControlDelete
	for _, b := range []*record.Block{whole, less, control} {
		if _, err := record.ParseBlock(b.Header(), nil); err != nil {
			t.Error(err)
		}
	}
	text := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	for name, c := range map[string]struct {
		of            *record.Block
		header, value string
	}{
		"no number":                     {whole, "Tocsin-Block", "0"},
		"a number that is none":         {whole, "Tocsin-Block", "x"},
		"a count that is none":          {whole, "Tocsin-Count", "-1"},
		"objects in a control block":    {whole, "Tocsin-Control", "delete"},
		"nothing in another":            {whole, "Tocsin-Count", "0"},
		"no label":                      {whole, "Tocsin-Label", "pink"},
		"no root":                       {whole, "Tocsin-Root", "00"},
		"a seed that is no base64":      {whole, "Tocsin-Seed", "?"},
		"labels of too few":             {whole, "Tocsin-By", "somebody"},
		"it replaces another":           {less, "Tocsin-Replaces", "8"},
		"too few proofs":                {less, "Tocsin-Proofs", text(64)},
		"too many positions":            {less, "Tocsin-Removed", text(2)},
		"nowhere":                       {less, "Tocsin-Sequence", "0"},
		"a replacement without removed": {less, "Tocsin-Removed", ""},
	} {
		h := c.of.Header()
		h[c.header] = []string{c.value}
		if b, err := record.ParseBlock(h, nil); !errors.Is(err, exchange.ErrRecord) {
			t.Errorf("%s: %+v %v", name, b, err)
		}
	}
}

// What a control block takes out is for who has the key, for that block alone, and its length tells little.
func TestRemovalsAreSealed(t *testing.T) {
	s := record.Seal{Key: []byte("key")}
	b := &record.Block{Collection: "a", Number: 3, Control: record.ControlWithdraw}
	r := &record.Removal{Objects: []record.Withdrawn{{ID: "indicator--1"}}}
	text, err := s.CloseRemoval(b, r)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.OpenRemoval(b, text)
	if d := cmp.Diff(r, back); d != "" || err != nil {
		t.Error(d, err)
	}
	more, err := s.CloseRemoval(b, &record.Removal{Objects: []record.Withdrawn{{ID: "indicator--1"}, {ID: "indicator--2"}}})
	if err != nil || len(more) != len(text) {
		t.Error("the length tells how much it is:", len(text), len(more), err)
	}
	for name, c := range map[string]struct {
		s    record.Seal
		b    record.Block
		text string
	}{
		"another key":        {record.Seal{Key: []byte("other")}, *b, string(text)},
		"another block":      {s, record.Block{Collection: "a", Number: 4, Control: record.ControlWithdraw}, string(text)},
		"another collection": {s, record.Block{Collection: "b", Number: 3, Control: record.ControlWithdraw}, string(text)},
		"an unknown kind":    {s, record.Block{Collection: "a", Number: 3, Control: "improve"}, string(text)},
		"changed":            {s, *b, string(text[:len(text)-6]) + `AAA="}`},
		"no JSON":            {s, *b, "x"},
	} {
		if r, err := c.s.OpenRemoval(&c.b, []byte(c.text)); !errors.Is(err, exchange.ErrRecord) {
			t.Errorf("%s: %+v %v", name, r, err)
		}
	}
}
