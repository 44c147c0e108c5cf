package view

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
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
	d, err := b.Removal(text)
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
		if err := w.remove(id, ver); err != nil {
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
	for i := range d.Remembered {
		if err := w.remember(&d.Remembered[i], b.By); err != nil {
			return err
		}
	}
	if len(d.Objects)+len(d.Versions)+len(d.Withdrawn)+len(d.Raised) == 0 {
		return nil
	}
	if err := w.told(d); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	if text, err = json.Marshal(d); err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	w.set(blockKey('w', w.c, first), text)
	w.withdrew = first
	return nil
}

// told leaves those withdrawals that readers are told of: of an object that has another version left, they aren't.
func (w *writer) told(d *record.Removal) error {
	all := d.Withdrawn
	d.Withdrawn = nil
	for _, v := range all {
		id, _ := versionID(v)
		_, left, err := w.latest(id)
		if err != nil {
			return err
		}
		if left {
			d.Versions = append(d.Versions, v)
		} else {
			d.Withdrawn = append(d.Withdrawn, v)
		}
	}
	return nil
}

// withdraw takes an object out in all its versions.
func (w *writer) withdraw(id objectID) error {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		list, err := w.v.versions(w.r, w.c, id)
		if err != nil {
			return err
		}
		for _, e := range list {
			if id.typ == "observed-data" {
				if err := w.withdrawTraffic(id, e.last); err != nil {
					return err
				}
			}
			if err := w.remove(id, e.version); err != nil {
				return err
			}
		}
	}
	return nil
}

// remove takes a version of an object out. Where it was the latest, the one
// before takes its place.
func (w *writer) remove(id objectID, ver version) error {
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
		return w.unmark('v', s)
	}
	if err := errors.Join(w.unmark('v', e.span), w.unmark('l', e.span)); err != nil {
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

// withdrawTraffic takes out the contacts that an observation refers to, each version has its own, but for those that
// another one brought as well: of the same contact, with another location.
func (w *writer) withdrawTraffic(of objectID, at place) error {
	b, err := readBlock(w.v.db, w.c, at.first)
	if err != nil {
		return err
	}
	s, err := w.v.stored(context.Background(), w.v.db, w.c, at.first, b, oneBit(at.i))
	if err != nil {
		return err
	}
	raw, err := s.object(at.i)
	if err != nil {
		return err
	}
	h, err := stix.ParseHead(raw)
	if err != nil {
		return err
	}
	for _, ref := range h.Refs {
		traffic, ok := parseID([]byte(ref))
		if !ok || traffic.typ != "network-traffic" {
			continue
		}
		if other, err := w.broughtByOther(traffic, of); err != nil || other {
			if err != nil {
				return err
			}
			continue
		}
		if err := w.withdraw(traffic); err != nil {
			return err
		}
	}
	return nil
}

// broughtByOther tells whether an object stands beside another observation that is there, in a group of it.
func (w *writer) broughtByOther(id, of objectID) (found bool, err error) {
	list, err := w.v.versions(w.r, w.c, id)
	if err != nil {
		return false, err
	}
	for _, e := range list {
		err := w.places(e.span, func(p place) error {
			b, err := readBlock(w.v.db, w.c, p.first)
			if err != nil {
				return err
			}
			there, err := w.mark('v', p.first)
			if err != nil {
				return err
			}
			return readData(w.v.db, w.c, p.first, itsNames, func(value []byte) error {
				n := names{reads: reads{b: value}}
				for i := range b.count {
					name := n.next()
					if n.bad {
						return ErrDamaged
					}
					if name.id.typ == "observed-data" && name.id.uuid != of.uuid && there.has(i) && b.starts.from(i) == b.starts.from(p.i) {
						found = true
					}
				}
				return nil
			})
		})
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}
