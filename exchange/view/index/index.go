// Package index is the collections of the view: for each an ordered log of packed blocks, which of their objects are live,
// and where the newest place of each identifier is.
//
// An object is named by its place: the date_added of its block's first object, in µs, and its position there; its own
// date_added is the sum of both. An object that is added again in the same version, as addresses are with every block that
// refers to them, stands at each of its places, and pages have it at each: then nothing comes before what it refers to,
// wherever somebody starts. Facts, and an object by its identifier, are of its newest place.
//
// Keys, where c is a collection's number and s a block's first date_added, big-endian:
//
//	n name           the number of a collection
//	h c              where its chain ends, and how much it has
//	z name           why its chain does not hold
//	b c s 0 ─┐       what is known of a block: where each object stands in the payload, and where groups start;
//	         │       of a feed's own collection, the intake record that it is packaged from
//	b c s 1  │       what tells its objects apart: identifiers and versions
//	b c s 2 ─┘       the objects, in chunks that are compressed by themselves, those of types of which there is much
//	                 apart; none of a feed's own collection
//	q c number       where a block is: its sequence in the journal, and s
//	f c number       its headers, as they are in the journal, and what a control block holds; none of a feed's own collection
//	v c s            which of its objects are there: bits, as are all sets
//	l c s            which of those are the latest version
//	r c s            which of those stand at a later place too, in the same version
//	y c type s       which of its objects are of a type
//	i c epoch type uuid   the latest version of an object, and its newest place
//	o c uuid type version place   each of its other places
//	w c s number     what a control block took out, and where that was
//
//	            date_added ─────────────────────────────────────────▶
//	collection  [ block s1: 0 1 2 3 … ][ block s2: 0 1 2 … ][ block s3 …
//	            b b b q v l r y y y     b b b q v l y y      …
//
// An append (append.go) reads a block's text once. Each object goes into the payload of its type and into the lists of
// names and types; then its identifier is looked up, unless the block says that it is new. Not known, it gets an i key. Known in
// this version, the place before gets an o key and a bit in its block's r, and the i key has the new one. Known in an older
// version, that gets an o key, and its bits leave their blocks' l. Known in a newer one, the new place gets the o key, and no bit
// in l. All of it, the head of the chain, and the journal's sequence are one batch: a crash loses whole batches at the
// end, and following the journal brings them back the same.
//
// A page (page.go, scan.go) is made of one snapshot. It goes along the blocks that have latest versions, which
// are kept in memory (live.go), or along v where other versions are wanted, from the one that holds its first date_added; with
// types, along y at the same time. What both have is looked at: by name where versions matter (versions.go), by content for a
// match, and as far as the page has room, groups uncut. Chunks are decompressed into the page's text; what a page of
// usual size does not hold stays compressed until it is written (text.go).
//
// A removal (remove.go) finds all places of a version by its i and o keys, and takes the bits out of v and l; the version
// before becomes the latest again. The text stays in the payload, where nothing points to it.
package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// ErrBroken means that a collection's chain does not hold, so that it takes
// nothing more.
var ErrBroken = errors.New("the collection's chain does not hold")

// ErrContent is in the chain of errors about what the journal holds, which the view can't mend.
var ErrContent = errors.New("the block's content is not what its facts say")

// Options configure an Index.
type Options struct {
	// CacheBytes bounds the blocks that are kept in memory as they are stored; 0 means 64 MiB.
	CacheBytes int64
	// EpochObjects is how many objects are added to a collection until an index of its own starts
	// for those that come then; 0 means 1 Mi. A look for one that is not there asks each.
	EpochObjects int64
	// Package packages an intake record for its feed's own collection.
	Package func(ctx context.Context, intake uint64) ([]record.Share, error)
}

// Index is safe for concurrent use, but for its writers: one for blocks, one for intake.
type Index struct {
	db      *pebble.DB
	opt     Options
	cache   blockCache
	packing packing // what adding blocks uses over and over

	mu        sync.Mutex // guards what is below
	numbers   map[string]uint32
	names     map[uint32]string // of the numbers
	highest   uint32            // of the numbers
	heads     map[uint32]*head
	mixed     map[uint32]bool // those that have objects of another STIX than 2.1
	broken    map[string]error
	changed   map[string]*wait.Signal // by collection that somebody waits for
	withdrawn map[uint32]int64        // the stamp of the last block that took objects out
	live      map[uint32]live
	epochs    map[uint32]uint16
}

