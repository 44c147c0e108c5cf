package view

import (
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// latest is what the batch knows of an object: its latest version, as it will be.
type latest struct {
	id objectID
	entry
	there   bool // there is one
	changed bool // by the batch
}

// index adds the objects of a block once all have been taken.
func (w *writer) index() error {
	look := make([]objectID, 0, len(w.added))
	for i := range w.added {
		if a := &w.added[i]; !a.isNew && !a.gone {
			look = append(look, a.id)
		}
	}
	err := w.lookUp(look...)
	for i := 0; i < len(w.added) && err == nil; i++ {
		if a := &w.added[i]; !a.gone {
			err = w.add(a, place{w.first, i})
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return nil
}

// latest returns what the batch knows of an object; it is good until the next call.
func (w *writer) latest(id objectID) (*latest, error) {
	i, ok := w.byID[id]
	if !ok {
		if err := w.lookUp(id); err != nil {
			return nil, err
		}
		i = w.byID[id]
	}
	return &w.objects[i], nil
}

// lookUp reads the latest versions of objects. It goes along them in the order of their keys: a look
// that begins where the last one was is faster.
func (w *writer) lookUp(ids ...objectID) error {
	rest := make([]int, 0, len(ids))
	for i := range inKeyOrder(len(ids), func(i int) objectID { return ids[i] }) {
		if _, ok := w.byID[ids[i]]; !ok {
			rest = append(rest, w.enter(ids[i]))
		}
	}
	var key []byte
	for epoch := int(w.v.epoch(w.c)); epoch >= 0 && len(rest) > 0; epoch-- {
		left := rest[:0]
		for _, i := range rest {
			o := &w.objects[i]
			key = appendEntryKey(key[:0], w.c, uint16(epoch), o.id)
			value, found, err := w.before(key)
			if found && err == nil {
				o.there = true
				o.entry, err = decodeEntry(value)
			}
			if err != nil {
				return err
			}
			if !found {
				left = append(left, i)
			}
		}
		rest = left
	}
	return nil
}

// enter makes an object known to the batch.
func (w *writer) enter(id objectID) int {
	w.byID[id] = len(w.objects)
	w.objects = append(w.objects, latest{id: id})
	return len(w.objects) - 1
}

// before returns what a key has before the batch; it is good until the next look.
func (w *writer) before(key []byte) (value []byte, found bool, err error) {
	if w.it == nil {
		if w.it, err = absent(w.v.db); err != nil {
			return nil, false, err
		}
	}
	if value, found, err = at(w.it, key); err != nil {
		return nil, false, fmt.Errorf("read view: %w", err)
	}
	return value, found, nil
}

// absent makes an iterator for keys that are usually not there: unlike Get, it
// asks the filters of the lowest level too. SeekPrefixGE finds what has the key's prefix, which for most is the key.
func absent(db *pebble.DB) (*pebble.Iterator, error) {
	it, err := db.NewIter(&pebble.IterOptions{UseL6Filters: true})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	return it, nil
}

// add indexes an object at a place, which is behind all others.
func (w *writer) add(a *addition, at place) error {
	if _, twice := w.byID[a.id]; a.isNew && !twice { // nothing is to be looked up
		w.enter(a.id)
	}
	o, err := w.latest(a.id)
	if err != nil {
		return err
	}
	was := o.entry
	switch {
	case !o.there:
		o.entry = entry{version: a.ver, place: at}
	case a.ver == was.version:
		if err := w.again(was.place); err != nil {
			return err
		}
		w.other(a.id, a.ver, was.place)
		o.place, o.again = at, true
	case a.ver.after(was.version):
		if err := w.unmark('l', a.id, was); err != nil {
			return err
		}
		w.other(a.id, was.version, was.place)
		o.entry = entry{version: a.ver, place: at, older: true}
	default: // an older version comes late
		o.older, o.changed = true, true
		places, err := w.places(a.id, a.ver)
		if err == nil && len(places) > 0 {
			err = w.again(places[len(places)-1])
		}
		w.other(a.id, a.ver, at)
		w.marks[markKey{'l', at.first}].clear(at.i)
		return err
	}
	o.there, o.changed = true, true
	return w.specs(a.id, at)
}

// other notes a place that is not the newest of the latest version.
func (w *writer) other(id objectID, ver version, p place) {
	w.set(otherKey(w.c, id, ver, p), nil)
	of := versionKey{id, ver}
	w.others[of] = append(w.others[of], p)
}

// places lists where a version stands, oldest place first, but for the newest of the latest version.
func (w *writer) places(id objectID, ver version) (list []place, err error) {
	err = eachOther(w.r, w.c, id, ver[:], func(_ version, p place) { list = append(list, p) })
	return append(list, w.others[versionKey{id, ver}]...), err
}

// again notes that what stands at a place stands at a later one too.
func (w *writer) again(p place) error { return w.include('r', p) }

// include puts a place into a set.
func (w *writer) include(kind byte, p place) error {
	set, err := w.mark(kind, p.first)
	set = set.grown(p.i)
	set.set(p.i)
	w.marks[markKey{kind, p.first}] = set
	return err
}

// specs sees to it that only the newest STIX version of an object counts as its
// latest: id is now the latest of its own, at a place.
func (w *writer) specs(id objectID, at place) error {
	if id.spec == "" && !w.h.mixed {
		return nil
	}
	w.h.mixed = true
	own := slices.Index(specs, id.spec)
	for i, spec := range specs {
		other := id
		other.spec = spec
		o, err := w.latest(other)
		switch {
		case err != nil:
			return err
		case !o.there || i == own:
		case i < own: // there is one of a newer STIX
			w.marks[markKey{'l', at.first}].clear(at.i)
			return nil
		default:
			if err := w.unmark('l', other, o.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmark takes a version, everywhere that it stands, out of what is there or out of the latest.
func (w *writer) unmark(kind byte, id objectID, e entry) error {
	return w.everywhere(id, e, func(p place) error {
		set, err := w.mark(kind, p.first)
		set.clear(p.i)
		return err
	})
}

// everywhere calls each with all places of a version.
func (w *writer) everywhere(id objectID, e entry, each func(place) error) error {
	list := []place{e.place}
	if e.again { // most stand once
		others, err := w.places(id, e.version)
		if err != nil {
			return err
		}
		list = append(list, others...)
	}
	for _, p := range list {
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

// mark returns a block's set to change, nil where there is none.
func (w *writer) mark(kind byte, first int64) (bits, error) {
	k := markKey{kind, first}
	if set, ok := w.marks[k]; ok {
		return set, nil
	}
	set, found, err := w.v.get(blockKey(kind, w.c, first))
	if err != nil || !found {
		return nil, err
	}
	w.marks[k] = set
	return set, nil
}
