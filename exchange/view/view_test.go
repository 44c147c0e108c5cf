package view_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Tests here leave compression and chains out: a payload is its own text.

func open(t interface{ Fatal(...any) }, dir string) *view.View { return openInEpochs(t, dir, 0) }

func openInEpochs(t interface{ Fatal(...any) }, dir string, objects int64) *view.View {
	v, err := view.Open(view.Options{
		Dir: dir, CacheBytes: 1 << 16, EpochObjects: objects,
		Shares: func(context.Context, *exchange.Intake, func(string) bool) ([]exchange.Share, error) { return nil, nil },
		Decompress: func(dst, b []byte) ([]byte, error) {
			if string(b) == "damaged" {
				return nil, exchange.ErrRecord
			}
			return append(dst, b...), nil
		},
		Continues: func(b *exchange.Block, number uint64, _ string, _ time.Time) error {
			if b.Number != number+1 {
				return fmt.Errorf("block %d follows %d", b.Number, number)
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// object is one object of the model at one place: an address (version 0) or
// something with versions, of STIX 2.1 or 2.0.
type object struct {
	id, version int
	old         bool // STIX 2.0
	added       int64
	start       int64 // date_added of the first of its group
}

func (o object) spec() string {
	if o.old {
		return "2.0"
	}
	return "2.1"
}

// key names a version.
func (o object) key() string { return fmt.Sprint(o.name(), o.version, o.old) }

func (o object) text() string {
	if o.version == 0 {
		return fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":"%s","value":"%s"}`, o.name(), strings.Repeat("x", o.id*o.id*700))
	}
	spec := `"spec_version":"2.1",`
	if o.old {
		spec = ""
	}
	return fmt.Sprintf(`{"type":"sighting",%s"id":"%s","created":"2026-01-01T00:00:00.000Z","modified":"%s","y":"%s"}`, spec, o.name(), o.at().Format("2006-01-02T15:04:05.000Z"), strings.Repeat("y", o.id*1500))
}

func (o object) at() time.Time {
	return time.Date(2026, 1, 1, 0, 0, o.version, 0, time.UTC)
}

func (o object) typ() string {
	if o.version == 0 {
		return "ipv4-addr"
	}
	return "sighting"
}

func (o object) name() string { return fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", o.typ(), o.id) }

// model is a collection the plain way: a list of all that was ever added.
type model struct {
	all []object
	had map[string]bool // ids, of what was deleted too
}

// page is what a query must answer.
func (m *model) page(q *view.Query) (page []string, more bool) {
	newest := map[string]string{} // spec by id
	for _, o := range m.all {
		newest[o.name()] = max(newest[o.name()], o.spec())
	}
	latest, first := map[string]int{}, map[string]int{}
	var of []object
	for _, o := range m.all {
		if len(q.SpecVersions) == 0 && o.spec() != newest[o.name()] || len(q.SpecVersions) > 0 && !slices.Contains(q.SpecVersions, o.spec()) {
			continue
		}
		of = append(of, o)
		latest[o.name()] = max(latest[o.name()], o.version)
		if f, ok := first[o.name()]; !ok || o.version < f {
			first[o.name()] = o.version
		}
	}
	var list []object
	met := map[string]bool{}
	for _, o := range of {
		if !q.Since.IsZero() && o.added <= q.Since.UnixMicro() || met[o.key()] {
			continue
		}
		met[o.key()] = true
		wanted := len(q.Versions) == 0 && o.version == latest[o.name()]
		for _, v := range q.Versions {
			wanted = wanted || v.Kind == view.All || v.Kind == view.Last && o.version == latest[o.name()] ||
				v.Kind == view.First && o.version == first[o.name()] || v.Kind == view.Exactly && o.version > 0 && v.At.Equal(o.at())
		}
		if wanted && (len(q.IDs) == 0 || slices.Contains(q.IDs, o.name())) && (len(q.Types) == 0 || slices.Contains(q.Types, o.typ())) &&
			(q.After.IsZero() || o.added > q.After.UnixMicro()) {
			list = append(list, o)
		}
	}
	slices.SortFunc(list, func(a, b object) int { return cmp.Compare(a.added, b.added) })
	full, size := 0, 0
	for full < len(list) && full < q.Limit && (full == 0 || size+len(list[full].text()) <= cmp.Or(q.Bytes, 16<<20)) {
		size += len(list[full].text())
		full++
	}
	if more = len(list) > full; more {
		end, start := full, list[full].start
		for end > 0 && list[end-1].added >= start {
			end--
		}
		if end == 0 || len(q.IDs) > 0 {
			end = full
		}
		list = list[:end]
	}
	for _, o := range list {
		page = append(page, fmt.Sprint(o.added, " ", o.text()))
	}
	return page, more
}

// remove deletes what the key names.
func (m *model) remove(key string) {
	m.all = slices.DeleteFunc(m.all, func(o object) bool { return o.key() == key })
}

func genQuery(t *rapid.T, end int64) view.Query {
	q := view.Query{Limit: rapid.IntRange(1, 12).Draw(t, "limit")}
	if rapid.Bool().Draw(t, "since") {
		q.Since = time.UnixMicro(rapid.Int64Range(0, end+2).Draw(t, "added_after"))
		q.After = q.Since
	}
	if rapid.Bool().Draw(t, "after") {
		q.After = time.UnixMicro(rapid.Int64Range(max(q.Since.UnixMicro(), 0), end+2).Draw(t, "next"))
	}
	if rapid.Bool().Draw(t, "by spec") {
		q.SpecVersions = rapid.SampledFrom([][]string{{"2.0"}, {"2.1"}, {"2.0", "2.1"}}).Draw(t, "spec")
	}
	if rapid.Bool().Draw(t, "by id") {
		for range rapid.IntRange(1, 3).Draw(t, "ids") { // also of what has been deleted
			q.IDs = append(q.IDs, object{id: rapid.IntRange(0, 5).Draw(t, "id"), version: rapid.IntRange(0, 1).Draw(t, "version")}.name())
		}
	}
	if rapid.Bool().Draw(t, "by type") {
		q.Types = rapid.SampledFrom([][]string{{"ipv4-addr"}, {"sighting"}, {"malware"}, {"sighting", "ipv4-addr", "sighting"}, {"malware", "sighting"}}).Draw(t, "type")
	}
	if rapid.Bool().Draw(t, "bytes") {
		q.Bytes = rapid.IntRange(1, 40000).Draw(t, "max bytes")
	}
	for range rapid.IntRange(0, 2).Draw(t, "versions") {
		v := view.VersionMatch{Kind: rapid.SampledFrom([]view.VersionKind{view.Last, view.First, view.All, view.Exactly}).Draw(t, "version")}
		if v.Kind == view.Exactly {
			v.At = object{version: rapid.IntRange(1, 4).Draw(t, "exact")}.at()
		}
		q.Versions = append(q.Versions, v)
	}
	return q
}

func (o object) named() exchange.Version {
	v := exchange.Version{ID: o.name(), SpecVersion: o.spec(), Version: time.Unix(0, 0)}
	if o.version > 0 {
		v.Version = o.at()
	}
	return v
}

// addition makes b a block of some objects.
func addition(r *rapid.T, m *model, b *exchange.Block, first int64) {
	text := `{"type":"bundle","objects":[`
	b.Count = rapid.IntRange(1, 10).Draw(r, "objects")
	b.Starts, b.New, b.Feeds = make([]byte, 2), make([]byte, 2), []string{"feed"}
	start := first
	for i := range b.Count {
		o := object{id: rapid.IntRange(0, 5).Draw(r, "id"), version: rapid.IntRange(0, 4).Draw(r, "version"), added: first + int64(i)}
		o.old = o.version > 0 && rapid.IntRange(0, 3).Draw(r, "old") == 0
		if i == 0 || rapid.Bool().Draw(r, "start") {
			b.Starts[i/8] |= 1 << (i % 8)
			start = o.added
		}
		o.start = start
		if !m.had[o.name()] && rapid.Bool().Draw(r, "new") {
			b.New[i/8] |= 1 << (i % 8)
		}
		m.had[o.name()] = true
		if i > 0 {
			text += ","
		}
		text += o.text()
		m.all = append(m.all, o)
	}
	b.Payload = []byte(text + "]}")
}

// deletion makes b a control block that deletes some versions, some of which are
// not there any more.
func deletion(r *rapid.T, m *model, b *exchange.Block) {
	var d exchange.Removal
	for range rapid.IntRange(1, 3).Draw(r, "versions") {
		if len(m.all) == 0 {
			break
		}
		o := rapid.SampledFrom(m.all).Draw(r, "deleted")
		d.Versions = append(d.Versions, o.named())
		if rapid.IntRange(0, 4).Draw(r, "twice") == 0 {
			d.Versions = append(d.Versions, o.named())
		}
		m.remove(o.key())
	}
	b.Control = exchange.ControlDelete
	b.Payload, _ = json.Marshal(d)
}

// A view answers every query as a plain list would, whatever was added again,
// came late, or stands twice in one block; and so it does after it was closed.
func TestPagesEqualThoseOfAPlainList(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir := t.TempDir()
		v := openInEpochs(t, dir, 12)
		defer func() { _ = v.Close() }()
		models := map[string]*model{"a": {had: map[string]bool{}}, "b": {had: map[string]bool{}}}
		numbers := map[string]uint64{}
		end := int64(1)
		for seq := range rapid.IntRange(1, 12).Draw(r, "blocks") {
			c := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "collection")
			m := models[c]
			numbers[c]++
			end += rapid.Int64Range(1, 3).Draw(r, "gap")
			b := &exchange.Block{Collection: c, Number: numbers[c], AddedFirst: time.UnixMicro(end), Sequence: uint64(seq + 1)}
			if len(m.all) > 0 && rapid.IntRange(0, 3).Draw(r, "delete") == 0 {
				deletion(r, m, b)
			} else {
				addition(r, m, b, end)
			}
			for range 2 { // the second time does nothing
				if err := v.ApplyBlock(b); err != nil {
					t.Fatal(err)
				}
			}
			end += int64(b.Count)
			if rapid.IntRange(0, 5).Draw(r, "reopen") == 0 {
				if err := v.Close(); err != nil {
					t.Fatal(err)
				}
				v = openInEpochs(t, dir, 12)
			}
			for _, c := range []string{"a", "b"} {
				m := models[c]
				q := genQuery(r, end)
				want, wantMore := m.page(&q)
				got, err := v.Page(t.Context(), c, q)
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
				sameInRuns(r, v, c, q, got)
				q2 := q
				q2.After = time.UnixMicro(max(q.After.UnixMicro(), q.Since.UnixMicro(), 0))
				since := rapid.Int64Range(0, q2.After.UnixMicro()).Draw(r, "other since")
				if got.Low <= since && since < got.High {
					q2.Since = time.UnixMicro(since)
					other, err := v.Page(t.Context(), c, q2)
					if err != nil {
						t.Fatal(err)
					}
					if d := gocmp.Diff(got.Added(), other.Added()); d != "" || got.More != other.More {
						r.Fatalf("not the same: %+v\n%s", q2, d)
					}
				}
				for _, o := range m.all {
					if has, err := v.Has(c, o.named()); !has || err != nil {
						r.Fatalf("has no %s: %v", o.key(), err)
					}
				}
			}
		}
		if len(v.Broken()) != 0 {
			t.Fatal(v.Broken())
		}
	})
}

// sameInRuns reads a page once more for the objects' facts, and as it is written.
func sameInRuns(t *rapid.T, v *view.View, c string, q view.Query, want *view.Page) {
	got, err := v.Page(context.Background(), c, q)
	q.Facts = true
	facts, err2 := v.Page(context.Background(), c, q)
	objects, err3 := want.Objects()
	if err := errors.Join(err, err2, err3); err != nil {
		t.Fatal(err)
	}
	var said, are []string
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
	for i, added := range want.Added() {
		b, _ := stix.ScanBrief(objects[i])
		are = append(are, fmt.Sprintf("%s %s %s %v", b.ID, b.Version, b.Spec(), added))
	}
	if d := gocmp.Diff(are, said); d != "" || facts.Count != want.Count || facts.More != want.More || facts.Reached != want.Reached {
		t.Fatalf("%+v, facts: %d of %d\n%s", q, facts.Count, want.Count, d)
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
	defer func() { _ = v.Close() }()
	seq := uint64(0)
	add := func(c string, number uint64, payload string) {
		t.Helper()
		seq++
		b := &exchange.Block{Collection: c, Number: number, Count: 1, AddedFirst: time.UnixMicro(int64(100 * seq)), Payload: []byte(payload), Sequence: seq}
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
	broken := v.Broken()
	if len(broken) != 3 || broken["a"] == nil || broken["c"] == nil || broken["d"] == nil {
		t.Errorf("broken: %v", broken)
	}
	for c, want := range map[string]int{"a": 1, "b": 2, "c": 0, "d": 0} {
		page, err := v.Page(t.Context(), c, view.Query{Limit: 10})
		if err != nil || page.Count != want {
			t.Errorf("%s has %d objects, want %d: %v", c, page.Count, want, err)
		}
	}
	if v.AppliedBlocks() != seq {
		t.Errorf("applied up to %d of %d", v.AppliedBlocks(), seq)
	}
}

// blockOf is the n-th block of a collection of single objects, 500 in each.
func blockOf(n int) *exchange.Block {
	const size = 500
	text := []byte(`{"objects":[`)
	for i := range size {
		if i > 0 {
			text = append(text, ',')
		}
		text = fmt.Appendf(text, `{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012x","created":"2026-01-01T00:00:00.000Z",`+
			`"modified":"2026-01-01T00:00:%02d.000Z","count":%d,"sighting_of_ref":"malware--3975d06e-cfa2-513e-860d-4a50969ef577","description":"%s"}`, n*size+i, i%60, i, strings.Repeat("y", 300))
	}
	return &exchange.Block{
		Collection: "a", Feeds: []string{"f"}, Number: uint64(n + 1), Count: size, AddedFirst: time.UnixMicro(int64(1 + n*size)),
		Payload: append(text, "]}"...), Sequence: uint64(n + 1), New: bytes.Repeat([]byte{255}, size/8+1),
	}
}

// BenchmarkApplyBlock adds blocks of 500 new objects.
func BenchmarkApplyBlock(b *testing.B) {
	v := open(b, b.TempDir())
	defer func() { _ = v.Close() }()
	blocks := make([]*exchange.Block, 200)
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
	defer func() { _ = v.Close() }()
	const blocks, size = 200, 500
	for n := range blocks {
		if err := v.ApplyBlock(blockOf(n)); err != nil {
			b.Fatal(err)
		}
	}
	at := int64(0)
	for b.Loop() {
		at = (at*7919 + 12345) % (blocks*size - 1000)
		page, err := v.Page(b.Context(), "a", view.Query{After: time.UnixMicro(at + 1), Limit: 1000})
		if err != nil || page.Count != 1000 {
			b.Fatal(err)
		}
	}
}

// BenchmarkFacts goes over what tells the objects of such a page apart.
func BenchmarkFacts(b *testing.B) {
	v := open(b, b.TempDir())
	defer func() { _ = v.Close() }()
	for n := range 4 {
		if err := v.ApplyBlock(blockOf(n)); err != nil {
			b.Fatal(err)
		}
	}
	page, err := v.Page(b.Context(), "a", view.Query{After: time.UnixMicro(251), Limit: 1000, Facts: true})
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