// Open reads what is kept in memory.
func Open(db *pebble.DB, opt Options) (*Index, error) {
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 64 << 20
	}
	if opt.EpochObjects == 0 {
		opt.EpochObjects = 1 << 20
	}
	x := &Index{
		db: db, opt: opt, cache: newBlockCache(opt.CacheBytes),
		numbers: make(map[string]uint32), names: make(map[uint32]string), heads: make(map[uint32]*head), mixed: make(map[uint32]bool), broken: make(map[string]error),
		changed: make(map[string]*wait.Signal), withdrawn: make(map[uint32]int64), live: make(map[uint32]live), epochs: make(map[uint32]uint16),
	}
	err := store.EachUnder(db, []byte{'z'}, func(name, why []byte) (bool, error) {
		x.broken[string(name)] = errors.New(string(why))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	err = store.EachUnder(db, []byte{'w'}, func(key, _ []byte) (bool, error) {
		if len(key) != 4+8+8 {
			return false, store.ErrDamaged
		}
		x.withdrawn[binary.BigEndian.Uint32(key)] = firstOf(key[:4+8]) // the last of each stays
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	err = store.EachUnder(db, []byte{'n'}, func(name, number []byte) (bool, error) {
		if len(number) != 4 {
			return false, store.ErrDamaged
		}
		return true, x.load(string(name), binary.BigEndian.Uint32(number))
	})
	return x, err
}

// load reads what is kept in memory of a collection.
func (x *Index) load(name string, c uint32) error {
	x.enter(name, c)
	text, found, err := store.Get(x.db, headKey(c))
	if err != nil || !found {
		return err
	}
	if x.heads[c], err = decodeHead(text); err != nil {
		return err
	}
	x.epochs[c], x.mixed[c] = x.epochOf(x.heads[c].objects), x.heads[c].mixed
	x.live[c], err = x.loadLive(c)
	return err
}

// enter notes a collection's number. Who calls it has mu, or is alone.
func (x *Index) enter(name string, c uint32) {
	x.numbers[name], x.names[c], x.highest = c, name, max(x.highest, c)
}

// Number returns a collection's number, and false where it has no blocks yet.
func (x *Index) Number(collection string) (uint32, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c, ok := x.numbers[collection]
	return c, ok
}

// Name returns the collection that has a number.
func (x *Index) Name(c uint32) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.names[c]
}

// Broken lists the collections whose chain does not hold, with what is wrong.
// They are served as far as they are whole, and take nothing more.
func (x *Index) Broken() map[string]error {
	x.mu.Lock()
	defer x.mu.Unlock()
	list := make(map[string]error, len(x.broken))
	for c, err := range x.broken {
		list[c] = err
	}
	return list
}

// Sound reports why a collection takes nothing more; its error is an ErrBroken.
func (x *Index) Sound(collection string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.broken[collection]; err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBroken, collection, err)
	}
	return nil
}

// Break notes, in a batch too, why a collection's chain does not hold: the first reason stays.
func (x *Index) Break(b *pebble.Batch, collection string, why error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.broken[collection] == nil {
		x.broken[collection] = why
	}
	store.Set(b, brokenKey(collection), []byte(x.broken[collection].Error())) // an earlier batch may not have been written
}

// Stats says how much a collection has.
type Stats struct {
	Blocks  uint64    `json:"blocks"`
	Objects int64     `json:"objects_added"`
	Last    time.Time `json:"last_added,omitzero"`
	// Label is the highest that was ever added.
	Label tlp.Level `json:"highest_label,omitempty"`
}

// head returns where a collection ends, nil where it is empty.
func (x *Index) head(collection string) *head {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.heads[x.numbers[collection]]
}

// Stats returns the collection's figures; all zero where it is empty.
func (x *Index) Stats(collection string) Stats {
	h := x.head(collection)
	if h == nil {
		return Stats{}
	}
	return Stats{Blocks: h.number, Objects: h.objects, Last: micros(h.added), Label: h.label}
}

// State names what a collection holds: it changes whenever that does.
func (x *Index) State(collection string) string {
	h := x.head(collection)
	if h == nil {
		return "0"
	}
	return fmt.Sprintf("%d.%d", h.number, h.added)
}

// Changed returns a channel that is closed when anything is added to the
// collection, or taken out.
func (x *Index) Changed(collection string) <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.changed[collection]
	if c == nil {
		c = new(wait.Signal)
		x.changed[collection] = c
	}
	return c.Next()
}
