package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// What was added at about the same time is indexed in one place: the index of a collection's objects is in
// epochs, each of the objects that were added while it had so and so many. Their keys are random, and what a
// large collection has in it is not to be written anew for what comes in later.
//
// An entry that changes is written into the epoch in which it changes, and hides those of earlier ones.

// entryKey is the key of an object's entry in an epoch.
func entryKey(c uint32, epoch uint16, id objectID) []byte {
	return appendEntryKey(make([]byte, 0, 64), c, epoch, id)
}

func appendEntryKey(k []byte, c uint32, epoch uint16, id objectID) []byte {
	k = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(append(k, 'i'), c), epoch)
	return append(appendType(k, id.typ, id.spec), id.uuid[:]...)
}

// inKeyOrder returns the places of n objects in about the order of their keys, in which they are found and written faster
// than in any other.
func inKeyOrder(n int, id func(i int) objectID) iter.Seq[int] {
	type start struct {
		of uint64 // the key, without what all have in common
		i  int
	}
	list := make([]start, n)
	for i := range list {
		o := id(i)
		list[i] = start{uint64(typeCodes[o.typ])<<56 | binary.BigEndian.Uint64(o.uuid[:])>>8, i}
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
func (v *View) epochOf(objects int64) uint16 {
	return uint16(min(objects/v.opt.EpochObjects, math.MaxUint16-1))
}

// epoch is the last epoch that a collection may have entries in.
func (v *View) epoch(c uint32) uint16 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.epochs[c]
}

// entry returns the entry of an object's latest version.
func (v *View) entry(r pebble.Reader, c uint32, id objectID) (entry, bool, error) {
	return v.inEpochs(c, id, func(key []byte) ([]byte, bool, error) { return get(r, key) })
}

// inEpochs is entry of what look finds under a key.
func (v *View) inEpochs(c uint32, id objectID, look func(key []byte) ([]byte, bool, error)) (entry, bool, error) {
	for epoch := int(v.epoch(c)); epoch >= 0; epoch-- {
		value, found, err := look(entryKey(c, uint16(epoch), id))
		if err != nil {
			return entry{}, false, err
		}
		if found {
			e, err := decodeEntry(value)
			return e, err == nil, err
		}
	}
	return entry{}, false, nil
}

// at returns the value of a key, where there is one; it is good until the iterator moves.
func at(it *pebble.Iterator, key []byte) ([]byte, bool, error) {
	if !it.SeekPrefixGE(key) || !bytes.Equal(it.Key(), key) {
		return nil, false, it.Error()
	}
	value, err := it.ValueAndErr()
	return value, err == nil, err
}
