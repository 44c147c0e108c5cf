package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/stix"
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
// with each other; an empty one selects all, an empty Versions the latest, an
// empty SpecVersions the newest of each object.
type Query struct {
	// Since is the date_added behind which the reader started, After that to
	// go on behind; zero is before the first.
	Since, After time.Time
	// Limit is how many objects are wanted at most; at least 1.
	Limit        int
	IDs          []string
	Types        []string
	SpecVersions []string
	Versions     []VersionMatch
	Match        *stix.Match
	// Bytes bounds the objects of a page that has more than one; 0 means 16 MiB.
	Bytes int
}

// maxBytes is how much a page holds, but for one object that is larger.
const maxBytes = 16 << 20

// Object is one object as a page has it. Raw is not to be changed.
type Object struct {
	Raw         []byte
	ID          string
	SpecVersion string
	Version     string // as the object has it, "" where it has none
	Added       time.Time
}

// Page is some objects in the order of date_added.
type Page struct {
	Objects []Object
	// More is set where there may be more behind them.
	More bool
	// Reached is the date_added behind which the next page goes on.
	Reached time.Time
}

// Page returns the first objects that the query selects. It does not cut apart
// the objects of one host where Limit has room for all of them. A query that
// selects little of much may end early with a page that is not full.
func (v *View) Page(ctx context.Context, collection string, q Query) (p *Page, err error) {
	c, ok := v.number(collection)
	if !ok {
		return new(Page), nil
	}
	// One state of the view for the whole page: an object that gets a version
	// meanwhile must not be looked for where it was and where it is.
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	r, err := v.reader(ctx, snapshot, c, &q)
	if err != nil {
		return nil, err
	}
	if len(q.IDs) > 0 {
		err = r.byID()
	} else {
		err = r.scan()
	}
	p = &Page{Objects: r.page, More: errors.Is(err, errFull)}
	if err != nil && !p.More {
		return nil, err
	}
	if n := len(p.Objects); n > 0 {
		p.Reached = p.Objects[n-1].Added
	}
	if !r.reached.IsZero() {
		p.Reached = r.reached
	}
	return p, nil
}

var errFull = errors.New("the page is full")

// maxScanned is how many objects are looked at for a page that has something.
const maxScanned = 100_000

// reader collects one page.
type reader struct {
	v     *View
	db    pebble.Reader
	ctx   context.Context //nolint:containedctx // lives for one call
	c     uint32
	q     *Query
	since int64 // Since and After in µs
	after int64
	last  bool // latest versions: the default
	exact map[version]bool
	first bool
	all   bool
	// latest says that what the view marks as latest is what is wanted.
	latest  bool
	page    []Object
	size    int
	scanned int
	reached time.Time // where the scan stopped, if not at the last of the page
}

func (v *View) reader(ctx context.Context, db pebble.Reader, c uint32, q *Query) (*reader, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("view: limit %d", q.Limit)
	}
	r := &reader{
		v: v, db: db, ctx: ctx, c: c, q: q, last: len(q.Versions) == 0, exact: make(map[version]bool),
		since: position(q.Since), after: max(position(q.After), position(q.Since)),
	}
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
	r.latest = r.last && !r.first && !r.all && len(r.exact) == 0
	if len(q.SpecVersions) > 0 && v.mixed(c) {
		r.latest = false
	}
	return r, nil
}

// position is a time as the key of a block has it; before all where it is zero.
func position(t time.Time) int64 {
	if t.IsZero() {
		return -1 << 62
	}
	return max(t.UnixMicro(), 0)
}

// mixed reports whether a collection has objects of several versions of STIX.
func (v *View) mixed(c uint32) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.heads[c]
	return h != nil && h.mixed
}

// scan walks over the blocks that have what is wanted.
func (r *reader) scan() (err error) {
	kind := byte('v')
	if r.latest {
		kind = 'l'
	}
	it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: collectionKey(kind, r.c), UpperBound: collectionKey(kind, r.c+1)})
	if err != nil {
		return fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	ok := r.after > 0 && it.SeekLT(blockKey(kind, r.c, r.after+1))
	if !ok {
		ok = it.First()
	}
	for ; ok; ok = it.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first := firstOf(it.Key())
		set := bits(it.Value())
		if first+int64(len(set)*8) <= r.after {
			continue
		}
		if err := r.block(first, slices.Clone(set)); err != nil {
			return err
		}
	}
	return it.Error()
}

