package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Withdrawal is what left a collection at a time because its label was raised.
type Withdrawal struct {
	At  time.Time `json:"at"`
	IDs []string  `json:"ids"`
}

// Withdrawn lists what was withdrawn from a collection behind an instant, oldest first, at most
// limit times.
func (v *View) Withdrawn(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return v.removals(right, after, limit, func(r *record.Removal) (ids []string) {
		return withdrawnIDs(r)
	})
}

// withdrawnIDs are the objects that leave because of their label, but for observables: whose id can tell an address.
func withdrawnIDs(r *record.Removal) (ids []string) {
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
func (v *View) Removed(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return v.removals(right, after, limit, func(r *record.Removal) (ids []string) {
		for _, o := range r.Objects {
			ids = append(ids, o.ID)
		}
		for _, o := range slices.Concat(r.Versions, r.Withdrawn, r.Raised) {
			ids = append(ids, o.ID)
		}
		return ids
	})
}

func (v *View) removals(right policy.Read, after time.Time, limit int, of func(*record.Removal) []string) (list []Withdrawal, err error) {
	collection, ok := policy.Readable(right)
	if !ok {
		return nil, errNoRight
	}
	c, known := v.number(collection)
	from := int64(0)
	if !after.IsZero() {
		from = after.UnixMicro() + 1
	}
	if !known || !v.withdrew(c, from) {
		return nil, nil
	}
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: blockKey('w', c, from), UpperBound: collectionKey('w', c+1)})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && len(list) < limit; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("read view: %w", err)
		}
		var r record.Removal
		if err := json.Unmarshal(value, &r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if ids := of(&r); len(ids) > 0 {
			list = append(list, Withdrawal{At: micros(firstOf(it.Key())), IDs: ids})
		}
	}
	return list, it.Error()
}

// withdrew tells whether anything was withdrawn from a collection at a time or later: thousands
// of readers ask again and again.
func (v *View) withdrew(c uint32, from int64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.withdrawn[c] >= max(from, 1)
}
