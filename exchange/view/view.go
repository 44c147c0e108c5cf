// Package view is what the exchange is read from, in Pebble: the objects of the journal's blocks, each block's grouped by
// type into chunks that are compressed by themselves, with small indexes. Positions stay as they are.
//
// A view holds nothing that is not in the journal. It can be deleted and is then
// the same again, answer for answer, byte for byte. It is written by one
// goroutine for blocks and one for intake; each record is applied together with its
// sequence in one batch, so a crash loses whole records at the end, and
// following the journal brings them back. That is why it has no write-ahead log.
//
// Keys, big-endian, where c is a collection's number, f a feed and s the
// date_added of a block's first object in µs:
//
//	m name              the applied sequence of a stream
//	n name              the number of a collection
//	h c                 where its chain ends
//	b c s 0             what is known of a block: how many objects it has, which
//	                    were there before and where, where each stands in the
//	                    payload; or a reference to intake
//	b c s 1             their identifiers and versions
//	b c s 2             a block's objects, compressed for reading
//	q c number          the journal's sequence of a block, and its s
//	v c s               which of its objects are there: not deleted
//	l c s               which of those are the latest version
//	r c s               which of those stand at a later place too, in the same version
//	y c type s          which of its objects are of a type
//	i c epoch type uuid
//	                    the latest version of an object and where it stands
//	o c uuid type version place
//	                    where an object stands too: all but the newest place of its latest version
//	e sequence          an intake record, compressed
//	j sequence          that one tells of hosts that are clean
//	a f address day     what is known of a host's day, with its first events;
//	                    0xff for a day where hosts called the address
//	x f event           in which record an event is that is not there, and
//	                    whether any collection took it
//	k f key             the record that an idempotency key made
//	t f collection topic  when it was introduced last
//	z name              why a collection's chain does not hold
//	g uuid type c ver.  a version that a member has posted: its labels, whose it is (record.Posted)
//	d uuid type c o ver.
//	                    that a version of the object o refers to it there
//	w c s               what a control block took out, and where it was
//	M shelf key         what others make of all that: DerivedStore
//
// An object's date_added is its block's s plus its position, so an object is
// named by (c, s, position).
//
// An object that is added again in the same version, as addresses are with every block that refers to them, stands at
// each of its places, and pages have it at each: then nothing comes before what it refers to, wherever somebody starts.
// Facts and an object by its identifier are of its newest place.
package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// ErrDamaged means that the view does not hold what was written to it: it has
// to be rebuilt.
var ErrDamaged = errors.New("the view is damaged: run tocsin rebuild")

// ErrBroken means that a collection's chain does not hold, so that it takes
// nothing more.
var ErrBroken = errors.New("the collection's chain does not hold")

// PackageFunc packages an intake record for the collections that want selects.
type PackageFunc func(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error)

// Options configure a View.
type Options struct {
	// Dir holds the files. The caller has a lock on it.
	Dir string
	// CacheBytes bounds the blocks that are kept in memory as they are stored; 0 means 64 MiB.
	CacheBytes int64
	// IndexBytes bounds what Pebble keeps of its files, and what is not written
	// yet; 0 means 256 MiB.
	IndexBytes int64
	// EpochObjects is how many objects are added to a collection until an index of its own starts
	// for those that come then; 0 means 1 Mi. A look for one that is not there asks each.
	EpochObjects int64
	// Shares packages an intake record that comes in for one collection, and may leave out of the objects what does not
	// tell them and their versions apart; Again packages one that was applied.
	Shares, Again PackageFunc
	// Decompress undoes what the journal compressed and appends it to dst; its
	// error is an exchange.ErrRecord when the data is at fault.
	Decompress func(dst, data []byte) ([]byte, error)
	// Tap, where it is set, is given every batch as it is written; it is for
	// measuring, with Replay.
	Tap func(batch []byte)
	// Removal reads what a control block takes out from its payload, decompressed; its error is an exchange.ErrRecord.
	Removal func(b *record.Block, payload []byte) (*record.Removal, error)
	// Continues reports why a block does not continue a chain.
	Continues func(b *record.Block, number uint64, hash string, added time.Time) error
}

// View is safe for concurrent use, but for ApplyBlock and ApplyIntake, which are
// each for one goroutine.
type View struct {
	db    *pebble.DB
	opt   Options
	cache blockCache
	// unwritten is about how many bytes were applied since FlushWhenQuiet wrote last, but for batches so large that Pebble
	// writes them out by itself.
	unwritten atomic.Int64

	// What ApplyBlock uses over and over.
	text    []byte
	packing packing

	mu        sync.Mutex // guards what is below
	numbers   map[string]uint32
	names     map[uint32]string // of the numbers
	highest   uint32            // of the numbers
	heads     map[uint32]*head
	broken    map[string]error
	intake    uint64
	blocks    uint64
	moved     wait.Signal             // when any of what is below changes
	changed   map[string]*wait.Signal // by collection that somebody waits for
	withdrawn map[uint32]int64        // the stamp of the last block that took objects out
	live      map[uint32]live
	epochs    map[uint32]uint16
}

// head is where a collection ends.
type head struct {
	number  uint64 // of its last block
	hash    string
	added   int64     // date_added of its last object, µs
	objects int64     // ever added
	label   tlp.Level // the highest ever added
	mixed   bool      // it has objects of another STIX than 2.1
}

