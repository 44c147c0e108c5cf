package view

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

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
	for _, id.spec = range specs {
		o, err := w.latest(id)
		if err != nil {
			return err
		}
		if !o.there {
			continue
		}
		list := []version{o.version}
		if err := eachOther(w.r, w.c, id, nil, func(ver version, _ place) { list = append(list, ver) }); err != nil {
			return err
		}
		for _, ver := range slices.Backward(slices.Compact(list)) { // the latest last
			if err := w.remove(id, ver, false); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes a version of an object out, everywhere that it stands. Where it was the latest, the one
// before takes its place. What it refers to stays where it comes again.
func (w *writer) remove(id objectID, ver version, comesAgain bool) error {
	o, err := w.latest(id)
	if err != nil || !o.there {
		return err
	}
	places, err := w.places(id, ver)
	if err != nil {
		return err
	}
	for _, p := range places {
		w.del(otherKey(w.c, id, ver, p))
	}
	if o.version == ver {
		places = append(places, o.place)
	}
	if n := len(places); n > 0 && !comesAgain {
		if err := w.looseEnds(places[n-1]); err != nil {
			return err
		}
	}
	for _, p := range places {
		w.removed[p.first] = w.removed[p.first].grown(p.i)
		w.removed[p.first].set(p.i)
		for _, kind := range []byte{'v', 'l'} {
			set, err := w.mark(kind, p.first)
			if err != nil {
				return err
			}
			set.clear(p.i)
		}
	}
	if o.version != ver {
		return nil
	}
	o.there, o.changed = false, true
	err = eachOther(w.r, w.c, id, nil, func(ver version, p place) {
		if o.there && o.version == ver {
			o.place, o.again = p, true
		} else {
			o.entry, o.there = entry{version: ver, place: p, older: o.there}, true
		}
	})
	if err != nil {
		return err
	}
	if o.there {
		w.del(otherKey(w.c, id, o.version, o.place))
	}
	return w.promote(id)
}

// promote marks what is now the latest version of an object, in the newest
// version of STIX that is left of it.
func (w *writer) promote(id objectID) error {
	for _, id.spec = range specs {
		o, err := w.latest(id)
		if err != nil {
			return err
		}
		if o.there {
			return w.everywhere(id, o.entry, func(p place) error { return w.include('l', p) })
		}
	}
	return nil
}
