// Package view is what the exchange is read from. It is made of the journal's two streams, intake and blocks, and kept in
// Pebble.
//
// A view holds nothing that is not in the journal. It can be deleted and is then the same again, answer for answer, byte for
// byte. It is written by one goroutine for blocks and one for intake; each record is applied together with its sequence in
// one batch, so a crash loses whole records at the end, and following the journal brings them back. That is why it has
// no write-ahead log.
//
// Three packages share the batches, each with its own keys, which its comment lists, and a fourth keeps Pebble:
//
//	index      the collections: blocks, pages, versions, removals
//	hosts      intake records, and what was seen of an address when
//	members    what members have posted, by id
//	store      Pebble itself, and what others derive of all that (store.Derived)
//
// This package puts them together: a record's way into the batch (apply.go), how far it is (applied.go), when it
// is written out (flush.go). Of its own it has the keys
//
//	m name     the applied sequence of a stream
//
// Open deletes a damaged view and makes it anew, unless the view knows of more than the journal has. Damage that is found
// later, while a record is applied or by a read whose error is given to Note, is told to Options.Damaged once and noted in the
// directory, so that the next Open makes the view anew. Until then a read of what is damaged returns an ErrDamaged.
package view

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/hosts"
	"github.com/tocsin-exchange/tocsin/exchange/view/index"
	"github.com/tocsin-exchange/tocsin/exchange/view/members"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// The errors of those that the view is made of.
var (
	ErrDamaged = store.ErrDamaged
	ErrBroken  = index.ErrBroken
)

// What readers of collections ask for and get: see package index.
type (
	Query        = index.Query
	Page         = index.Page
	Fact         = index.Fact
	VersionMatch = index.VersionMatch
	VersionKind  = index.VersionKind
	Withdrawal   = index.Withdrawal
	Stats        = index.Stats
	Block        = index.Block
	// Derived keeps what others make of the view.
	Derived         = store.Derived
	DerivedSnapshot = store.DerivedSnapshot
)

// The kinds of versions.
const (
	Last    = index.Last
	First   = index.First
	All     = index.All
	Exactly = index.Exactly
)

// PackageFunc packages an intake record for the collections that want selects.
type PackageFunc func(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error)

// Options configure a View.
type Options struct {
	// Dir holds the files, in a directory for each format: one of another format is deleted, and so is one that is damaged.
	// The caller has a lock on it.
	Dir string
	// CacheBytes and EpochObjects are those of index.Options, IndexBytes is store.Options.Memory.
	CacheBytes, EpochObjects, IndexBytes int64
	// Shares packages an intake record that comes in for one collection, and may leave out of the objects what does not
	// tell them and their versions apart; Again packages one that was applied.
	Shares, Again PackageFunc
	// Decompress undoes what the journal compressed and appends it to dst; its
	// error is an exchange.ErrRecord when the data is at fault.
	Decompress func(dst, data []byte) ([]byte, error)
	// Tap, where it is set, is given every batch as it is written; it is for
	// measuring, with store.Replay.
	Tap func(batch []byte)
	// Removal reads what a control block takes out from its payload, decompressed; its error is an exchange.ErrRecord.
	Removal func(b *record.Block, payload []byte) (*record.Removal, error)
	// Continues reports why a block does not continue a chain.
	Continues func(b *record.Block, number uint64, hash string, added time.Time) error
	// Damaged is told once what is damaged, and whether it is made anew at once; nil for nobody.
	Damaged func(err error, anew bool)
	// MayDelete is asked before a view is deleted, since it is damaged or of another format, that had intake and blocks up
	// to there, 0 where that can't be read: it may be all that knows of what the journal has lost. Its error keeps it; nil
	// lets it go.
	MayDelete func(intake, blocks uint64) error
}

// View is safe for concurrent use, but for ApplyBlock and ApplyIntake, which are
// each for one goroutine.
type View struct {
	*index.Index
	*hosts.Hosts
	*members.Members
	db   *pebble.DB
	opt  Options
	text []byte // what ApplyBlock uses over and over
	// unwritten is about how many bytes were applied since FlushWhenQuiet wrote last, but for batches so large that Pebble
	// writes them out by itself.
	unwritten atomic.Int64

	damage      sync.Mutex // guards what is below
	noted, told bool

	mu     sync.Mutex // guards what is below
	intake uint64
	blocks uint64
	moved  wait.Signal // when either changes
}

