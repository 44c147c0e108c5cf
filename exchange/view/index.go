package view

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
)

// index adds the objects of a block once all have been taken.
func (w *writer) index() error {
	look := make([]objectID, 0, len(w.added))
	for i := range w.added {
		if a := &w.added[i]; !a.isNew && !a.gone {
			look = append(look, a.id)
		}
	}
	if err := w.lookUp(look...); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	for i := range w.added {
		a := &w.added[i]
		if a.gone {
			continue
		}
		if err := w.add(a.id, a.ver, place{w.first, i}, a.isNew); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	return nil
}

// latest returns the entry of an object's latest version.
func (w *writer) latest(id objectID) (entry, bool, error) {
	if i, ok := w.entries[id]; ok {
		return w.changed[i].entry, true, nil
	}
	if w.indexed {
		return w.v.entry(w.r, w.c, id)
	}
	was, ok := w.were[id]
	if !ok {
		if err := w.lookUp(id); err != nil {
			return entry{}, false, err
		}
		was = w.were[id]
	}
	return was.entry, was.known, nil
}

// was is the entry of an object as it is before the batch, where it has one.
type was struct {
	entry
	known bool
}

// lookUp finds what entries objects have before the batch. It goes along them in the order of their keys: a look
// that begins where the last one was is faster.
func (w *writer) lookUp(ids ...objectID) error {
	rest := make([]objectID, 0, len(ids))
	for i := range inKeyOrder(len(ids), func(i int) objectID { return ids[i] }) {
		w.were[ids[i]] = was{}
		rest = append(rest, ids[i])
	}
	var key []byte
	for epoch := int(w.v.epoch(w.c)); epoch >= 0 && len(rest) > 0; epoch-- {
		left := rest[:0]
		for _, id := range rest {
			key = appendEntryKey(key[:0], w.c, uint16(epoch), id)
			value, found, err := w.before(key)
			if err != nil {
				return err
			}
			if !found {
				left = append(left, id)
				continue
			}
			e, err := decodeEntry(value)
			if err != nil {
				return err
			}
			w.were[id] = was{e, true}
		}
		rest = left
	}
	return nil
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

// add indexes an object at a place: one more place of its version, and where no
// version is later, of the latest. isNew says that there is no other, which saves
// the look.
func (w *writer) add(id objectID, ver version, at place, isNew bool) error {
	if _, twice := w.entries[id]; isNew && !twice {
		w.change(id, entry{ver, once(at)})
		return w.specs(id, at)
	}
	now := once(at)
	old, known, err := w.latest(id)
	if err != nil {
		return err
	}
	switch {
	case !known:
	case ver == old.version: // added again
		w.record.earlier = append(w.record.earlier, again{at.i, old.last})
		now.first = old.first
	case string(ver[:]) > string(old.version[:]): // a newer version
		if err := w.unmark('l', old.span); err != nil {
			return err
		}
		w.older[olderKey{id, old.version}] = old.span
	default: // an older version comes late
		was, found, err := w.olderSpan(olderKey{id, ver})
		if err != nil {
			return err
		}
		if found {
			w.record.earlier = append(w.record.earlier, again{at.i, was.last})
			now.first = was.first
		}
		w.older[olderKey{id, ver}] = now
		w.marks[markKey{'l', at.first}].clear(at.i)
		return nil
	}
	w.change(id, entry{ver, now})
	return w.specs(id, at)
}

// change makes an entry an object's.
func (w *writer) change(id objectID, e entry) {
	if i, ok := w.entries[id]; ok {
		w.changed[i].entry = e
		return
	}
	w.entries[id] = len(w.changed)
	w.changed = append(w.changed, changed{id, e})
}

// specs sees to it that only the newest STIX version of an object counts as its
// latest: id is now the latest of its own, at a place.
func (w *writer) specs(id objectID, at place) error {
	if id.spec == "" && !w.h.mixed {
		return nil
	}
	w.h.mixed = true
	newer := true
	for _, spec := range append([]string{""}, otherSpecs...) {
		if spec == id.spec {
			newer = false
			continue
		}
		other := id
		other.spec = spec
		e, known, err := w.latest(other)
		switch {
		case err != nil:
			return err
		case known && newer: // there is one of a newer STIX
			w.marks[markKey{'l', at.first}].clear(at.i)
			return nil
		case known:
			if err := w.unmark('l', e.span); err != nil {
				return err
			}
		}
	}
	return nil
}

// olderSpan returns where a version that is not the latest stands.
func (w *writer) olderSpan(k olderKey) (span, bool, error) {
	if s, ok := w.older[k]; ok {
		return s, true, nil
	}
	value, found, err := get(w.r, k.append(w.c))
	if err != nil || !found {
		return span{}, false, err
	}
	s, err := decodeSpan(value)
	return s, true, err
}

func (k olderKey) append(c uint32) []byte { return append(olderPrefix(c, k.id), k.ver[:]...) }

// unmark takes a version, everywhere that it stands, out of what is there or out
// of the latest.
func (w *writer) unmark(kind byte, s span) error {
	return w.places(s, func(p place) error {
		set, err := w.mark(kind, p.first)
		if err == nil && set != nil {
			set.clear(p.i)
		}
		return err
	})
}

// mark returns a block's set to change, nil where nothing of it is left.
func (w *writer) mark(kind byte, first int64) (bits, error) {
	k := markKey{kind, first}
	set, ok := w.marks[k]
	if ok {
		return set, nil
	}
	set, found, err := w.v.get(blockKey(kind, w.c, first))
	if err != nil || !found {
		return nil, err
	}
	w.marks[k] = set
	return set, nil
}

// places calls each with every place of a version, from the last back to the
// first. Most stand once: no block has to be read to know that.
func (w *writer) places(s span, each func(place) error) error {
	for p := s.last; ; {
		if err := each(p); err != nil || p == s.first {
			return err
		}
		var ok bool
		var err error
		if p, ok, err = w.stood(p); err != nil {
			return err
		}
		if !ok {
			return ErrDamaged
		}
	}
}

// stood returns the place at which an object stood before it was added at p.
func (w *writer) stood(p place) (place, bool, error) {
	b := &w.record
	if p.first != w.first {
		var err error
		if b, err = readBlock(w.v.db, w.c, p.first); err != nil {
			return place{}, false, err
		}
	}
	was, ok := b.before(p.i)
	return was, ok, nil
}
