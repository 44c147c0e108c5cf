package index

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// What was added at about the same time is indexed in one place: the index of a collection's objects is in
// epochs, each of the objects that were added while it had so and so many. Their keys are random, and what a
// large collection has in it is not to be written anew for what comes in later.
//
// An entry that changes is written into the epoch in which it changes, and hides those of earlier ones.

// inKeyOrder returns the places of n objects in about the order of their keys, in which they are found and written faster
// than in any other.
func inKeyOrder(n int, id func(i int) key.ID) iter.Seq[int] {
	type start struct {
		of uint64 // the key, without what all have in common
		i  int
	}
	list := make([]start, n)
	for i := range list {
		o := id(i)
		list[i] = start{uint64(key.Code(o.Type))<<56 | binary.BigEndian.Uint64(o.UUID[:])>>8, i}
	}
	slices.SortFunc(list, func(a, b start) int { return cmp.Compare(a.of, b.of) })
	return func(yield func(i int) bool) {
		for _, s := range list {
			if !yield(s.i) {
				return
			}
		}
	}
}

// epochOf is the epoch of what is added to a collection that had so many objects.
func (x *Index) epochOf(objects int64) uint16 {
	return uint16(min(objects/x.opt.EpochObjects, math.MaxUint16-1))
}

// epoch is the last epoch that a collection may have entries in.
func (x *Index) epoch(c uint32) uint16 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.epochs[c]
}

// entry returns the entry of an object's latest version.
func (x *Index) entry(r pebble.Reader, c uint32, id key.ID) (entry, bool, error) {
	return x.inEpochs(c, id, func(k []byte) ([]byte, bool, error) { return store.Get(r, k) })
}

// inEpochs is entry of what look finds under a key.
func (x *Index) inEpochs(c uint32, id key.ID, look func(k []byte) ([]byte, bool, error)) (entry, bool, error) {
	for epoch := int(x.epoch(c)); epoch >= 0; epoch-- {
		value, found, err := look(appendEntryKey(make([]byte, 0, 64), c, uint16(epoch), id))
		if err != nil || !found {
			if err == nil {
				continue
			}
			return entry{}, false, err
		}
		e, err := decodeEntry(value)
		return e, err == nil, err
	}
	return entry{}, false, nil
}

// Delivered tells whether a collection has an object, in any version.
func (x *Index) Delivered(before *store.Filtered, collection, text string) (bool, error) {
	c, known := x.Number(collection)
	id, ok := key.ParseID([]byte(text))
	if !known || !ok {
		return false, nil
	}
	_, found, err := x.inEpochs(c, id, before.Get)
	return found, err
}
