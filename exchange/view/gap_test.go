package view

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// What has been replaced is skipped, also behind an object that nothing replaces, and in whatever order it was.
func TestPagesSkipWhatHasBeenReplaced(t *testing.T) {
	v, err := Open(Options{
		Dir:        t.TempDir(),
		Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil },
		Continues:  func(*exchange.Block, uint64, string, time.Time) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close() }()
	sequence := uint64(0)
	add := func(id, version int) {
		sequence++
		text := fmt.Sprintf(`{"objects":[{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:%02d.000Z"}]}`, id, version)
		b := &exchange.Block{Collection: "a", Number: sequence, Count: 1, AddedFirst: time.UnixMicro(int64(10 * sequence)), Payload: []byte(text), Sequence: sequence}
		if err := v.ApplyBlock(b); err != nil {
			t.Fatal(err)
		}
	}
	want := func(gaps []gap, objects int) {
		t.Helper()
		c, _ := v.number("a")
		if got, _ := v.lacking(c); !slices.Equal(got, gaps) {
			t.Errorf("gaps %v, want %v", got, gaps)
		}
		if p, err := v.Page(context.Background(), "a", Query{Limit: 100}); err != nil || p.Count != objects {
			t.Errorf("%d objects, want %d: %v", p.Count, objects, err)
		}
	}
	for id := range 6 {
		add(id, 1) // at 10 to 60
	}
	want(nil, 6)
	add(2, 2)
	want([]gap{{21, 40}}, 6)
	add(4, 2)
	want([]gap{{21, 40}, {41, 60}}, 6)
	add(3, 2) // which is between them
	want([]gap{{21, 60}}, 6)
	add(1, 2)
	want([]gap{{11, 60}}, 6)
	add(5, 2) // 70 is the first that was added again
	want([]gap{{11, 70}}, 6)
	add(0, 2)
	want([]gap{{0, 70}}, 6)
	for id := range 6 {
		add(id, 3)
	}
	want([]gap{{0, 130}}, 6)
}

// A gap is found by any date_added in it, and by none beside it.
func TestAGapIsFoundByWhatIsInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var gaps []gap
		at := int64(0)
		for range rapid.IntRange(0, 6).Draw(t, "gaps") {
			from := at + rapid.Int64Range(0, 3).Draw(t, "before")
			at = from + rapid.Int64Range(1, 3).Draw(t, "long")
			gaps = append(gaps, gap{from, at})
		}
		gaps = append(gaps, gap{at + 2, math.MaxInt64})
		first := rapid.Int64Range(0, at+4).Draw(t, "first")
		i, in := gapAt(gaps, first)
		want := slices.IndexFunc(gaps, func(g gap) bool { return g.from <= first && first < g.to })
		if in != (want >= 0) || in && i != want || !in && (gaps[i].from <= first || i > 0 && gaps[i-1].to > first) {
			t.Fatalf("%d is in %v: %d, %v", first, gaps, i, in)
		}
	})
}
