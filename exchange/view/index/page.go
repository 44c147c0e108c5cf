package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
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
	// After is the date_added to start behind; zero is before the first.
	After time.Time
	// Limit is how many objects are wanted at most; at least 1.
	Limit        int
	IDs          []string
	Types        []string // match[type] of TAXII
	SpecVersions []string
	Versions     []VersionMatch
	Match        *stix.Match
	// Facts asks for what tells the objects apart, and not for the objects. Those say each version once: where it was
	// added last.
	Facts bool
	// Bytes bounds the objects of a page that has more than one; 0 means 16 MiB.
	Bytes int
}

// maxBytes is how much a page holds, but for one object that is larger.
const maxBytes = 16 << 20

// Page is some objects in the order of date_added. They are compressed until they are written or taken. Where the query
// asks for facts, it has those instead.
type Page struct {
	Count int
	// First and Last are the date_added of the first and the last object, zero
	// where there is none.
	First, Last time.Time
	// More is set where there may be more behind them.
	More bool
	// Reached is the date_added behind which the next page goes on; zero where the page is empty and nothing more is there.
	Reached time.Time

	parts []part
	size  int // of the objects, in bytes
}

// Page returns the first objects that the query selects. It does not cut apart
// the objects of one host where Limit has room for all of them. A query that
// selects little of much may end early with a page that is not full.
func (x *Index) Page(ctx context.Context, right policy.Read, q Query) (p *Page, err error) {
	collection, ok := policy.Readable(right)
	if !ok {
		return nil, errNoRight
	}
	return x.page(ctx, collection, q)
}

func (x *Index) page(ctx context.Context, collection string, q Query) (p *Page, err error) {
	c, ok := x.Number(collection)
	if !ok {
		return new(Page), nil
	}
	r, err := x.reader(ctx, c, &q)
	if err != nil {
		return nil, err
	}
	defer store.Close(&err, r)
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
	p := &Page{Count: r.count, Reached: r.reached, parts: r.parts, size: r.size}
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
var errNoRight = errors.New("index: nothing is read without a right")

// maxKept is how much a page keeps of its blocks in memory, in bytes, until no more of them are looked at: those that
// have an object of a rare type each are many. It is a variable for its test.
var maxKept = 32 << 20

// maxScanned is how many objects are looked at for a page that has something. One that has nothing goes on to the end.
const maxScanned = 100_000

// reader collects one page.
type reader struct {
	x    *Index
	ctx  context.Context //nolint:containedctx // lives for one call
	c    uint32
	q    *Query
	db   *pebble.Snapshot // one state for the whole page
	live []int64          // the live blocks: those of that state, and maybe some that are not any more
	data nearby
	sets []*sets // to be closed

	after int64 // in µs
	// The versions that are wanted.
	last, first, all bool
	exact            map[key.Version]bool
	chosen           map[key.ID][]standing // of objects that were looked at

	parts   []part
	count   int // objects in the parts
	size    int // their bytes
	kept    int // bytes of their blocks
	scanned int
	reached time.Time // where the scan stopped, if not at the last of the page
}

func (x *Index) reader(ctx context.Context, c uint32, q *Query) (*reader, error) {
	if q.Limit < 1 {
		return nil, fmt.Errorf("index: limit %d", q.Limit)
	}
	r := &reader{
		x: x, ctx: ctx, c: c, q: q, after: -1, last: len(q.Versions) == 0, exact: make(map[key.Version]bool), chosen: make(map[key.ID][]standing),
	}
	r.db, r.live = x.state(c)
	r.data = nearby{db: r.db, c: c}
	if !q.After.IsZero() {
		r.after = max(q.After.UnixMicro(), -1)
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
			r.exact[key.VersionOf(m.At)] = true
		}
	}
	return r, nil
}

// state returns the view as it is now, and the live blocks of a collection.
func (x *Index) state(c uint32) (*pebble.Snapshot, []int64) {
	for {
		l := x.liveOf(c)
		s := x.db.NewSnapshot()
		if x.liveOf(c).revived == l.revived {
			return s, l.list
		}
		_ = s.Close() // which never fails
	}
}

// Close lets the state go.
func (r *reader) Close() (err error) {
	for _, s := range r.sets {
		store.Close(&err, s.it)
	}
	store.Close(&err, &r.data)
	store.Close(&err, r.db)
	return err
}

// onlyLast says that no version but the latest of an object is wanted.
func (r *reader) onlyLast() bool { return r.last && !r.first && !r.all && len(r.exact) == 0 }

// isMixed reports whether a collection may have objects of several versions of STIX.
func (x *Index) isMixed(c uint32) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.mixed[c]
}

// byID looks the wanted objects up.
func (r *reader) byID() error {
	wanted := make(map[int64]bits) // by block
	for _, text := range r.q.IDs {
		id, ok := key.Exact(text)
		if !ok || len(r.q.Types) > 0 && !slices.Contains(r.q.Types, id.Type) {
			continue // no object has it
		}
		list, err := r.choose(id)
		if err != nil {
			return err
		}
		for _, s := range list {
			if s.added() > r.after {
				wanted[s.first] = wanted[s.first].grown(s.i)
				wanted[s.first].set(s.i)
			}
		}
	}
	for _, first := range slices.Sorted(maps.Keys(wanted)) {
		if err := r.take(first, wanted[first], false); err != nil {
			return err
		}
	}
	return nil
}
