package things_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What is made is sound, says of its labels what it should, and is the same again with the same seed; and all kinds come.
func TestWhatIsMade(t *testing.T) {
	maker := func() things.Maker { return things.Maker{R: rand.New(rand.NewPCG(1, 1))} }
	m, twin := maker(), maker()
	labels := map[string]tlp.Level{"clear": tlp.Clear, "white": tlp.Clear, "green": tlp.Green, "amber": tlp.Amber, "amber+strict": tlp.AmberStrict, "red": tlp.Red}
	types, marks := make(map[string]bool), make(map[string]bool)
	for range 5000 {
		x := m.Thing()
		raw := m.Marked(x)
		if again := twin.Marked(twin.Thing()); again != raw {
			t.Fatalf("%s, and with the same seed %s", raw, again)
		}
		if err := lint.Refusal([]byte(raw)); err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
		h, err := stix.ParseHead([]byte(raw))
		if err != nil || h.ID != x.ID || h.Type != x.Type || h.CreatedByRef != x.Creator {
			t.Fatalf("%s: %+v %v", raw, h, err)
		}
		want := tlp.None
		for _, mark := range x.Marks {
			want, marks[mark] = max(want, labels[mark]), true
		}
		_, unknown := h.Label()
		if h.KnownLabel() != want || (unknown != nil) != slices.Contains(x.Marks, "?") {
			t.Fatalf("%s reads as %s, %v", raw, h.KnownLabel(), unknown)
		}
		for _, ref := range x.Refs {
			if !slices.Contains(h.Refs, ref) {
				t.Fatalf("%s does not refer to %s", raw, ref)
			}
		}
		types[x.Type] = true
	}
	if len(types) != 7 || len(marks) != len(labels)+1 {
		t.Error("there is no", types, marks)
	}
}

// Now and then it is an object that stands, byte for byte.
func TestWhatStandsComesAgain(t *testing.T) {
	m := things.Maker{R: rand.New(rand.NewPCG(1, 1))}
	const there = `{"type":"tool","spec_version":"2.1","id":"tool--00000001-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"2026-01-05T00:00:00Z","name":"T"}`
	n := 0
	for range 100 {
		x := m.Thing()
		if text := m.Text(x, func() [][]byte { return [][]byte{[]byte(there)} }); text == there {
			if n++; x.Type != "tool" || x.ID != "tool--00000001-0000-4000-8000-000000000000" || x.Version != "2026-01-05T00:00:00Z" {
				t.Errorf("%+v", x)
			}
		}
	}
	if n == 0 || n > 50 {
		t.Error(n, "of 100")
	}
}
