package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// VersionKind says which versions of an object a query is after.
type VersionKind uint8

// The kinds; Last is the default.
const (
	Last VersionKind = iota
	First
	All
	Exactly
)

// VersionMatch is one wanted version: At is used with Exactly.
type VersionMatch struct {
	Kind VersionKind
	At   time.Time
}

// Query selects objects of a collection. Its lists are ORed within and ANDed
// with each other; an empty one selects all, an empty Versions the latest.
type Query struct {
	// After is the date_added to start behind; zero starts at the first.
	After time.Time
	// Limit is how many objects are wanted at most; at least 1.
	Limit        int
	IDs          []string
	Types        []string
	SpecVersions []string
	Versions     []VersionMatch
}

// Object is one object as a page has it. Raw is not to be changed.
type Object struct {
	Raw         []byte
	ID          string
	SpecVersion string
	Version     time.Time
	Added       time.Time
}

// Page returns the objects that the query selects, in the order of date_added,
// and whether there are more behind them.
func (v *View) Page(ctx context.Context, collection string, q Query) (page []Object, more bool, err error) {
	c, ok := v.number(collection)
	if !ok {
		return nil, false, nil
	}
	r, err := v.reader(ctx, c, &q)
	if err != nil {
		return nil, false, err
	}
	if len(q.IDs) > 0 {
		err = r.byID()
	} else {
		err = r.scan()
	}
	if errors.Is(err, errFull) {
		return r.page, true, nil
	}
	return r.page, false, err
}

var errFull = errors.New("the page is full")

// reader collects one page.
type reader struct {
	v     *View
	ctx   context.Context //nolint:containedctx // lives for one call
	c     uint32
	q     *Query
	last  bool // only latest versions: the default
	exact map[version]bool
	first bool
	all   bool
	page  []Object
}

func (v *View) reader(ctx context.Context, c uint32, q *Query) (*reader, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("view: limit %d", q.Limit)
	}
	r := &reader{v: v, ctx: ctx, c: c, q: q, last: len(q.Versions) == 0, exact: make(map[version]bool)}
	for _, m := range q.Versions {
		switch m.Kind {
		case Last:
			r.last = true
		case First:
			r.first = true
		case All:
			r.all = true
		case Exactly:
			r.exact[versionOf(m.At)] = true
		}
	}
	return r, nil
}

// onlyLast reports whether nothing but latest versions is wanted.
func (r *reader) onlyLast() bool { return !r.first && !r.all && len(r.exact) == 0 }

// scan walks over the blocks that have what is wanted.
func (r *reader) scan() (err error) {
	kind := byte('v')
	if r.onlyLast() {
		kind = 'l'
	}
	it, err := r.v.db.NewIter(&pebble.IterOptions{LowerBound: collectionKey(kind, r.c), UpperBound: collectionKey(kind, r.c+1)})
	if err != nil {
		return fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	after := int64(-1 << 62)
	ok := false
	if !r.q.After.IsZero() {
		after = max(r.q.After.UnixMicro(), 0)
		ok = it.SeekLT(blockKey(kind, r.c, after+1))
	}
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first := firstOf(it.Key())
		set := bits(it.Value())
		if first+int64(len(set)*8) <= after {
			continue
		}
		if err := r.block(first, set, after); err != nil {
			return err
		}
	}
	return it.Error()
}

// block takes what is wanted of one block; set are the positions to look at.
func (r *reader) block(first int64, set bits, after int64) error {
	set = slices.Clone(set)
	d, err := r.v.decode(r.ctx, r.c, first)
	if err != nil {
		return err
	}
	start := 0
	if after >= first {
		start = int(after - first + 1)
	}
	for i := start; i < len(d.objects); i++ {
		if !set.has(i) {
			continue
		}
		if err := r.take(&d.objects[i], place{first, i}); err != nil {
			return err
		}
	}
	return nil
}

// take adds an object to the page where it fits the query.
func (r *reader) take(o *stored, at place) error {
	if len(r.q.Types) > 0 && !slices.ContainsFunc(r.q.Types, func(t string) bool { return string(o.brief.Type) == t }) {
		return nil
	}
	spec := string(o.brief.SpecVersion)
	if spec == "" {
		spec = "2.1" // optional for cyber-observable objects; 2.0 has no others without it that we take
	}
	if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, spec) {
		return nil
	}
	ver, err := scannedVersion(o.brief)
	if err != nil {
		return err
	}
	if !r.onlyLast() {
		wanted, err := r.wants(o, ver)
		if err != nil || !wanted {
			return err
		}
	}
	if len(r.page) == r.q.Limit {
		return errFull
	}
	r.page = append(r.page, Object{
		Raw: o.raw, ID: string(o.brief.ID), SpecVersion: spec, Version: ver.time(), Added: micros(at.added()),
	})
	return nil
}

// wants decides about a version where not just the latest are wanted.
func (r *reader) wants(o *stored, ver version) (bool, error) {
	if r.all || r.exact[ver] {
		return true, nil
	}
	id, ok := parseID(o.brief.ID)
	if !ok {
		return false, ErrDamaged
	}
	list, err := r.versions(id)
	if err != nil || len(list) == 0 {
		return false, err
	}
	return r.last && list[len(list)-1].version == ver || r.first && list[0].version == ver, nil
}

// versions lists the current places of all versions of an object, oldest
// version first.
func (r *reader) versions(id objectID) (list []entry, err error) {
	lower := objectKey('o', r.c, id)
	upper := slices.Clone(lower)
	upper[len(upper)-1]++ // the byte after the type's end
	it, err := r.v.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		var e entry
		copy(e.version[:], it.Key()[len(lower):])
		if e.place, err = decodePlace(it.Value()); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	value, found, err := r.v.get(objectKey('i', r.c, id))
	if err != nil || !found {
		return list, err
	}
	e, err := decodeEntry(value)
	return append(list, e), err
}

// byID looks the wanted objects up.
func (r *reader) byID() error {
	var places []place
	ids := slices.Compact(slices.Sorted(slices.Values(r.q.IDs)))
	for _, text := range ids {
		id, ok := parseID([]byte(text))
		if !ok || id.String() != text {
			continue // no object has it
		}
		list, err := r.versions(id)
		if err != nil {
			return err
		}
		if r.onlyLast() && len(list) > 0 {
			list = list[len(list)-1:]
		}
		for _, e := range list {
			places = append(places, e.place)
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.added(), b.added()) })
	for _, p := range places {
		if !r.q.After.IsZero() && p.added() <= r.q.After.UnixMicro() {
			continue
		}
		d, err := r.v.decode(r.ctx, r.c, p.first)
		if err != nil {
			return err
		}
		if p.i >= len(d.objects) {
			return ErrDamaged
		}
		if err := r.take(&d.objects[p.i], p); err != nil {
			return err
		}
	}
	return nil
}
