package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// maxMemTable is how many bytes Pebble collects in memory at most before it writes them.
const maxMemTable = 64 << 20

// openPebble opens the files of a view; memory bounds what is kept of them, and
// what is not written yet, in bytes.
func openPebble(dir string, memory int64) (*pebble.DB, error) {
	if memory == 0 {
		memory = 256 << 20
	}
	// Keys are random: each step down the levels writes everything there anew, so
	// there are few of them, and they take much at a time. What lies between two of its keys is
	// written anew with a file, wanted or not, so files are small.
	// Memtables count against the cache; what is left holds filters and index
	// blocks, and a miss on those is the dearest thing there is.
	blocks := pebble.NewCache(memory)
	defer blocks.Unref()
	o := &pebble.Options{
		Cache: blocks, MemTableSize: uint64(min(memory/4, maxMemTable)), DisableWAL: true, Logger: quiet{}, Comparer: comparer,
		FormatMajorVersion: pebble.FormatNewest, L0CompactionThreshold: 8, LBaseMaxBytes: 512 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 },
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].FilterType = pebble.TableFilter
		o.Levels[i].BlockSize = 16 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	o.TargetFileSizes[0] = 4 << 20
	// Values stay where they were written, whatever becomes of the keys. Payloads and records are near each other then;
	// nothing is left to be gained from compressing them. What is known of hosts is replaced as they come again, under
	// random keys: a file of these refers to as many others as have come since, and what was replaced is in the way
	// until it is half of what there is.
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy {
		return pebble.ValueSeparationPolicy{
			Enabled: true, MinimumSize: 80, MaxBlobReferenceDepth: 100, RewriteMinimumAge: 10 * time.Minute, TargetGarbageRatio: 0.5,
		}
	}
	return pebble.Open(dir, o)
}

// quiet drops Pebble's chatter; its errors come back from calls.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebble: "+format, args...)) // impossible state: its invariants are gone
}

// get returns a copy of a value.
func (v *View) get(key []byte) ([]byte, bool, error) { return get(v.db, key) }

// getter is what keys are looked up in: a pebble.Reader, or what is made for keys that are near each other.
type getter interface {
	Get(key []byte) (value []byte, closer io.Closer, err error)
}

func get(r getter, key []byte) ([]byte, bool, error) {
	value, closer, err := r.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read view: %w", err)
	}
	value = append([]byte(nil), value...)
	return value, true, closer.Close()
}

// Replay writes batches that Tap was given to an empty directory, with nothing
// of a view around it: it is the least that making a view can take. Each
// batch has its length before it, 4 bytes, little-endian.
func Replay(dir string, memory int64, batches io.Reader) (err error) {
	db, err := openPebble(dir, memory)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
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
