package store

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// Derived keeps what others make of the view, beside it: it goes with the view, and after a crash it
// holds nothing that was made of what the view has lost. It may have lost more: what is made keeps, in the same Write, up
// to which sequence of the view it is made, and goes on from there. Nothing is deleted: who has no use for a key any more
// sets it to nothing. A name has no 0 byte, and one writer.
//
//	M name 0 key        what is kept under a key
type Derived struct {
	db     *pebble.DB
	prefix []byte
}

// NewDerived returns the store of a name.
func NewDerived(db *pebble.DB, name string) *Derived {
	return &Derived{db: db, prefix: append(append([]byte{'M'}, name...), 0)}
}

func (s *Derived) key(key string) []byte {
	return append(s.prefix[:len(s.prefix):len(s.prefix)], key...)
}

// Write sets some keys, all or none.
func (s *Derived) Write(changes map[string][]byte) error {
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }()
	for k, value := range changes {
		_ = b.Set(s.key(k), value, nil) // which fails only when the batch is misused
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write view: %w", Failed(err))
	}
	return nil
}

// Snapshot returns the store as it is now. The caller closes it.
func (s *Derived) Snapshot() *DerivedSnapshot { return &DerivedSnapshot{s, s.db.NewSnapshot()} }

// DerivedSnapshot is one state of a store.
type DerivedSnapshot struct {
	of       *Derived
	snapshot *pebble.Snapshot
}

// Close lets the state go.
func (s *DerivedSnapshot) Close() error { return s.snapshot.Close() }

// Get returns the value of a key.
func (s *DerivedSnapshot) Get(key string) (value []byte, found bool, err error) {
	return Get(s.snapshot, s.of.key(key))
}

// Each calls f with what is kept under the keys that start so, without that start, in their order, until f
// returns an error. The value is good until f returns.
func (s *DerivedSnapshot) Each(start string, f func(rest string, value []byte) error) error {
	return EachUnder(s.snapshot, s.of.key(start), func(rest, value []byte) (bool, error) { return true, f(string(rest), value) })
}
