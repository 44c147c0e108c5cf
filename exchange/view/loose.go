package view

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
)

// An observable that a feed has made leaves a collection with the last object there that refers to it.

// looseEnds notes the observables that the object at a place refers to, which is about to leave.
func (w *writer) looseEnds(at place) error {
	raw, err := w.objectAt(at)
	if err != nil {
		return err
	}
	h, err := stix.ParseHead(raw)
	if err != nil {
		return err
	}
	for _, ref := range h.Refs {
		if id, ok := parseID([]byte(strings.ToLower(ref))); ok && stix.Observable(id.typ) && !slices.Contains(w.loose, id) {
			w.loose = append(w.loose, id)
		}
	}
	return nil
}

// objectAt returns the object at a place.
func (w *writer) objectAt(at place) ([]byte, error) {
	b, err := readBlock(w.v.db, w.c, at.first)
	if err != nil {
		return nil, err
	}
	s, err := w.v.stored(context.Background(), w.v.db, w.c, at.first, b, oneBit(at.i))
	if err != nil {
		return nil, err
	}
	return s.object(at.i)
}

// withdrawUnreferred takes out those of the noted observables that nothing refers to any more, and what they alone refer
// to.
func (w *writer) withdrawUnreferred() error {
	for tried := 0; tried < len(w.loose); {
		tried = 0
		for _, id := range slices.Clone(w.loose) {
			stays, err := w.stays(id)
			if err != nil {
				return err
			}
			if stays {
				tried++
				continue
			}
			w.loose = slices.DeleteFunc(w.loose, func(o objectID) bool { return o == id })
			if err := w.withdraw(id); err != nil {
				return err
			}
		}
	}
	return nil
}

// stays tells whether a member has posted an observable, or anything there refers to it.
func (w *writer) stays(id objectID) (bool, error) {
	if posted, err := w.postedHere(id); posted || err != nil {
		return posted, err
	}
	if referred, err := w.referredByMember(id); referred || err != nil {
		return referred, err
	}
	o, err := w.latest(id)
	if err != nil || !o.there {
		return false, err
	}
	places := []place{o.place}
	if err := eachOther(w.r, w.c, id, nil, func(_ version, p place) { places = append(places, p) }); err != nil {
		return false, err
	}
	for _, p := range places {
		// What refers to it is in a block with it: each block of a feed has what it refers to.
		if found, err := w.referredIn(p.first, id); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// referredIn tells whether anything that is there of a block refers to an observable.
func (w *writer) referredIn(first int64, id objectID) (bool, error) {
	there, err := w.mark('v', first)
	if err != nil || there == nil {
		return false, err
	}
	b, err := readBlock(w.v.db, w.c, first)
	if err != nil {
		return false, err
	}
	s, err := w.v.stored(context.Background(), w.v.db, w.c, first, b, allBits(b.count))
	if err != nil {
		return false, err
	}
	text, all, i := []byte(id.String()), names{}, -1
	found := false
	err = readData(w.v.db, w.c, first, itsNames, func(value []byte) error {
		all.b = value
		for i = range b.count {
			name := all.next()
			if all.bad {
				return ErrDamaged
			}
			if name.id == id || !there.has(i) {
				continue
			}
			raw, err := s.object(i)
			if err != nil {
				return err
			}
			if found = bytes.Contains(raw, text); found {
				return nil
			}
		}
		return nil
	})
	return found, err
}

// postedHere tells whether a member has posted an object that stands there.
func (w *writer) postedHere(id objectID) (bool, error) {
	none, err := versionNamed(nil)
	if err != nil {
		return false, err
	}
	_, found, err := get(w.r, postedKey(id, w.c, none, stands))
	return found, err
}

// referredByMember tells whether a version refers to an observable that a member has posted and that stands there.
func (w *writer) referredByMember(id objectID) (found bool, err error) {
	prefix := referredPrefix(id, w.c)
	it, err := under(w.r, prefix)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && !found && err == nil; ok = it.Next() {
		from, ver, ok := referrer(it.Key()[len(prefix):])
		if !ok {
			return false, ErrDamaged
		}
		_, found, err = get(w.r, postedKey(from, w.c, ver, stands))
	}
	return found, errors.Join(err, it.Error())
}