// Open opens the view, and makes it where there is none of this format or it is damaged.
func Open(opt Options) (*View, error) {
	name := fmt.Sprintf("%s.%d", format, opt.EpochObjects)
	old, err := others(opt.Dir, name)
	if err != nil {
		return nil, fmt.Errorf("open view: %w", err)
	}
	if len(old) > 0 {
		if err := opt.mayDelete(errOther); err != nil {
			return nil, err
		}
		if err := remove(opt.Dir, old...); err != nil {
			return nil, err
		}
	}
	v, err := open(opt, name)
	if !errors.Is(err, ErrDamaged) {
		return v, err
	}
	if err := opt.mayDelete(err); err != nil {
		return nil, err
	}
	if opt.Damaged != nil {
		opt.Damaged(err, true)
	}
	if err := remove(opt.Dir, name, damagedNote); err != nil { // the note last
		return nil, err
	}
	return open(opt, name)
}

func remove(dir string, names ...string) error {
	for _, name := range names {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("delete the old view: %w", err)
		}
	}
	return nil
}

// mayDelete asks whether a view may be deleted, and why it should be.
func (o *Options) mayDelete(why error) error {
	if o.MayDelete == nil {
		return nil
	}
	intake, blocks, _ := Ends(o.Dir) // what can't be read says nothing
	if err := o.MayDelete(intake, blocks); err != nil {
		return fmt.Errorf("%w; and %w", why, err)
	}
	return nil
}

// others lists the views of other formats in a directory.
func others(dir, name string) (list []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() && e.Name() != name && formats.MatchString(e.Name()) {
			list = append(list, e.Name())
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return list, err
}

// formats are the names of directories of views.
var formats = regexp.MustCompile(`^[0-9]+\.[0-9]+$`)

func open(opt Options, name string) (v *View, err error) {
	v = &View{opt: opt}
	if _, err := os.Stat(filepath.Join(opt.Dir, damagedNote)); err == nil {
		return nil, errNoted
	}
	dir := filepath.Join(opt.Dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open view: %w", err)
	}
	if v.db, err = store.Open(dir, store.Options{Memory: opt.IndexBytes, Prefixes: prefixes, Damaged: func(err error) { _ = v.Note(err) }}); err != nil {
		return nil, fmt.Errorf("open view %s: %w", dir, err)
	}
	v.Index, err = index.Open(v.db, index.Options{CacheBytes: opt.CacheBytes, EpochObjects: opt.EpochObjects, Package: v.again})
	if err == nil {
		err = v.applied()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open view %s: %w", dir, err), v.db.Close())
	}
	v.Hosts = &hosts.Hosts{DB: v.db, Decompress: opt.Decompress, Delivered: v.Index.Delivered}
	v.Members = &members.Members{DB: v.db, Collections: v.Index}
	return v, nil
}

// prefixes are what filters ask for.
var prefixes = map[byte]func(key []byte) int{'a': hosts.Prefix, 'd': members.Prefix, 'g': members.Prefix}

// again packages an intake record that was applied for its feed's own collection.
func (v *View) again(ctx context.Context, intake uint64) ([]record.Share, error) {
	in, err := v.Intake(intake)
	if err != nil {
		return nil, err
	}
	return own(ctx, in, v.opt.Again)
}

// own packages an intake record for its feed's own collection.
func own(ctx context.Context, in *record.Intake, pack PackageFunc) ([]record.Share, error) {
	collection := exchange.FeedCollection(in.Feed)
	return pack(ctx, in, func(c string) bool { return c == collection })
}

// format is that of keys and values. With the size of epochs it is the name of the directory that a view
// is in.
const format = "19"

// damagedNote is the file that says that the view is to be made anew.
const damagedNote = "damaged"

var (
	errNoted = fmt.Errorf("%w: that was noted when it was open", ErrDamaged)
	errOther = errors.New("the view is of another version")
)

// Note sees to it, where an error of a read says that the view is damaged, that the next Open makes it anew. It returns the
// error.
func (v *View) Note(err error) error {
	if !errors.Is(err, ErrDamaged) {
		return err
	}
	v.damage.Lock()
	defer v.damage.Unlock()
	if !v.noted {
		e := os.WriteFile(filepath.Join(v.opt.Dir, damagedNote), []byte(err.Error()+"\n"), 0o600)
		v.noted = e == nil // else the next one who meets it tries again
	}
	if !v.told && v.opt.Damaged != nil {
		v.opt.Damaged(err, false)
	}
	v.told = true
	return err
}

// Derived returns the store of a name, for what others make of the view.
func (v *View) Derived(name string) *Derived { return store.NewDerived(v.db, name) }

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
