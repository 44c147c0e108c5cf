package index

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Withdrawal is what left a collection at a time.
type Withdrawal struct {
	At  time.Time `json:"at"`
	IDs []string  `json:"ids"`
}

// Withdrawn lists what was withdrawn from a collection behind an instant because a label was raised, oldest first, of at
// most limit control blocks.
func (x *Index) Withdrawn(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return x.removals(right, after, limit, withdrawnIDs)
}

// withdrawnIDs are the objects that leave because of their label, but for observables: whose id can tell an address.
func withdrawnIDs(r *takenOut) (ids []string) {
	for _, o := range r.Objects {
		ids = append(ids, o.ID)
	}
	for _, o := range r.Withdrawn {
		if !stix.Observable(o.ID) {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// Removed is Withdrawn of all that was taken out, also where a version of it is left.
func (x *Index) Removed(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return x.removals(right, after, limit, func(r *takenOut) (ids []string) {
		for _, o := range r.Objects {
			ids = append(ids, o.ID)
		}
		for _, o := range slices.Concat(r.Versions, r.Withdrawn, r.Raised) {
			ids = append(ids, o.ID)
		}
		return append(ids, r.Unreferred...)
	})
}

func (x *Index) removals(right policy.Read, after time.Time, limit int, of func(*takenOut) []string) (list []Withdrawal, err error) {
	collection, ok := policy.Readable(right)
	if !ok {
		return nil, errNoRight
	}
	err = x.eachRemoval(collection, after, func(at time.Time, out *takenOut) (bool, error) {
		if ids := of(out); len(ids) > 0 {
			list = append(list, Withdrawal{At: at, IDs: ids})
		}
		return len(list) < limit, nil
	})
	return list, err
}

// eachRemoval calls each with what a collection's control blocks behind an instant took out, oldest first, until it
// returns false.
func (x *Index) eachRemoval(collection string, after time.Time, each func(at time.Time, out *takenOut) (bool, error)) error {
	c, known := x.Number(collection)
	from := int64(0)
	if !after.IsZero() {
		from = after.UnixMicro() + 1
	}
	if !known || !x.withdrew(c, from) {
		return nil
	}
	return store.Each(x.db, blockKey('w', c, from), collectionKey('w', c+1), func(k, value []byte) (bool, error) {
		var out takenOut
		if err := json.Unmarshal(value, &out); err != nil {
			return false, fmt.Errorf("%w: %w", store.ErrDamaged, err)
		}
		return each(micros(firstOf(k[:len(k)-8])), &out)
	})
}

// TookOut lists the collections that have lost something.
func (x *Index) TookOut() (collections []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.withdrawn {
		collections = append(collections, x.names[c])
	}
	return collections
}

// LastRemoval is when the last control block of a collection was that took something out, zero for never.
func (x *Index) LastRemoval(collection string) time.Time {
	x.mu.Lock()
	defer x.mu.Unlock()
	if at := x.withdrawn[x.numbers[collection]]; at > 0 {
		return micros(at)
	}
	return time.Time{}
}

// Holes lists where the objects were that a collection's control blocks behind an instant took out, one for each block,
// and when the last of them was.
func (x *Index) Holes(collection string, after time.Time) (list []record.Holes, last time.Time, err error) {
	byBlock := make(map[uint64]*record.Holes)
	err = x.eachRemoval(collection, after, func(at time.Time, out *takenOut) (bool, error) {
		last = at
		for _, h := range out.Holes {
			if have := byBlock[h.Block]; have != nil {
				have.Positions = append(have.Positions, h.Positions...)
				continue
			}
			b, found, err := x.Block(collection, h.Block)
			if err != nil || !found {
				return false, errors.Join(err, store.ErrDamaged)
			}
			h.Sequence = b.Sequence
			byBlock[h.Block] = &h
		}
		return true, nil
	})
	for _, block := range slices.Sorted(maps.Keys(byBlock)) {
		list = append(list, *byBlock[block])
	}
	return list, last, err
}

// withdrew tells whether anything was withdrawn from a collection at a time or later: thousands
// of readers ask again and again.
func (x *Index) withdrew(c uint32, from int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.withdrawn[c] >= max(from, 1)
}
