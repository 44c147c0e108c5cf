package view

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// DerivedStore keeps what others make of the view, beside it: it goes with the view, and after a crash it
// holds nothing that was made of what the view has lost.
type DerivedStore struct {
	db     *pebble.DB
	prefix []byte
}

// DerivedStore returns the store of a name.
func (v *View) DerivedStore(name string) *DerivedStore {
	return &DerivedStore{db: v.db, prefix: append(append([]byte{'M'}, name...), 0)}
}

func (s *DerivedStore) key(key string) []byte {
	return append(s.prefix[:len(s.prefix):len(s.prefix)], key...)
}

// Write sets some keys, all or none.
func (s *DerivedStore) Write(changes map[string][]byte) error {
	b := s.db.NewBatch()
	defer func() { _ = b.Close() }()
	for k, value := range changes {
		_ = b.Set(s.key(k), value, nil) // which fails only when the batch is misused
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write view: %w", err)
	}
	return nil
}

// Snapshot returns the store as it is now. The caller closes it.
func (s *DerivedStore) Snapshot() *StoreSnapshot { return &StoreSnapshot{s, s.db.NewSnapshot()} }

// StoreSnapshot is one state of a store.
type StoreSnapshot struct {
	*DerivedStore
	snapshot *pebble.Snapshot
}

// Close lets the state go.
func (l *StoreSnapshot) Close() error { return l.snapshot.Close() }

// Get returns the value of a key.
func (l *StoreSnapshot) Get(key string) (value []byte, found bool, err error) {
	return get(l.snapshot, l.key(key))
}

// Each calls f with what is kept under the keys that start so, without that start, in their order, until f
// returns an error. The value is good until f returns.
func (l *StoreSnapshot) Each(start string, f func(rest string, value []byte) error) (err error) {
	lower := l.key(start)
	it, err := l.snapshot.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: append(lower[:len(lower):len(lower)], 0xff)})
	if err != nil {
		return fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err == nil {
			err = f(string(it.Key()[len(lower):]), value)
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}