// block takes what is wanted of one block; set are the positions to look at.
func (r *reader) block(first int64, set bits) error {
	d, err := r.v.decode(r.ctx, r.c, first)
	if err != nil {
		return err
	}
	for i := max(0, int(min(r.after-first+1, int64(len(d.objects))))); i < len(d.objects); i++ {
		if !set.has(i) {
			continue
		}
		if was, ok := d.before(i); ok && was.added() > r.since {
			continue // the reader has met it there
		}
		if err := r.take(&d.objects[i], place{first, i}, r.latest); err != nil {
			if errors.Is(err, errFull) {
				r.cut(d, place{first, i})
			}
			return err
		}
		if r.scanned++; r.scanned >= maxScanned && len(r.page) > 0 {
			r.reached = micros(first + int64(i))
			return errFull
		}
	}
	return nil
}

// cut takes off the page's end what belongs together with the object at which it
// became full, unless that is all there is.
func (r *reader) cut(d *decoded, at place) {
	start := micros(at.first + int64(d.starts.from(at.i)))
	n := len(r.page)
	for n > 0 && !r.page[n-1].Added.Before(start) {
		n--
	}
	if n > 0 {
		r.page = r.page[:n]
	}
}

// take adds an object to the page where it fits the query. chosen says that its
// version is one of those that are wanted.
func (r *reader) take(o *stored, at place, chosen bool) error {
	if len(r.q.Types) > 0 && !slices.ContainsFunc(r.q.Types, func(t string) bool { return string(o.brief.Type) == t }) {
		return nil
	}
	spec := o.brief.Spec()
	if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, spec) {
		return nil
	}
	if !chosen {
		id, ok := scannedID(o.brief)
		ver, err := scannedVersion(o.brief)
		if err != nil || !ok {
			return errors.Join(err, ErrDamaged)
		}
		if wanted, err := r.wants(id, ver); err != nil || !wanted {
			return err
		}
	}
	if !r.q.Match.Object(o.raw) {
		return nil
	}
	if n := len(r.page); n == r.q.Limit || n > 0 && r.size+len(o.raw) > cmp.Or(r.q.Bytes, maxBytes) {
		return errFull
	}
	r.size += len(o.raw)
	r.page = append(r.page, Object{
		Raw: o.raw, ID: string(o.brief.ID), SpecVersion: spec, Version: string(o.brief.Version), Added: micros(at.added()),
	})
	return nil
}

// byID looks the wanted objects up.
func (r *reader) byID() error {
	var places []place
	blocks := make(map[int64]*block) // what was read of them
	ids := slices.Compact(slices.Sorted(slices.Values(r.q.IDs)))
	for _, text := range ids {
		id, ok := parseID([]byte(text))
		if !ok || id.String() != text {
			continue // no object has it
		}
		list, err := r.chosen(id)
		if err != nil {
			return err
		}
		for _, s := range list {
			p, err := r.met(s, blocks)
			if err != nil {
				return err
			}
			if p.added() > r.after {
				places = append(places, p)
			}
		}
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.added(), b.added()) })
	for _, p := range places {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		d, err := r.v.decode(r.ctx, r.c, p.first)
		if err != nil {
			return err
		}
		if p.i >= len(d.objects) {
			return ErrDamaged
		}
		if err := r.take(&d.objects[p.i], p, true); err != nil {
			return err
		}
	}
	return nil
}

// met returns the first place of a version behind where the reader started.
func (r *reader) met(s span, blocks map[int64]*block) (place, error) {
	if s.first.added() > r.since {
		return s.first, nil
	}
	for p := s.last; ; {
		if err := r.ctx.Err(); err != nil {
			return p, err
		}
		b := blocks[p.first]
		if b == nil {
			var err error
			if b, err = r.v.readBlock(r.c, p.first); err != nil {
				return p, err
			}
			b.starts, b.payload = nil, nil // they hold on to the whole record
			blocks[p.first] = b
		}
		was, ok := b.before(p.i)
		if !ok || was.added() <= r.since {
			return p, nil
		}
		p = was
	}
}
