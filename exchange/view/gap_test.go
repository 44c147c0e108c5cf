package view

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// openPlain opens a view whose blocks' payloads are their own text, which ends with the test.
func openPlain(t *testing.T) *View {
	t.Helper()
	v, err := Open(Options{
		Dir:        t.TempDir(),
		Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil },
		Continues:  func(*record.Block, uint64, string, time.Time) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close(context.Background()) })
	return v
}

// What has been replaced is skipped, also behind an object that nothing replaces, and in whatever order it was; and
// nothing else is, wherever a page starts.
func TestPagesSkipWhatHasBeenReplaced(t *testing.T) {
	v := openPlain(t)
	sequence := uint64(0)
	latest := map[int]int64{} // when each was added
	add := func(version int, ids ...int) {
		sequence++
		first := int64(10 * sequence)
		var objects []string
		for i, id := range ids {
			objects = append(objects, fmt.Sprintf(`{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:%02d.000Z"}`, id, version))
			latest[id] = first + int64(i)
		}
		text := `{"objects":[` + strings.Join(objects, ",") + `]}`
		b := &record.Block{Collection: "a", Number: sequence, Count: len(ids), AddedFirst: time.UnixMicro(first), Payload: []byte(text), Sequence: sequence}
		if err := v.ApplyBlock(b); err != nil {
			t.Fatal(err)
		}
	}
	want := func(gaps []gap) {
		t.Helper()
		c, _ := v.number("a")
		if got, _ := v.lacking(c); !slices.Equal(got, gaps) {
			t.Errorf("gaps %v, want %v", got, gaps)
		}
		if got, err := v.dead(c); !slices.Equal(got, gaps) || err != nil {
			t.Errorf("gaps after a start %v, want %v: %v", got, gaps, err)
		}
		for after := range int64(10*sequence + 10) {
			objects := 0
			for _, added := range latest {
				if added > after {
					objects++
				}
			}
			if p, err := v.Page(context.Background(), rightTo("a"), Query{After: time.UnixMicro(after), Limit: 100}); err != nil || p.Count != objects {
				t.Errorf("behind %d: %d objects, want %d: %v", after, p.Count, objects, err)
			}
		}
	}
	for id := range 6 {
		add(1, id, 100+id, 200+id) // at 10 to 60, and two behind each
	}
	want(nil)
	add(2, 2, 102, 202)
	want([]gap{{21, 40, 1}})
	add(2, 4, 104)
	want([]gap{{21, 40, 1}}) // 62 is still there
	add(2, 204)
	want([]gap{{21, 40, 1}, {41, 60, 1}})
	add(2, 3, 103, 203) // which is between them
	want([]gap{{21, 60, 3}})
	add(2, 1, 101, 201)
	want([]gap{{11, 60, 4}})
	add(2, 5, 105, 205) // 70 is the first that was added again
	want([]gap{{11, 70, 5}})
	add(2, 0, 100, 200)
	want([]gap{{0, 70, 6}})
	for id := range 6 {
		add(3, id, 100+id, 200+id)
	}
	want([]gap{{0, 140, 13}})
}

// Latest versions are in no gap, also where the view is damaged there.
func TestADamagedBlockIsInNoGap(t *testing.T) {
	v := openPlain(t)
	for n := range int64(4) {
		text := fmt.Sprintf(`{"objects":[{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--00000000-0000-4000-8000-%012d","value":"198.51.100.%d"}]}`, n, n)
		if err := v.ApplyBlock(&record.Block{Collection: "a", Number: uint64(n + 1), Count: 1, AddedFirst: time.UnixMicro(10 * n), Payload: []byte(text), Sequence: uint64(n + 1)}); err != nil {
			t.Fatal(err)
		}
	}
	c, _ := v.number("a")
	for _, first := range []int64{10, 30} {
		if err := v.db.Delete(blockKey('v', c, first), pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	if gaps, err := v.dead(c); len(gaps) > 0 || err != nil {
		t.Errorf("gaps %v: %v", gaps, err)
	}
}

// Where there are more gaps than are kept, a long one is among them.
func TestTheLongestGapsAreKept(t *testing.T) {
	v := openPlain(t)
	for i := range int64(2 * maxGaps) {
		v.addGap(1, gap{10 * i, 10*i + 2, 2})
	}
	const start, long = 1 << 20, 100
	for i := range int64(long) {
		v.addGap(1, gap{start, start + i + 1, 1})
	}
	gaps, _ := v.lacking(1)
	if last := gaps[len(gaps)-1]; len(gaps) != maxGaps || last != (gap{start, start + long, long}) {
		t.Errorf("%d gaps, the last %v", len(gaps), last)
	}
	if !slices.IsSortedFunc(gaps, func(a, b gap) int { return cmp.Compare(a.from, b.from) }) {
		t.Error("not in order")
	}
}

// A gap is found by any date_added in it, and by none beside it.
func TestAGapIsFoundByWhatIsInIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var gaps []gap
		at := int64(0)
		for range rapid.IntRange(0, 6).Draw(t, "gaps") {
			from := at + rapid.Int64Range(0, 3).Draw(t, "before")
			at = from + rapid.Int64Range(1, 3).Draw(t, "long")
			gaps = append(gaps, gap{from, at, 1})
		}
		gaps = append(gaps, gap{at + 2, math.MaxInt64, 1})
		first := rapid.Int64Range(0, at+4).Draw(t, "first")
		i, in := gapAt(gaps, first)
		want := slices.IndexFunc(gaps, func(g gap) bool { return g.from <= first && first < g.to })
		if in != (want >= 0) || in && i != want || !in && (gaps[i].from <= first || i > 0 && gaps[i-1].to > first) {
			t.Fatalf("%d is in %v: %d, %v", first, gaps, i, in)
		}
	})
}
