// Package members is what members have posted to the view, by id and over all collections, so that a rule that needs to
// know of an object looks in one place; who asks takes of the answer what it may see.
//
// Keys, big-endian, where c is a collection's number:
//
//	g uuid type c version kind        a version that a member has posted, or whose label is remembered (record.Posted)
//	d uuid type c uuid type version   that the version of the second object refers to the first there
package members

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// ErrContent means that what was posted can't be read.
var ErrContent = errors.New("what a member has posted cannot be read")

// Collections are the collections' numbers and names. index.Index is the one there is.
type Collections interface {
	Number(collection string) (uint32, bool)
	Name(c uint32) string
}

// Members is safe for concurrent use.
type Members struct {
	DB          *pebble.DB
	Collections Collections
}

// Prefix is how long the start of a key is that filters ask for: all of an object together.
func Prefix([]byte) int { return 1 + len(key.ID{}.UUID) }

// The kinds of a 'g' key: the version stands, or its label is remembered.
const (
	stands byte = iota
	remembered
)

// idKey starts the keys of an object of either kind.
func idKey(kind byte, id key.ID) []byte { return append([]byte{kind}, id.UUID[:]...) }

// postedKey is of a version of an object in a collection.
func postedKey(id key.ID, c uint32, ver key.Version, kind byte) []byte {
	k := key.AppendType(idKey('g', id), id.Type, id.Spec)
	return append(append(binary.BigEndian.AppendUint32(k, c), ver[:]...), kind)
}

// referredKey is of a reference to an object, by a version of another in a collection.
func referredKey(to key.ID, c uint32, from key.ID, ver key.Version) []byte {
	return append(key.AppendType(append(referredPrefix(to, c), from.UUID[:]...), from.Type, from.Spec), ver[:]...)
}

// referredPrefix starts those of an object in a collection.
func referredPrefix(to key.ID, c uint32) []byte {
	return binary.BigEndian.AppendUint32(key.AppendType(idKey('d', to), to.Type, ""), c)
}

// refersBit is added to the labels of what refers to observables.
const refersBit = 0x80

// postedValue has the labels, the object's size, the member's pseudonym and the object's creator.
func postedValue(labels byte, size int, by, creator string) []byte {
	b := binary.AppendUvarint([]byte{labels}, uint64(size))
	return append(append(binary.AppendUvarint(b, uint64(len(by))), by...), creator...)
}

// decode reads a version of an object; rest is what is behind the object in the key.
func (m *Members) decode(id key.ID, rest, value []byte) (p record.Posted, err error) {
	k, r := store.Reads{B: rest}, store.Reads{B: value}
	c, ver, kind := k.Take(4), k.Take(len(key.Version{})), k.Take(1)
	labels, size := r.Take(1), r.Int()
	by := r.Take(r.Int())
	if k.Bad || r.Bad {
		return p, store.ErrDamaged
	}
	p.Version, p.Collection, p.Size = id.Record(key.Version(ver)), m.Collections.Name(binary.BigEndian.Uint32(c)), size
	p.Label, p.Own = record.UnpackLabels(labels[0] &^ refersBit)
	p.Refers, p.Marked = labels[0]&refersBit != 0, labels[0]&record.Marked != 0
	p.By, p.Creator = string(by), string(r.B)
	p.Remembered = kind[0] == remembered
	return p, nil
}

// Add indexes an object that a member has posted to a collection.
func Add(b *pebble.Batch, c uint32, brief stix.Brief, raw []byte, by string, labels byte) error {
	id, _ := key.Scanned(brief) // both were read before
	ver, _ := key.ParseVersion(brief.Version)
	creator := strings.ToLower(string(brief.CreatedByRef))
	if refers(raw) {
		h, err := stix.ParseHead(raw)
		if err != nil {
			return ErrContent // what is wrong with it can tell what is in it
		}
		creator = strings.ToLower(h.CreatedByRef)
		if addReferences(b, c, id, ver, &h) {
			labels |= refersBit
		}
	}
	store.Set(b, postedKey(id, c, ver, stands), postedValue(labels, len(raw), by, creator))
	return nil
}

