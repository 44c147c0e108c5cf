package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
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
	// Facts asks for what tells the objects apart, and not for the objects.
	Facts bool
	// Bytes bounds the objects of a page that has more than one; 0 means 16 MiB.
	Bytes int
}

// maxBytes is how much a page holds, but for one object that is larger.
const maxBytes = 16 << 20

// Page is some objects in the order of date_added. Up to maxWritten bytes of them are text already; the rest is
// compressed until it is written or taken. Where the query asks for facts, it has those instead.
type Page struct {
	Count int
	// First and Last are the date_added of the first and the last object, zero
	// where there is none.
	First, Last time.Time
	// More is set where there may be more behind them.
	More bool
	// Reached is the date_added behind which the next page goes on.
	Reached time.Time
	// Low and High bound the Since, in µs, of those who get the same behind After:
	// from Low on and below High.
	Low, High int64

	parts []part
	size  int     // of the objects, in bytes
	text  *[]byte // the first parts; nil for none, and once it is written
	ready int     // how many those are
}

// Page returns the first objects that the query selects. It does not cut apart
// the objects of one host where Limit has room for all of them. A query that
// selects little of much may end early with a page that is not full.
func (v *View) Page(ctx context.Context, right policy.Read, q Query) (p *Page, err error) {
	collection, ok := policy.Readable(right)
	if !ok {
		return nil, errNoRight
	}
	return v.page(ctx, collection, q)
}

func (v *View) page(ctx context.Context, collection string, q Query) (p *Page, err error) {
	c, ok := v.number(collection)
	if !ok {
		return new(Page), nil
	}
	// One state of the view for the whole page: an object that gets a version
	// meanwhile must not be looked for where it was and where it is.
	gaps, cuts := v.lacking(c)
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	r, err := v.reader(ctx, snapshot, c, &q)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.data.Close()) }()
	if _, now := v.lacking(c); r.latest && now == cuts {
		r.gaps = gaps
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
	p := &Page{Count: r.count, Reached: r.reached, Low: r.low, High: r.high, parts: r.parts, size: r.size, text: r.text, ready: r.ready}
	if n := len(r.parts); n > 0 {
		first, _ := r.parts[0].ends()
		_, last := r.parts[n-1].ends()
		p.First, p.Last = micros(first), micros(last)
		if p.Reached.IsZero() {
			p.Reached = p.Last
		}
	}
	return p
}

var errFull = errors.New("the page is full")

// errNoRight is a mistake of the program: who reads has asked policy.
var errNoRight = errors.New("view: nothing is read without a right")

// maxKept is how much a page keeps of its blocks in memory, in bytes, until no more of them are looked at: those that
// have an object of a rare type each are many. It is a variable for its test.
var maxKept = 32 << 20

// maxScanned is how many objects are looked at for a page that has something.
const maxScanned = 100_000

// reader collects one page.
type reader struct {
	v     *View
	db    pebble.Reader
	data  along
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
	gaps    []gap
	parts   []part
	text    *[]byte // of the first of them; nil for none
	ready   int     // how many those are
	low     int64   // of the page
	high    int64
	count   int // objects in the parts
	size    int // their bytes
	kept    int // bytes of their blocks
	scanned int
	reached time.Time // where the scan stopped, if not at the last of the page
}

func (v *View) reader(ctx context.Context, db pebble.Reader, c uint32, q *Query) (*reader, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("view: limit %d", q.Limit)
	}
	r := &reader{
		v: v, db: db, data: along{db: db, c: c}, ctx: ctx, c: c, q: q, last: len(q.Versions) == 0, exact: make(map[version]bool),
		since: position(q.Since), after: max(position(q.After), position(q.Since)), low: math.MinInt64, high: math.MaxInt64,
	}
	if len(q.IDs) > 0 {
		r.low, r.high = r.since, r.since+1 // not worked out
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

// byID looks the wanted objects up.
func (r *reader) byID() (err error) {
	var places []place
	blocks := make(map[int64]*block) // what was read of them last
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
	for len(places) > 0 {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first, set := places[0].first, bits(nil)
		for len(places) > 0 && places[0].first == first {
			set = set.grown(places[0].i)
			set.set(places[0].i)
			places = places[1:]
		}
		b := blocks[first]
		if b == nil {
			if b, err = r.known(first); err != nil {
				return err
			}
		}
		if _, end := set.ends(8 * len(set)); end > b.count {
			return fmt.Errorf("block at %d: %w", first, ErrDamaged)
		}
		p := part{block: b, first: first, set: set}
		if b.pieces == nil { // it is a reference to intake
			if p.objects, err = r.v.stored(r.ctx, &r.data, r.c, first, b, set); err != nil {
				return err
			}
			p.block = p.objects.block
		}
		if err := r.each(p, true); err != nil {
			return err
		}
	}
	return nil
}

// maxMet is how many blocks are kept of those that the walk from an object's last
// place goes through.
const maxMet = 256

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
			if b, err = readBlock(&r.data, r.c, p.first); err != nil {
				return p, err
			}
			if len(blocks) == maxMet {
				clear(blocks)
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
