package index

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Locate notes where a control block is.
func (w *Writer) Locate(b *record.Block) { w.locate(b.Number, b.Sequence, b.AddedFirst.UnixMicro()) }

// TookOut notes what a control block has taken out, observables that nothing refers to any more among it, and where all that
// was.
func (w *Writer) TookOut(b *record.Block, r *record.Removal, unreferred []string) error {
	out := takenOut{Removal: *r, Unreferred: unreferred}
	var err error
	if out.Holes, err = w.holes(); err != nil {
		return err
	}
	text, err := json.Marshal(out)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContent, err)
	}
	w.withdrew = b.AddedFirst.UnixMicro()
	store.Set(w.b, removalKey(w.c, w.withdrew, b.Number), text)
	return nil
}

// takenOut is what a 'w' key has.
type takenOut struct {
	record.Removal
	Unreferred []string       `json:"unreferred,omitempty"`
	Holes      []record.Holes `json:"holes,omitempty"`
}

// holes are where the objects were that the block has taken out.
func (w *Writer) holes() (list []record.Holes, err error) {
	for _, first := range slices.Sorted(maps.Keys(w.removed)) {
		b, err := readBlock(w.x.db, w.c, first)
		if err != nil {
			return nil, err
		}
		list = append(list, record.Holes{Block: b.number, Positions: slices.Collect(w.removed[first].all(b.count))})
	}
	return list, nil
}

// Withdraw takes an object out in all its versions, and tells whether it was there.
func (w *Writer) Withdraw(id key.ID) (found bool, err error) {
	for _, id.Spec = range key.Specs {
		for {
			o, err := w.latest(id)
			if err != nil {
				return found, err
			}
			if !o.there {
				break
			}
			found = true
			if err := w.Remove(id, o.version, false); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

// Remove takes a version of an object out, everywhere that it stands; nothing was added in the same batch. Where it was the latest, the one
// before takes its place. What it refers to stays where it comes again.
func (w *Writer) Remove(id key.ID, ver key.Version, comesAgain bool) error {
	o, err := w.latest(id)
	if err != nil || !o.there {
		return err
	}
	places, err := w.places(id, ver)
	if err != nil {
		return err
	}
	for _, p := range places {
		store.Delete(w.b, otherKey(w.c, id, ver, p))
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
	err = eachOther(w.r, w.c, id, nil, func(ver key.Version, p place) {
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
		store.Delete(w.b, otherKey(w.c, id, o.version, o.place))
	}
	return w.promote(id)
}

// promote marks what is now the latest version of an object, in the newest
// version of STIX that is left of it.
func (w *Writer) promote(id key.ID) error {
	for _, id.Spec = range key.Specs {
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

// looseEnds notes the observables that the object at a place refers to, which is about to leave.
func (w *Writer) looseEnds(at place) error {
	raw, err := w.objectAt(at)
	if err != nil {
		return err
	}
	h, err := stix.ParseHead(raw)
	if err != nil {
		return err
	}
	for _, ref := range h.Refs {
		if id, ok := key.ParseID([]byte(strings.ToLower(ref))); ok && stix.Observable(id.Type) && !slices.Contains(w.loose, id) {
			w.loose = append(w.loose, id)
		}
	}
	return nil
}

// Loose lists the observables that what was taken out refers to.
func (w *Writer) Loose() []key.ID { return slices.Clone(w.loose) }

// Fasten takes one of them off the list.
func (w *Writer) Fasten(id key.ID) {
	w.loose = slices.DeleteFunc(w.loose, func(o key.ID) bool { return o == id })
}

// objectAt returns the object at a place.
func (w *Writer) objectAt(at place) ([]byte, error) {
	b, err := readBlock(w.x.db, w.c, at.first)
	if err != nil {
		return nil, err
	}
	s, err := w.x.stored(context.Background(), w.x.db, w.c, at.first, b, oneBit(at.i))
	if err != nil {
		return nil, err
	}
	return s.object(at.i)
}

// Referred tells whether an object that is left refers to an observable, in one of the blocks in which that stands: each block
// of a feed has what it refers to.
func (w *Writer) Referred(id key.ID) (bool, error) {
	o, err := w.latest(id)
	if err != nil || !o.there {
		return false, err
	}
	places := []place{o.place}
	if err := eachOther(w.r, w.c, id, nil, func(_ key.Version, p place) { places = append(places, p) }); err != nil {
		return false, err
	}
	for _, p := range places {
		if found, err := w.referredIn(p.first, id); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// referredIn tells whether anything that is left of a block refers to an observable.
func (w *Writer) referredIn(first int64, id key.ID) (found bool, err error) {
	there, err := w.mark('v', first)
	if err != nil || there == nil {
		return false, err
	}
	b, err := readBlock(w.x.db, w.c, first)
	if err != nil {
		return false, err
	}
	s, err := w.x.stored(context.Background(), w.x.db, w.c, first, b, allBits(b.count))
	if err != nil {
		return false, err
	}
	text := []byte(id.String())
	err = readData(w.x.db, w.c, first, itsNames, func(value []byte) error {
		all := names{Reads: store.Reads{B: value}}
		for i := range b.count {
			name := all.next()
			if all.Bad {
				return store.ErrDamaged
			}
			if name.id == id || !there.has(i) {
				continue
			}
			raw, err := s.object(i)
			if found = bytes.Contains(raw, text); found || err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}