// refers tells whether an object may refer to others, without reading it.
func refers(raw []byte) bool {
	if bytes.IndexByte(raw, '\\') >= 0 { // even a key can have an escape
		return true
	}
	for {
		_, rest, found := bytes.Cut(raw, []byte("_ref"))
		if !found {
			return false
		}
		name := raw[:len(raw)-len(rest)]
		if raw = rest; bytes.HasPrefix(rest, []byte("er")) || bytes.HasSuffix(name, []byte(`"created_by_ref`)) || bytes.HasSuffix(name, []byte(`"object_marking_ref`)) {
			continue // external_references, and what is none of others
		}
		return true
	}
}

// addReferences indexes those references of an object that are looked for: all of a context, and those to observables; it
// tells whether there are any of these.
func addReferences(b *pebble.Batch, c uint32, id key.ID, ver key.Version, h *stix.Head) (toObservables bool) {
	all, _ := h.Context()
	for _, ref := range h.Refs {
		if to, ok := key.ParseID([]byte(strings.ToLower(ref))); ok && (to.UUID != id.UUID || to.Type != id.Type) && (all || stix.Observable(to.Type)) {
			store.Set(b, referredKey(to, c, id, ver), nil)
			toObservables = toObservables || stix.Observable(to.Type)
		}
	}
	return toObservables
}

// Remember indexes a version whose label is remembered.
func Remember(b *pebble.Batch, c uint32, r *record.Remembered, by string) error {
	id, ok := key.Of(r.Version)
	if !ok {
		return fmt.Errorf("%w: what is remembered has no id", ErrContent)
	}
	store.Set(b, postedKey(id, c, key.VersionOf(r.Version.Version), remembered), postedValue(record.PackLabels(r.Label, tlp.None), 0, by, ""))
	return nil
}

// Forget takes out that a version stands.
func Forget(b *pebble.Batch, c uint32, id key.ID, ver key.Version) {
	store.Delete(b, postedKey(id, c, ver, stands))
}

// Holds tells whether a member has posted an observable that stands in a collection, or what refers to it there.
func Holds(r pebble.Reader, c uint32, id key.ID) (bool, error) {
	none, err := key.ParseVersion(nil)
	if err != nil {
		return false, err
	}
	if _, found, err := store.Get(r, postedKey(id, c, none, stands)); found || err != nil {
		return found, err
	}
	found := false
	err = store.EachUnder(r, referredPrefix(id, c), func(rest, _ []byte) (more bool, err error) {
		from, ver, ok := referrer(rest)
		if !ok {
			return false, store.ErrDamaged
		}
		_, found, err = store.Get(r, postedKey(from, c, ver, stands))
		return !found, err
	})
	return found, err
}

// Posted implements submission.Known, as does Referring.
func (m *Members) Posted(ids []string, each func(i int, p *record.Posted) error) (err error) {
	it, err := store.NewFiltered(m.DB)
	if err != nil {
		return err
	}
	defer store.Close(&err, it)
	for i, text := range ids {
		id, ok := key.Exact(text)
		if !ok {
			continue
		}
		prefix := idKey('g', id)
		err := it.Each(prefix, func(k, value []byte) (bool, error) {
			typ, spec, rest, ok := key.DecodeType(k[len(prefix):])
			if !ok {
				return false, store.ErrDamaged
			}
			if typ != id.Type {
				return true, nil
			}
			p, err := m.decode(key.ID{UUID: id.UUID, Type: typ, Spec: spec}, rest, value)
			if err == nil {
				err = each(i, &p)
			}
			return true, err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Referring lists the versions that refer to an object in a collection, of those that are indexed. They may stand there
// no more.
func (m *Members) Referring(collection, text string) (list []record.Version, err error) {
	to, ok := key.ParseID([]byte(text))
	c, known := m.Collections.Number(collection)
	if !ok || !known {
		return nil, nil
	}
	it, err := store.NewFiltered(m.DB)
	if err != nil {
		return nil, err
	}
	defer store.Close(&err, it)
	prefix := referredPrefix(to, c)
	err = it.Each(prefix, func(k, _ []byte) (bool, error) {
		from, ver, ok := referrer(k[len(prefix):])
		if !ok {
			return false, store.ErrDamaged
		}
		list = append(list, from.Record(ver))
		return true, nil
	})
	return list, err
}

// referrer reads the end of a 'd' key.
func referrer(b []byte) (id key.ID, ver key.Version, ok bool) {
	b = b[copy(id.UUID[:], b):]
	if id.Type, id.Spec, b, ok = key.DecodeType(b); len(b) != len(ver) {
		return id, ver, false
	}
	copy(ver[:], b)
	return id, ver, ok
}
