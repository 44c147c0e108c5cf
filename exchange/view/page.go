package view

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
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
	// Facts asks for what tells the objects apart, which has to be read from them.
	Facts bool
	// Bytes bounds the objects of a page that has more than one; 0 means 16 MiB.
	Bytes int
}

// maxBytes is how much a page holds, but for one object that is larger.
const maxBytes = 16 << 20

// Page is some objects in the order of date_added. What it holds is not to be
// changed.
type Page struct {
	// Raw are the JSON texts of Count objects, those of a run joined by commas.
	Raw   [][]byte
	Count int
	// Facts are those of each object where the query asks for them; each object is
	// a run of its own then.
	Facts []Fact
	// First and Last are the date_added of the first and the last object, zero
	// where there is none.
	First, Last time.Time
	// More is set where there may be more behind them.
	More bool
	// Reached is the date_added behind which the next page goes on.
	Reached time.Time
	// Same is set where every reader who goes on from After gets the same,
	// wherever they started.
	Same bool
}

// Fact tells an object and its version from others. Version is as the object has
// it, "" where it has none.
type Fact struct {
	ID          string
	SpecVersion string
	Version     string
	Added       time.Time
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
	more := errors.Is(err, errFull)
	if err != nil && !more {
		return nil, err
	}
	p = r.answer()
	p.More = more
	return p, nil
}

// answer makes the page of what was taken.
func (r *reader) answer() *Page {
	p := &Page{Count: r.count, Reached: r.reached, Same: !r.again && len(r.q.IDs) == 0, Raw: make([][]byte, len(r.runs))}
	for i := range r.runs {
		p.Raw[i] = r.runs[i].raw
		if r.q.Facts {
			p.Facts = append(p.Facts, r.runs[i].fact)
		}
	}
	if n := len(r.runs); n > 0 {
		p.First, p.Last = micros(r.runs[0].first), micros(r.runs[n-1].last)
		if p.Reached.IsZero() {
			p.Reached = p.Last
		}
	}
	return p
}

