package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// control does what a control block says.
func (w *writer) control(b *record.Block) error {
	text, err := w.text(b)
	if err != nil {
		return err
	}
	leaves := record.NewLeaves(b.Seed)
	leaves.Add(text)
	if err := committed(b, leaves); err != nil {
		return err
	}
	d, err := w.v.opt.Removal(b, text)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	first := b.AddedFirst.UnixMicro()
	w.locate(b.Number, b.Sequence, first)
	for i, o := range slices.Concat(d.Versions, d.Withdrawn, d.Raised) {
		id, ok := versionID(o)
		if !ok {
			return fmt.Errorf("%w: removal %d has no id", errContent, i)
		}
		ver := versionOf(o.Version)
		comesAgain := i >= len(d.Versions)+len(d.Withdrawn)
		if err := w.remove(id, ver, comesAgain); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		w.del(postedKey(id, w.c, ver, stands))
	}
	for i, o := range d.Objects {
		id, ok := parseID([]byte(o.ID))
		if !ok {
			return fmt.Errorf("%w: withdrawal %d has no id", errContent, i)
		}
		if err := w.withdraw(id); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	if err := w.withdrawUnreferred(); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	for i := range d.Remembered {
		if err := w.remember(&d.Remembered[i], b.By); err != nil {
			return err
		}
	}
	if len(d.Objects)+len(d.Versions)+len(d.Withdrawn)+len(d.Raised) == 0 {
		return nil
	}
	out := takenOut{Removal: *d}
	if out.Holes, err = w.holes(); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	if text, err = json.Marshal(out); err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	w.set(blockKey('w', w.c, first), text)
	w.withdrew = first
	return nil
}

// takenOut is what a 'w' key has.
type takenOut struct {
	record.Removal
	Holes []record.Holes `json:"holes,omitempty"`
}

// holes are where the objects were that the block has taken out.
func (w *writer) holes() (list []record.Holes, err error) {
	for _, first := range slices.Sorted(maps.Keys(w.removed)) {
		b, err := readBlock(w.v.db, w.c, first)
		if err != nil {
			return nil, err
		}
		list = append(list, record.Holes{Block: b.number, Positions: slices.Collect(w.removed[first].all(b.count))})
	}
	return list, nil
}

// withdraw takes an object out in all its versions.
func (w *writer) withdraw(id objectID) error {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		list, err := w.v.versions(w.r, w.c, id)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := w.remove(id, e.version, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes a version of an object out. Where it was the latest, the one
// before takes its place. What it refers to stays where it comes again.
func (w *writer) remove(id objectID, ver version, comesAgain bool) error {
	e, known, err := w.latest(id)
	if err != nil || !known {
		return err
	}
	if e.version != ver {
		key := olderKey{id, ver}
		s, found, err := w.olderSpan(key)
		if err != nil || !found {
			return err
		}
		w.del(key.append(w.c))
		return w.empty(s, comesAgain)
	}
	if err := errors.Join(w.empty(e.span, comesAgain), w.unmark('l', e.span)); err != nil {
		return err
	}
	next, found, err := olderVersion(w.r, w.c, id, (*pebble.Iterator).Last)
	if err != nil {
		return err
	}
	if found {
		w.set(entryKey(w.c, w.epoch, id), next.append(nil))
		w.del(olderKey{id, next.version}.append(w.c))
	} else {
		for epoch := range w.epoch + 1 {
			w.del(entryKey(w.c, epoch, id))
		}
	}
	return w.promote(id)
}

// empty takes a version out of everywhere that it stands.
func (w *writer) empty(s span, comesAgain bool) error {
	if !comesAgain {
		if err := w.looseEnds(s.last); err != nil {
			return err
		}
	}
	if w.removed == nil {
		w.removed = make(map[int64]bits)
	}
	err := w.places(s, func(p place) error {
		w.removed[p.first] = w.removed[p.first].grown(p.i)
		w.removed[p.first].set(p.i)
		return nil
	})
	return errors.Join(err, w.unmark('v', s))
}

// promote marks what is now the latest version of an object, in the newest
// version of STIX that is left of it.
func (w *writer) promote(id objectID) error {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		e, known, err := w.latest(id)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		return w.places(e.span, func(p place) error {
			set, err := w.mark('l', p.first)
			if err != nil {
				return err
			}
			if set == nil {
				b, err := readBlock(w.v.db, w.c, p.first)
				if err != nil {
					return err
				}
				set = make(bits, len(allBits(b.count)))
				w.marks[markKey{'l', p.first}] = set
			}
			set.set(p.i)
			return nil
		})
	}
	return nil
}
