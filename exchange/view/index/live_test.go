package index

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// What has been replaced is passed over, also behind an object that nothing replaces, and in any order; and
// nothing else is, wherever a page starts.
func TestPagesPassOverWhatHasBeenReplaced(t *testing.T) {
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
		v.add(b)
	}
	want := func(live ...int64) {
		t.Helper()
		c, _ := v.Number("a")
		if got := v.liveOf(c).list; !slices.Equal(got, live) {
			t.Errorf("live blocks %v, want %v", got, live)
		}
		if got, err := v.loadLive(c); !slices.Equal(got.list, live) || err != nil {
			t.Errorf("live blocks after a start %v, want %v: %v", got, live, err)
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
	want(10, 20, 30, 40, 50, 60)
	add(2, 2, 102, 202)
	want(10, 20, 40, 50, 60, 70)
	add(2, 4, 104)
	want(10, 20, 40, 50, 60, 70, 80) // 62 is still there
	add(2, 204)
	want(10, 20, 40, 60, 70, 80, 90)
	for _, id := range []int{0, 1, 3, 5} {
		add(2, id, 100+id, 200+id)
	}
	want(70, 80, 90, 100, 110, 120, 130)
}

// Blocks are found as in a plain list, in memory and in the files, also after other questions.
func TestBlocksAreFoundInOrder(t *testing.T) {
	v := openPlain(t)
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfNDistinct(rapid.Int64Range(0, 40), 0, 12, rapid.ID).Draw(t, "blocks")
		slices.Sort(list)
		b := v.db.NewIndexedBatch()
		defer func() { _ = b.Close() }()
		for _, first := range list {
			_ = b.Set(blockKey('v', 1, first), []byte{1}, nil)
		}
		kept, err := newSets(b, collectionKey('v', 1))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = kept.it.Close() }()
		at := rapid.Int64Range(-1, 41).Draw(t, "before")
		last := -1
		for i, first := range list {
			if first <= at {
				last = i
			}
		}
		ways := map[string]blocks{"in the files": kept}
		for n := range len(list) + 1 {
			tail, err := newSets(b, collectionKey('v', 1))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = tail.it.Close() }()
			ways[fmt.Sprint(n, " in memory")] = newLiveBlocks(list[:n], tail)
		}
		for name, way := range ways {
			if first, ok, err := way.before(at); err != nil || ok != (last >= 0) || ok && first != list[last] {
				t.Fatalf("%s: before %d of %v: %d, %t, %v", name, at, list, first, ok, err)
			}
		}
		for from := int64(0); from < 45; from += rapid.Int64Range(0, 9).Draw(t, "step") + 1 {
			i, _ := slices.BinarySearch(list, from)
			for name, way := range ways {
				if first, ok, err := way.next(from); err != nil || ok != (i < len(list)) || ok && first != list[i] {
					t.Fatalf("%s: from %d of %v: %d, %t, %v", name, from, list, first, ok, err)
				}
			}
		}
	})
}
