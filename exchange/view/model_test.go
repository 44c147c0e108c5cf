package view_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Tests here leave compression and chains out: a payload is its own text.

func open(t interface{ Fatal(...any) }, dir string) *view.View {
	return (&world{cache: 1 << 16}).open(t, dir)
}

// world is what a view is opened with.
type world struct {
	cache, epoch int64
	shares       map[string][]record.Share // by an intake record's key
}

func (w *world) open(t interface{ Fatal(...any) }, dir string) *view.View {
	shares := func(_ context.Context, in *record.Intake, _ func(string) bool) ([]record.Share, error) {
		return w.shares[in.Key], nil
	}
	v, err := view.Open(view.Options{
		Removal: view.PlainRemoval,
		Dir:     dir, CacheBytes: w.cache, EpochObjects: w.epoch, Shares: shares, Again: shares,
		Decompress: func(dst, b []byte) ([]byte, error) {
			if string(b) == "damaged" {
				return nil, exchange.ErrRecord
			}
			return append(dst, b...), nil
		},
		Continues: func(b *record.Block, number uint64, _ string, _ time.Time) error {
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
	return fmt.Sprintf(`{"type":"%s",%s"labels":["l%d"],"id":"%s","created":"2026-01-01T00:00:00.000Z","modified":"%s","y":"%s"}`,
		o.typ(), spec, o.version%2, o.name(), o.at().Format("2006-01-02T15:04:05.000Z"), strings.Repeat(string(rune('a'+o.version)), o.id%8*(1500-200*o.version)))
}

func (o object) at() time.Time {
	return time.Date(2026, 1, 1, 0, 0, o.version, 0, time.UTC)
}

func (o object) typ() string {
	if o.version == 0 {
		return "ipv4-addr"
	}
	return []string{"sighting", "indicator", "malware", "x-own"}[o.id%4]
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
	newestPlace := map[string]int64{}
	for _, o := range of {
		newestPlace[o.key()] = max(newestPlace[o.key()], o.added)
	}
	once := q.Facts || len(q.IDs) > 0 // where it was added last
	var list []object
	for _, o := range of {
		if once && o.added < newestPlace[o.key()] {
			continue
		}
		wanted := len(q.Versions) == 0 && o.version == latest[o.name()]
		for _, v := range q.Versions {
			wanted = wanted || v.Kind == view.All || v.Kind == view.Last && o.version == latest[o.name()] ||
				v.Kind == view.First && o.version == first[o.name()] || v.Kind == view.Exactly && o.version > 0 && v.At.Equal(o.at())
		}
		wanted = wanted && (q.Match == nil || o.version%2 == 1)
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
	if rapid.Bool().Draw(t, "after") {
		q.After = time.UnixMicro(rapid.Int64Range(0, end+2).Draw(t, "added_after"))
	}
	if rapid.Bool().Draw(t, "by spec") {
		q.SpecVersions = rapid.SampledFrom([][]string{{"2.0"}, {"2.1"}, {"2.0", "2.1"}}).Draw(t, "spec")
	}
	if rapid.Bool().Draw(t, "by id") {
		for range rapid.IntRange(1, 3).Draw(t, "ids") { // also of what has been deleted
			q.IDs = append(q.IDs, object{id: rapid.IntRange(0, 7).Draw(t, "id"), version: rapid.IntRange(0, 1).Draw(t, "version")}.name())
		}
	}
	if rapid.Bool().Draw(t, "by type") {
		q.Types = rapid.SampledFrom([][]string{{"ipv4-addr"}, {"sighting"}, {"x-own"}, {"nothing"}, {"sighting", "ipv4-addr", "sighting"}, {"malware", "sighting"}, {"x-own", "indicator", "malware"}}).Draw(t, "type")
	}
	if rapid.IntRange(0, 3).Draw(t, "match") == 0 {
		q.Match, _ = stix.ParseMatch(map[string][]string{"labels": {"l1"}})
	}
	if rapid.Bool().Draw(t, "bytes") {
		q.Bytes = rapid.IntRange(1, 40000).Draw(t, "max bytes")
	}
	for range max(0, rapid.IntRange(-2, 2).Draw(t, "versions")) {
		v := view.VersionMatch{Kind: rapid.SampledFrom([]view.VersionKind{view.Last, view.First, view.All, view.Exactly}).Draw(t, "version")}
		if v.Kind == view.Exactly {
			v.At = object{version: rapid.IntRange(1, 6).Draw(t, "exact")}.at()
		}
		q.Versions = append(q.Versions, v)
	}
	return q
}

func (o object) named() record.Version {
	v := record.Version{ID: o.name(), SpecVersion: o.spec(), Version: time.Unix(0, 0)}
	if o.version > 0 {
		v.Version = o.at()
	}
	return v
}

// addition makes b a block of some objects.
func addition(r *rapid.T, m *model, b *record.Block, first int64) {
	text := `{"type":"bundle","objects":[`
	b.Count = rapid.IntRange(1, 10).Draw(r, "objects")
	b.Starts, b.New, b.Feed = make([]byte, 2), make([]byte, 2), "feed"
	start := first
	for i := range b.Count {
		o := object{id: rapid.IntRange(0, 7).Draw(r, "id"), version: rapid.IntRange(0, 6).Draw(r, "version"), added: first + int64(i)}
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
// not there any more, or withdraws objects.
func deletion(r *rapid.T, m *model, b *record.Block) {
	var d record.Removal
	for range rapid.IntRange(1, 3).Draw(r, "versions") {
		if len(m.all) == 0 {
			break
		}
		o := rapid.SampledFrom(m.all).Draw(r, "deleted")
		if rapid.IntRange(0, 3).Draw(r, "withdrawn") == 0 {
			d.Objects = append(d.Objects, record.Withdrawn{ID: o.name()})
			m.all = slices.DeleteFunc(m.all, func(x object) bool { return x.name() == o.name() })
			continue
		}
		d.Versions = append(d.Versions, o.named())
		if rapid.IntRange(0, 4).Draw(r, "twice") == 0 {
			d.Versions = append(d.Versions, o.named())
		}
		m.remove(o.key())
	}
	b.Control = record.ControlDelete
	b.Payload, _ = json.Marshal(d)
}

// intake is a record of the feed f that stands for the objects of a block, as w packages it.
func (w *world) intake(b *record.Block) *record.Intake {
	in := &record.Intake{Feed: "f", Key: b.AddedFirst.String(), At: b.AddedFirst.UTC()}
	share, i := record.Share{Collection: exchange.FeedCollection(in.Feed)}, 0
	stix.Scan(b.Payload, func(raw []byte, brief stix.Brief) {
		has := func(set []byte) bool { return set[i/8]>>(i%8)&1 == 1 }
		if has(b.Starts) {
			share.Groups = append(share.Groups, new(record.Group))
		}
		g := share.Groups[len(share.Groups)-1]
		g.Objects = append(g.Objects, record.Object{ID: string(brief.ID), Raw: slices.Clone(raw), New: has(b.New)})
		i++
	})
	w.shares[in.Key] = []record.Share{share}
	return in
}