// Open opens the view, and makes it where there is none.
func Open(opt Options) (*View, error) {
	if opt.CacheBytes == 0 {
		opt.CacheBytes = 64 << 20
	}
	if opt.EpochObjects == 0 {
		opt.EpochObjects = 1 << 20
	}
	dir, err := directory(opt.Dir, fmt.Sprintf("%s.%d", format, opt.EpochObjects))
	if err != nil {
		return nil, fmt.Errorf("open view: %w", err)
	}
	db, err := openPebble(dir, opt.IndexBytes)
	if err != nil {
		return nil, fmt.Errorf("open view %s: %w", dir, err)
	}
	v := &View{
		db: db, opt: opt, cache: newBlockCache(opt.CacheBytes),
		numbers: make(map[string]uint32), names: make(map[uint32]string), heads: make(map[uint32]*head), broken: make(map[string]error),
		changed: make(map[string]*wait.Signal), withdrawn: make(map[uint32]int64), live: make(map[uint32]live), epochs: make(map[uint32]uint16),
	}
	if err := v.load(); err != nil {
		_ = db.Close()
		return nil, err
	}
	return v, nil
}

// format is that of keys and values. With the size of epochs it is the name of the directory that a view
// is in. Those of other names are deleted: the journal makes this one.
const format = "16"

// directory makes room for a view of this format.
func directory(dir, name string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		if e.Name() != name {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return "", err
			}
		}
	}
	dir = filepath.Join(dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

// load reads what is kept in memory.
func (v *View) load() (err error) {
	if err := v.applied(); err != nil {
		return err
	}
	err = v.each('z', func(name string, value []byte) error {
		v.broken[name] = errors.New(string(value))
		return nil
	})
	if err != nil {
		return err
	}
	err = v.each('w', func(name string, _ []byte) error {
		if len(name) != 12 {
			return ErrDamaged
		}
		v.withdrawn[binary.BigEndian.Uint32([]byte(name))] = firstOf([]byte(name)) // the last of each stays
		return nil
	})
	if err != nil {
		return err
	}
	return v.each('n', func(name string, value []byte) error {
		if len(value) != 4 {
			return ErrDamaged
		}
		c := binary.BigEndian.Uint32(value)
		v.enter(name, c)
		text, found, err := v.get(headKey(c))
		if err == nil && found {
			v.heads[c], err = decodeHead(text)
		}
		if h := v.heads[c]; err == nil && h != nil {
			v.epochs[c] = v.epochOf(h.objects)
			v.live[c], err = v.loadLive(c)
		}
		return err
	})
}

// each calls f with the keys of a kind, without the kind, and their values.
func (v *View) each(kind byte, f func(name string, value []byte) error) (err error) {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kind}, UpperBound: []byte{kind + 1}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = f(string(it.Key()[1:]), value)
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}

// Close writes everything out, while ctx lasts and where the disk has room for it, and closes the view.
// What could not be written is made anew from the journal at the next start. On a disk without room
// even the files are not closed: Pebble fails there, and the process ends anyhow.
func (v *View) Close(ctx context.Context) error {
	if r, err := v.Room(); err == nil && r.Free < r.Unwritten {
		return fmt.Errorf("close view: %w", exchange.ErrFull)
	}
	err := v.write(ctx)
	if err = errors.Join(err, v.db.Close()); err != nil {
		return fmt.Errorf("close view: %w", err)
	}
	return nil
}

// enter notes a collection's number. Who calls it has mu, or is alone.
func (v *View) enter(name string, c uint32) {
	v.numbers[name], v.names[c], v.highest = c, name, max(v.highest, c)
}

// number returns a collection's number, and false where it has no blocks yet.
func (v *View) number(collection string) (uint32, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.numbers[collection]
	return c, ok
}

// Broken lists the collections whose chain does not hold, with what is wrong.
// They are served as far as they are whole, and take nothing more.
func (v *View) Broken() map[string]error {
	v.mu.Lock()
	defer v.mu.Unlock()
	list := make(map[string]error, len(v.broken))
	for c, err := range v.broken {
		list[c] = err
	}
	return list
}

// Sound reports why a collection takes nothing more; its error is an ErrBroken.
func (v *View) Sound(collection string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.broken[collection]; err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBroken, collection, err)
	}
	return nil
}

// Stats says how much a collection has.
type Stats struct {
	Blocks  uint64    `json:"blocks"`
	Objects int64     `json:"objects_added"`
	Last    time.Time `json:"last_added,omitzero"`
	// Label is the highest that was ever added.
	Label tlp.Level `json:"highest_label,omitempty"`
}

// Stats returns the collection's figures; all zero where it is empty.
func (v *View) Stats(collection string) Stats {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.heads[v.numbers[collection]]
	if h == nil {
		return Stats{}
	}
	return Stats{Blocks: h.number, Objects: h.objects, Last: micros(h.added), Label: h.label}
}

// State names what a collection holds: it changes whenever that does.
func (v *View) State(collection string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	h := v.heads[v.numbers[collection]]
	if h == nil {
		return "0"
	}
	return fmt.Sprintf("%d.%d", h.number, h.added)
}

// Changed returns a channel that is closed when anything is added to the
// collection.
func (v *View) Changed(collection string) <-chan struct{} {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.changed[collection]
	if c == nil {
		c = new(wait.Signal)
		v.changed[collection] = c
	}
	return c.Next()
}