// run is some objects that stand one after the other, and their date_added.
type run struct {
	raw         []byte
	first, last int64
	fact        Fact // of one object alone
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
	latest bool
	// plain says that whatever is latest is wanted, and nothing is asked about it.
	plain   bool
	runs    []run
	again   bool // it has passed objects that were added again
	count   int  // objects in the runs
	size    int  // their bytes
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
	r.plain = r.latest && len(q.SpecVersions) == 0 && q.Match == nil
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
func (r *reader) scan() error {
	kind := byte('v')
	if r.latest {
		kind = 'l'
	}
	if len(r.q.Types) > 0 {
		return r.ofTypes(kind)
	}
	return r.walk(collectionKey(kind, r.c), func(first int64, set bits) error { return r.block(first, slices.Clone(set)) })
}

// walk calls each with the sets under a prefix that may have something behind
// where the page starts.
func (r *reader) walk(prefix []byte, each func(first int64, set bits) error) (err error) {
	it, err := r.sets(prefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := r.seek(it, prefix); ok; ok = it.Next() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := each(firstOf(it.Key()), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}

// sets iterates over the blocks' sets under a prefix.
func (r *reader) sets(prefix []byte) (*pebble.Iterator, error) {
	upper := slices.Clone(prefix)
	for i := len(upper) - 1; ; i-- { // never all 0xff: it starts with a letter
		if upper[i]++; upper[i] != 0 {
			break
		}
	}
	it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	return it, nil
}

// seek goes to the first set that may have something behind where the page
// starts.
func (r *reader) seek(it *pebble.Iterator, prefix []byte) bool {
	ok := r.after > 0 && it.SeekLT(binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(r.after+1)))
	if !ok {
		return it.First()
	}
	for ok && firstOf(it.Key())+int64(len(it.Value())*8) <= r.after {
		ok = it.Next()
	}
	return ok
}

// ofTypes walks over the blocks that have objects of the wanted types.
func (r *reader) ofTypes(kind byte) (err error) {
	var its []*pebble.Iterator
	defer func() {
		for _, it := range its {
			err = errors.Join(err, it.Close())
		}
	}()
	for _, typ := range slices.Compact(slices.Sorted(slices.Values(r.q.Types))) {
		prefix := typeKey(r.c, typ)
		it, err := r.sets(prefix)
		if err != nil {
			return err
		}
		its = append(its, it)
		r.seek(it, prefix)
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first := int64(-1)
		for _, it := range its {
			if it.Valid() && (first < 0 || firstOf(it.Key()) < first) {
				first = firstOf(it.Key())
			}
		}
		if first < 0 {
			break
		}
		var of bits
		for _, it := range its {
			if it.Valid() && firstOf(it.Key()) == first {
				of = of.union(it.Value())
				it.Next()
			}
		}
		set, found, err := get(r.db, blockKey(kind, r.c, first))
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := r.block(first, of.intersect(set)); err != nil {
			return err
		}
	}
	for _, it := range its {
		err = errors.Join(err, it.Error())
	}
	return err
}

// block takes what is wanted of one block; set are the positions to look at.
func (r *reader) block(first int64, set bits) error {
	facts, err := r.facts(first)
	if err != nil {
		return err
	}
	for i := range min(int64(facts.count), r.after-first+1) {
		set.clear(int(i))
	}
	r.again = r.again || len(facts.earlier) > 0
	for _, a := range facts.earlier {
		if a.before.added() > r.since {
			set.clear(a.i) // the reader has met it there
		}
	}
	full := false
	if r.plain && !set.empty() {
		if facts.lengths == nil { // it is a reference to intake
			d, err := r.v.decode(r.ctx, r.c, first, facts, 0, facts.count)
			if err != nil {
				return err
			}
			facts = d.block
		}
		full = r.choose(facts, set)
	}
	if from, to := set.ends(facts.count); from < to {
		d, err := r.v.decode(r.ctx, r.c, first, facts, from, to)
		switch {
		case err != nil:
			return err
		case r.plain && !r.q.Facts:
			r.joined(d, first, set)
		default:
			err = r.each(d, first, set)
		}
		if err != nil {
			return err
		}
	}
	if full {
		return errFull
	}
	return nil
}

// facts returns what is known of a block.
func (r *reader) facts(first int64) (*block, error) {
	if d := r.v.cache.get(cacheKey{r.c, first}); d != nil {
		return d.block, nil
	}
	return r.v.readBlock(r.c, first)
}

// room reports whether the page has room for one more object.
func (r *reader) room(count, size, more int) bool {
	return count < r.q.Limit && (count == 0 || size+more <= cmp.Or(r.q.Bytes, maxBytes))
}

// choose leaves in the set what the page has room for, and reports whether that
// is not all. What belongs together with an object that has no room stays out
// with it, unless that is all there is.
func (r *reader) choose(facts *block, set bits) (full bool) {
	count, size := r.count, r.size
	for i := range facts.count {
		if !set.has(i) {
			continue
		}
		if !r.room(count, size, facts.lengths[i]) {
			set.keep(i)
			if start := facts.starts.from(i); r.count > 0 || set.before(start) {
				set.keep(start)
			}
			return true
		}
		count, size = count+1, size+facts.lengths[i]
	}
	return false
}

// each takes what is wanted of a block object by object.
func (r *reader) each(d *decoded, first int64, set bits) error {
	for i := range d.count {
		if !set.has(i) {
			continue
		}
		if err := r.take(d.run(i, i+1), place{first, i}, r.latest); err != nil {
			if errors.Is(err, errFull) {
				r.cut(d.block, place{first, i})
			}
			return err
		}
		if r.scanned++; r.scanned >= maxScanned && r.count > 0 {
			r.reached = micros(first + int64(i))
			return errFull
		}
	}
	return nil
}

// joined takes what is wanted of a block in runs.
func (r *reader) joined(d *decoded, first int64, set bits) {
	for i := 0; i < d.count; {
		if !set.has(i) {
			i++
			continue
		}
		j := i + 1
		for j < d.count && set.has(j) {
			j++
		}
		raw := d.run(i, j)
		r.runs = append(r.runs, run{raw: raw, first: first + int64(i), last: first + int64(j-1)})
		r.count, r.size = r.count+j-i, r.size+len(raw)
		i = j
	}
}

// cut takes off the page's end what belongs together with the object at which it
// became full, unless that is all there is.
func (r *reader) cut(b *block, at place) {
	start := at.first + int64(b.starts.from(at.i))
	n := len(r.runs)
	for n > 0 && r.runs[n-1].last >= start {
		n--
	}
	if n > 0 {
		r.runs, r.count = r.runs[:n], n
	}
}

// take adds an object to the page where it fits the query. chosen says that its
// version is one of those that are wanted, and its type is.
func (r *reader) take(raw []byte, at place, chosen bool) error {
	one := run{raw: raw, first: at.added(), last: at.added()}
	if !chosen || r.q.Facts || len(r.q.SpecVersions) > 0 {
		brief, ok := stix.ScanBrief(bytes.TrimSpace(raw))
		if !ok {
			return ErrDamaged
		}
		one.fact = Fact{ID: string(brief.ID), SpecVersion: brief.Spec(), Version: string(brief.Version), Added: micros(at.added())}
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, one.fact.SpecVersion) {
			return nil
		}
		if !chosen {
			id, ok := scannedID(brief)
			ver, err := scannedVersion(brief)
			if err != nil || !ok {
				return errors.Join(err, ErrDamaged)
			}
			if wanted, err := r.wants(id, ver); err != nil || !wanted {
				return err
			}
		}
	}
	if !r.q.Match.Object(raw) {
		return nil
	}
	if !r.room(r.count, r.size, len(raw)) {
		return errFull
	}
	r.runs = append(r.runs, one)
	r.count, r.size = r.count+1, r.size+len(raw)
	return nil
}

// byID looks the wanted objects up.
func (r *reader) byID() (err error) {
	var places []place
	blocks := make(map[int64]*block) // what was read of them
	ids := slices.Compact(slices.Sorted(slices.Values(r.q.IDs)))
	for _, text := range ids {
		id, ok := parseID([]byte(text))
		if !ok || id.String() != text || len(r.q.Types) > 0 && !slices.Contains(r.q.Types, id.typ) {
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
		facts := blocks[p.first]
		if facts == nil {
			if facts, err = r.facts(p.first); err != nil {
				return err
			}
		}
		if p.i >= facts.count {
			return ErrDamaged
		}
		d, err := r.v.decode(r.ctx, r.c, p.first, facts, p.i, p.i+1)
		if err != nil {
			return err
		}
		if err := r.take(d.run(p.i, p.i+1), p, true); err != nil {
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
			blocks[p.first] = b
		}
		was, ok := b.before(p.i)
		if !ok || was.added() <= r.since {
			return p, nil
		}
		p = was
	}
}
