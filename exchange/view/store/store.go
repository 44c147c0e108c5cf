// Package store is Pebble as the view uses it: how its files are kept, how keys are looked up, and what is said when they
// do not hold what was written.
//
// Of keys it knows how many bytes at their start a filter asks for; what a key means is told by the package that
// writes it, in a table:
//
//	exchange/view          m
//	exchange/view/index    n h z  b q v l r y i o w
//	exchange/view/hosts    e j a x k t c
//	exchange/view/members  g d
//	exchange/view/store    M (Derived)
package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// ErrDamaged means that the view does not hold what was written to it: it has
// to be made anew.
var ErrDamaged = errors.New("the view is damaged: start the exchange anew, or run tocsin rebuild")

// Damaged reports whether an error of Pebble's, or of who reads keys, means that files do not hold what was written to them.
func Damaged(err error) bool {
	is := func(e error) bool { return errors.Is(err, e) }
	return err != nil && (pebble.IsCorruptionError(err) || slices.ContainsFunc([]error{ErrDamaged, fs.ErrNotExist, io.EOF, io.ErrUnexpectedEOF}, is))
}

// Failed says that the view could not be read, and what to do.
func Failed(err error) error {
	switch {
	case err == nil || errors.Is(err, ErrDamaged):
		return err
	case Damaged(err):
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return fmt.Errorf("read view: %w", err)
}

// Close closes something, and is to be deferred; an error of before, which is usually the same, stays.
func Close(err *error, c io.Closer) {
	if e := c.Close(); *err == nil {
		*err = Failed(e)
	}
}

// MaxMemTable is how many bytes Pebble collects in memory at most before it writes them.
const MaxMemTable = 64 << 20

// Options are how the files are opened.
type Options struct {
	// Memory bounds what is kept of the files, and what is not written yet, in bytes; 0 means 256 MiB.
	Memory int64
	// Prefixes tell of kinds of keys how long the start of a key is that a filter asks for: the whole key of others.
	Prefixes map[byte]func(key []byte) int
	// Damaged is told once files were found damaged behind everybody's back; nil for nobody.
	Damaged func(error)
	// ReadOnly leaves the files as they are.
	ReadOnly bool
}

// Open opens the files of a view; its error is an ErrDamaged where they are.
func Open(dir string, opt Options) (*pebble.DB, error) {
	if opt.Memory == 0 {
		opt.Memory = 256 << 20
	}
	// Keys are random: each step down the levels writes everything there anew, so
	// there are few of them, and they take much at a time. A compaction writes every file anew that overlaps, so files are
	// small.
	// Memtables count against the cache; what is left holds filters and index
	// blocks, and a miss on those is the dearest thing there is.
	blocks := pebble.NewCache(opt.Memory)
	defer blocks.Unref()
	o := &pebble.Options{
		Cache: blocks, MemTableSize: uint64(min(opt.Memory/4, MaxMemTable)), DisableWAL: true, Logger: quiet{}, Comparer: comparer(opt.Prefixes),
		FormatMajorVersion: pebble.FormatNewest, L0CompactionThreshold: 8, LBaseMaxBytes: 512 << 20, ReadOnly: opt.ReadOnly, ErrorIfNotExists: opt.ReadOnly,
		FS: files{vfs.Default}, CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	opened := new(atomic.Bool) // before, the error is the answer
	tell := func(err error) {
		if err = Failed(err); opt.Damaged != nil && opened.Load() && errors.Is(err, ErrDamaged) {
			opt.Damaged(err)
		}
	}
	// Where nobody listens, Pebble panics.
	o.EventListener = &pebble.EventListener{BackgroundError: tell, DataCorruption: func(i pebble.DataCorruptionInfo) { tell(i.Details) }}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	o.TargetFileSizes[0] = 4 << 20
	// Values stay where they were written, also when a compaction moves their keys. Payloads and records are near each other then;
	// nothing is left to be gained from compressing them. What is known of hosts is replaced as they come again, under
	// random keys: a file of these refers to as many others as have come since, and what was replaced is in the way
	// until it is half of what there is.
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: 80, MaxBlobReferenceDepth: 100, RewriteMinimumAge: 10 * time.Minute, TargetGarbageRatio: 0.5,
		}
	}
	blobs, _ := filepath.Glob(filepath.Join(dir, "*.blob"))
	db, err := pebble.Open(dir, o)
	opened.Store(true)
	// Pebble does not look whether they are there, and panics later. How far the view is can be read without them.
	if err == nil && !opt.ReadOnly && uint64(len(blobs)) < db.Metrics().BlobFiles.LiveCount {
		err = errors.Join(errors.New("a blob file is missing"), db.Close())
	}
	if err != nil && !slices.ContainsFunc(notDamage, func(e error) bool { return errors.Is(err, e) }) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return db, err
}

// notDamage is why files cannot be opened that may well be whole.
var notDamage = []error{fs.ErrPermission, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EIO, syscall.EAGAIN, syscall.EACCES}

// comparer makes the filters know the starts of keys.
func comparer(prefixes map[byte]func(key []byte) int) *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "tocsin.view"
	c.Split = func(k []byte) int {
		if len(k) > 0 && prefixes[k[0]] != nil {
			return min(prefixes[k[0]](k), len(k))
		}
		return len(k)
	}
	return &c
}

