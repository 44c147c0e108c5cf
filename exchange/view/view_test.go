package view_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// A view answers every query as a plain list would, also of what was added again,
// came late, or stands twice in one block; and so it does after it was closed.
func TestPagesEqualThoseOfAPlainList(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		w := &world{rapid.SampledFrom([]int64{1, 1 << 14, 1 << 22}).Draw(r, "cache"), 12, map[string][]record.Share{}}
		v := w.open(t, dir)
		defer func() { _ = v.Close(context.Background()) }()
		collections := []string{"a", "b", "feed-f"}
		models := map[string]*model{}
		for _, c := range collections {
			models[c] = &model{had: map[string]bool{}}
		}
		numbers := map[string]uint64{}
		var journal []*record.Block
		end := int64(1)
		for seq := range rapid.IntRange(1, 20).Draw(r, "blocks") {
			c := rapid.SampledFrom(collections).Draw(r, "collection")
			m := models[c]
			numbers[c]++
			end += rapid.Int64Range(1, 3).Draw(r, "gap")
			b := &record.Block{Collection: c, Number: numbers[c], AddedFirst: time.UnixMicro(end), Sequence: uint64(seq + 1)}
			if c != "feed-f" && len(m.all) > 0 && rapid.IntRange(0, 3).Draw(r, "delete") == 0 {
				deletion(r, m, b)
			} else {
				addition(r, m, b, end)
			}
			journal = append(journal, b)
			for range 2 { // the second time does nothing
				var err error
				if c == "feed-f" {
					err = v.ApplyIntake(t.Context(), b.Sequence, w.intake(b).Append(nil))
				} else {
					err = v.ApplyBlock(b)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			end += int64(b.Count)
			if rapid.IntRange(0, 5).Draw(r, "reopen") == 0 {
				if err := v.Close(context.Background()); err != nil {
					t.Fatal(err)
				}
				v = w.open(t, dir)
			}
			for _, c := range collections {
				m := models[c]
				q := genQuery(r, end)
				want, wantMore := m.page(&q)
				got, err := v.Page(t.Context(), rightTo(c), q)
				if err != nil {
					t.Fatal(err)
				}
				var have []string
				raws, err := got.Objects()
				if err != nil {
					r.Fatal(err)
				}
				for i, added := range got.Added() {
					have = append(have, fmt.Sprint(added.UnixMicro(), " ", string(raws[i])))
				}
				if d := gocmp.Diff(want, have); d != "" || got.More != wantMore {
					r.Fatalf("%+v: more %v, want %v\n%s", q, got.More, wantMore, d)
				}
				sameInRuns(r, v, c, m, q, got)
				for _, o := range m.all {
					if has, err := v.Has(c, o.named()); !has || err != nil {
						r.Fatalf("has no %s: %v", o.key(), err)
					}
					if at, found, err := v.FirstAdded(c, o.name()); !o.old && (!found || at.UnixMicro() > o.added) || err != nil {
						r.Fatalf("%s was first added at %v, %t: %v", o.name(), at, found, err)
					}
					if raw, err := v.Object(t.Context(), c, o.named()); string(raw) != o.text() || err != nil {
						r.Fatalf("has no %s: %v", o.key(), err)
					}
				}
			}
		}
		if len(v.Broken()) != 0 {
			t.Fatal(v.Broken())
		}
		if rapid.IntRange(0, 3).Draw(r, "replaced") > 0 {
			return
		}
		// What is made of a journal that has lost what was taken out is the same.
		again := (&world{shares: w.shares}).open(t, t.TempDir())
		defer func() { _ = again.Close(context.Background()) }()
		for _, b := range journal {
			var err error
			if b.Collection == "feed-f" {
				err = again.ApplyIntake(t.Context(), b.Sequence, w.intake(b).Append(nil))
			} else {
				err = again.ApplyBlock(replaced(r, v, b))
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range collections {
			for range 5 {
				q := genQuery(r, end)
				was, err := v.Page(t.Context(), rightTo(c), q)
				is, err2 := again.Page(t.Context(), rightTo(c), q)
				if err := errors.Join(err, err2); err != nil {
					t.Fatal(err, again.Broken())
				}
				one, err := was.Objects()
				other, err2 := is.Objects()
				if err := errors.Join(err, err2); err != nil {
					t.Fatal(err)
				}
				if d := gocmp.Diff(one, other); d != "" || !slices.Equal(was.Added(), is.Added()) || was.More != is.More {
					r.Fatalf("%+v: %s", q, d)
				}
			}
		}
	})
}

// replaced is what stays of a block.
func replaced(t *rapid.T, v *view.View, b *record.Block) *record.Block {
	list, _, err := v.Holes(b.Collection, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	out := *b
	for _, h := range list {
		if h.Block != b.Number {
			continue
		}
		if h.Sequence != b.Sequence {
			t.Fatalf("block %d is said to be at %d, not %d", b.Number, h.Sequence, b.Sequence)
		}
		out.Removed = make([]byte, (b.Count+7)/8)
		for _, i := range h.Positions {
			out.Removed[i/8] |= 1 << (i % 8)
		}
		text, i := []string{}, 0
		stix.Scan(b.Payload, func(raw []byte, _ stix.Brief) {
			if out.Has(i) {
				text = append(text, string(raw))
			}
			i++
		})
		out.Payload = []byte(`{"type":"bundle","objects":[` + strings.Join(text, ",") + `]}`)
	}
	return &out
}

// sameInRuns reads a page once more as it is written, and for the objects' facts.
func sameInRuns(t *rapid.T, v *view.View, c string, m *model, q view.Query, want *view.Page) {
	got, err := v.Page(context.Background(), rightTo(c), q)
	objects, err2 := want.Objects()
	if err := errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	of := q
	of.Facts = true
	facts, err := v.Page(context.Background(), rightTo(c), of)
	if err != nil {
		t.Fatal(err)
	}
	wantFacts, more := m.page(&of)
	var said []string
	for f, err := range facts.Facts() {
		if err != nil {
			t.Fatal(err)
		}
		id := f.Text
		if len(id) == 0 {
			id = f.ID.AppendTo(nil)
		}
		said = append(said, fmt.Sprintf("%s %s %s %v", id, f.Version, f.SpecVersion, f.Added))
	}
	var are []string
	for _, o := range wantFacts {
		added, raw, _ := strings.Cut(o, " ")
		b, _ := stix.ScanBrief([]byte(raw))
		at, _ := strconv.ParseInt(added, 10, 64)
		are = append(are, fmt.Sprintf("%s %s %s %v", b.ID, b.Version, b.Spec(), time.UnixMicro(at).UTC()))
	}
	if d := gocmp.Diff(are, said); d != "" || facts.Count != len(are) || facts.More != more {
		t.Fatalf("%+v, facts: %d, more %t\n%s", of, facts.Count, facts.More, d)
	}
	// And page by page to the end.
	rest, all := of, of
	rest.Limit, all.Limit, all.Bytes = max(of.Limit, 2), 1<<20, 0
	wantFacts, _ = m.page(&all)
	count := 0
	for more := true; more && len(of.IDs) == 0; {
		p, err := v.Page(context.Background(), rightTo(c), rest)
		if err != nil {
			t.Fatal(err)
		}
		if more = p.More; more && !p.Reached.After(rest.After) {
			t.Fatalf("%+v goes on behind %v", rest, p.Reached)
		}
		count, rest.After = count+p.Count, p.Reached
	}
	if len(of.IDs) == 0 && count != len(wantFacts) {
		t.Fatalf("%+v: %d facts on all pages, want %d", of, count, len(wantFacts))
	}
	var text bytes.Buffer
	n, err := got.WriteTo(&text)
	if err != nil || int(n) != text.Len() || got.Len() != text.Len() {
		t.Fatalf("%d bytes written, %d said, %d announced: %v", text.Len(), n, got.Len(), err)
	}
	if d := gocmp.Diff(string(bytes.Join(objects, []byte(","))), text.String()); d != "" || got.Count != want.Count || got.More != want.More || got.First != want.First || got.Last != want.Last {
		t.Fatalf("%+v in runs: %d of %d objects, %v to %v, want %v to %v\n%s", q, got.Count, want.Count, got.First, got.Last, want.First, want.Last, d)
	}
}

func TestAChainThatDoesNotHoldStopsItsCollectionOnly(t *testing.T) {
	v := open(t, t.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	seq, count := uint64(0), 1
	add := func(c string, number uint64, payload string) {
		t.Helper()
		seq++
		b := &record.Block{Collection: c, Number: number, Count: count, AddedFirst: time.UnixMicro(int64(100 * seq)), Payload: []byte(payload), Sequence: seq}
		if err := v.ApplyBlock(b); err != nil {
			t.Fatal(err)
		}
	}
	bundle := func(id int) string { return `{"objects":[` + object{id: id, version: 1}.text() + `]}` }
	add("a", 1, bundle(1))
	add("b", 1, bundle(1))
	add("c", 1, "damaged")
	add("d", 1, `{"objects":[`+object{id: 1}.text()+`,`+object{id: 2}.text()+`]}`)
	add("a", 3, bundle(3)) // 2 is missing
	add("a", 4, bundle(4))
	add("b", 2, bundle(2))
	count = math.MaxInt
	add("e", 1, bundle(1))
	broken := v.Broken()
	if len(broken) != 4 || broken["a"] == nil || broken["c"] == nil || broken["d"] == nil || broken["e"] == nil {
		t.Errorf("broken: %v", broken)
	}
	for c, want := range map[string]int{"a": 1, "b": 2, "c": 0, "d": 0, "e": 0} {
		page, err := v.Page(t.Context(), rightTo(c), view.Query{Limit: 10})
		if err != nil || page.Count != want {
			t.Errorf("%s has %d objects, want %d: %v", c, page.Count, want, err)
		}
	}
	if v.AppliedBlocks() != seq {
		t.Errorf("applied up to %d of %d", v.AppliedBlocks(), seq)
	}
}

// blockOf is the n-th block of a collection of single objects, 500 in each.
func blockOf(n int) *record.Block {
	const size = 500
	text := []byte(`{"objects":[`)
	for i := range size {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012x","created":"2026-01-01T00:00:00.000Z",`+
			`"modified":"2026-01-01T00:00:%02d.000Z","count":%d,"sighting_of_ref":"malware--3975d06e-cfa2-513e-860d-4a50969ef577","description":"%s"}`, n*size+i, i%60, i, strings.Repeat("y", 300))
	}
	return &record.Block{
		Collection: "a", Feed: "f", Number: uint64(n + 1), Count: size, AddedFirst: time.UnixMicro(int64(1 + n*size)),
		Payload: append(text, "]}"...), Sequence: uint64(n + 1), New: bytes.Repeat([]byte{255}, size/8+1),
	}
}

// BenchmarkApplyBlock adds blocks of 500 new objects.
func BenchmarkApplyBlock(b *testing.B) {
	v := open(b, b.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	blocks := make([]*record.Block, 200)
	for n := range blocks {
		blocks[n] = blockOf(n)
	}
	n := 0
	for b.Loop() {
		one := *blocks[n%len(blocks)]
		one.Number, one.Sequence, one.AddedFirst = uint64(n+1), uint64(n+1), time.UnixMicro(int64(1+n*500))
		if err := v.ApplyBlock(&one); err != nil {
			b.Fatal(err)
		}
		n++
	}
	b.ReportMetric(float64(500*n)/b.Elapsed().Seconds(), "objects/s")
}

// BenchmarkPage reads random pages of 1000 of a collection of 100,000 objects.
func BenchmarkPage(b *testing.B) {
	v := open(b, b.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	const blocks, size = 200, 500
	for n := range blocks {
		if err := v.ApplyBlock(blockOf(n)); err != nil {
			b.Fatal(err)
		}
	}
	at := int64(0)
	for b.Loop() {
		at = (at*7919 + 12345) % (blocks*size - 1000)
		page, err := v.Page(b.Context(), rightTo("a"), view.Query{After: time.UnixMicro(at + 1), Limit: 1000})
		if err != nil || page.Count != 1000 {
			b.Fatal(err)
		}
	}
}

// BenchmarkFacts goes over what tells the objects of such a page apart.
func BenchmarkFacts(b *testing.B) {
	v := open(b, b.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	for n := range 4 {
		if err := v.ApplyBlock(blockOf(n)); err != nil {
			b.Fatal(err)
		}
	}
	page, err := v.Page(b.Context(), rightTo("a"), view.Query{After: time.UnixMicro(251), Limit: 1000, Facts: true})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for _, err := range page.Facts() {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 1000 {
			b.Fatal(n)
		}
	}
}