// quiet drops Pebble's chatter; its errors come back from calls.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebble: "+format, args...)) // it could not write which files it has
}

// Getter is what keys are looked up in: a pebble.Reader, or what is made for keys that are near each other.
type Getter interface {
	Get(key []byte) (value []byte, closer io.Closer, err error)
}

// Set and Delete change a key in a batch, which fails only when the batch is misused.
func Set(b *pebble.Batch, key, value []byte) { _ = b.Set(key, value, nil) }

// Delete deletes a key.
func Delete(b *pebble.Batch, key []byte) { _ = b.Delete(key, nil) }

// Get returns a copy of a value.
func Get(r Getter, key []byte) (value []byte, found bool, err error) {
	err = With(r, key, func(v []byte) error {
		value, found = append([]byte(nil), v...), true
		return nil
	})
	if errors.Is(err, pebble.ErrNotFound) {
		err = nil
	}
	return value, found, err
}

// With calls f with a value, which is good until f returns; its error is pebble.ErrNotFound where there is none.
func With(r Getter, key []byte, f func(value []byte) error) (err error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return err
	}
	if err != nil {
		return Failed(err)
	}
	defer Close(&err, closer)
	return f(value)
}

// After is the first key behind all that start so.
func After(prefix []byte) []byte {
	upper := slices.Clone(prefix)
	for i := len(upper) - 1; ; i-- { // never all 0xff: it starts with a letter
		if upper[i]++; upper[i] != 0 {
			return upper[:i+1]
		}
	}
}

// Under iterates over the keys under a prefix.
func Under(r pebble.Reader, prefix []byte) (*pebble.Iterator, error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: After(prefix)})
	return it, Failed(err)
}

// Each calls f with the keys from one on and before another, and their values, until f returns false. Both are good until f
// returns.
func Each(r pebble.Reader, lower, upper []byte, f func(key, value []byte) (bool, error)) (err error) {
	it, err := r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return Failed(err)
	}
	defer Close(&err, it)
	return walk(it, it.First(), f)
}

// EachUnder is Each of the keys under a prefix, which are given without that.
func EachUnder(r pebble.Reader, prefix []byte, f func(rest, value []byte) (bool, error)) error {
	return Each(r, prefix, After(prefix), func(key, value []byte) (bool, error) { return f(key[len(prefix):], value) })
}

func walk(it *pebble.Iterator, ok bool, f func(key, value []byte) (bool, error)) error {
	for ; ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return Failed(err)
		}
		if more, err := f(it.Key(), value); err != nil || !more {
			return err
		}
	}
	return Failed(it.Error())
}

// Filtered looks keys up that are usually not there: unlike Get, it asks the filters of the lowest level too. A look that
// begins where the last one was is faster. It is not safe for concurrent use.
type Filtered struct{ *pebble.Iterator }

// NewFiltered makes one; who made it closes it.
func NewFiltered(db *pebble.DB) (*Filtered, error) {
	it, err := db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	return &Filtered{it}, Failed(err)
}

// Get returns the value of a key; it is good until the next look.
func (f *Filtered) Get(key []byte) (value []byte, found bool, err error) {
	if !f.SeekPrefixGE(key) || !bytes.Equal(f.Key(), key) {
		return nil, false, Failed(f.Error())
	}
	value, err = f.ValueAndErr()
	return value, err == nil, Failed(err)
}

// Any tells whether a key starts so; the prefix may be shorter than what a filter asks for.
func (f *Filtered) Any(prefix []byte) (bool, error) {
	found := f.SeekGE(prefix) && bytes.HasPrefix(f.Key(), prefix)
	return found, Failed(f.Error())
}

// Each calls what with the keys under a prefix that is at least as long as what a filter asks for, and their values, until it
// returns false.
func (f *Filtered) Each(prefix []byte, what func(key, value []byte) (bool, error)) error {
	return walk(f.Iterator, f.SeekPrefixGE(prefix), func(key, value []byte) (bool, error) {
		if !bytes.HasPrefix(key, prefix) {
			return false, nil
		}
		return what(key, value)
	})
}

// Replay writes batches that a view has written to an empty directory, with nothing
// of a view around it: it is the least that making a view can take. Each
// batch has its length before it, 4 bytes, little-endian.
func Replay(dir string, opt Options, batches io.Reader) (err error) {
	db, err := Open(dir, opt)
	if err != nil {
		return err
	}
	defer Close(&err, db)
	var length [4]byte
	var text []byte
	for {
		if _, err := io.ReadFull(batches, length[:]); errors.Is(err, io.EOF) {
			return db.Flush()
		} else if err != nil {
			return err
		}
		n := int(binary.LittleEndian.Uint32(length[:]))
		if n > cap(text) {
			text = make([]byte, 2*n)
		}
		text = text[:n]
		if _, err := io.ReadFull(batches, text); err != nil {
			return err
		}
		b := db.NewBatch()
		if err := errors.Join(b.SetRepr(text), b.Commit(pebble.NoSync), b.Close()); err != nil {
			return err
		}
	}
}
