package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What members have posted is indexed by id, over all collections, so that a rule that needs to know of an object
// looks in one place; who asks takes of the answer what it may see.

// The kinds of a 'g' key: the version stands, or its label is remembered.
const (
	stands byte = iota
	remembered
)

// idKey starts the keys of an object of either kind.
func idKey(kind byte, id objectID) []byte { return append([]byte{kind}, id.uuid[:]...) }

// postedKey is of a version of an object in a collection.
func postedKey(id objectID, c uint32, ver version, kind byte) []byte {
	k := appendType(idKey('g', id), id.typ, id.spec)
	return append(append(binary.BigEndian.AppendUint32(k, c), ver[:]...), kind)
}

// referredKey is of a reference to an object, by a version of another in a collection.
func referredKey(to objectID, c uint32, from objectID, ver version) []byte {
	return append(appendType(append(referredPrefix(to, c), from.uuid[:]...), from.typ, from.spec), ver[:]...)
}

// referredPrefix starts those of an object in a collection.
func referredPrefix(to objectID, c uint32) []byte {
	return binary.BigEndian.AppendUint32(appendType(idKey('d', to), to.typ, ""), c)
}

// refersBit is added to the labels of what refers to observables.
const refersBit = 0x80

// postedValue has the labels, the object's size, the member's pseudonym and the object's creator.
func postedValue(labels byte, size int, by, creator string) []byte {
	b := binary.AppendUvarint([]byte{labels}, uint64(size))
	return append(append(binary.AppendUvarint(b, uint64(len(by))), by...), creator...)
}

func (v *View) decodePosted(id objectID, key, value []byte) (p record.Posted, err error) {
	r := reads{b: value}
	labels := r.take(1)
	p.Size = r.int()
	by := r.take(r.int())
	if r.bad || len(key) != 4+len(version{})+1 {
		return p, ErrDamaged
	}
	var ver version
	copy(ver[:], key[4:])
	v.mu.Lock()
	p.Collection = v.names[binary.BigEndian.Uint32(key)]
	v.mu.Unlock()
	p.ID, p.SpecVersion, p.Version.Version = id.String(), id.specName(), ver.time()
	p.Label, p.Own = record.UnpackLabels(labels[0] &^ refersBit)
	p.Refers, p.Marked = labels[0]&refersBit != 0, labels[0]&record.Marked != 0
	p.By, p.Creator = string(by), string(r.b)
	p.Remembered = key[len(key)-1] == remembered
	return p, nil
}

// posted indexes an object that a member has posted.
func (w *writer) posted(b stix.Brief, raw []byte, by string, labels byte) error {
	id, _ := scannedID(b) // both were read before
	ver, _ := scannedVersion(b)
	creator := strings.ToLower(string(b.CreatedByRef))
	if refers(raw) {
		h, err := stix.ParseHead(raw)
		if err != nil {
			return errContent // what is wrong with it can tell what is in it
		}
		creator = strings.ToLower(h.CreatedByRef)
		if w.refers(id, ver, &h) {
			labels |= refersBit
		}
	}
	w.set(postedKey(id, w.c, ver, stands), postedValue(labels, len(raw), by, creator))
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

// refers indexes those references of an object that are looked for: all of a context, and those to observables; it tells
// whether there are any of these.
func (w *writer) refers(id objectID, ver version, h *stix.Head) (toObservables bool) {
	all, _ := h.Context()
	for _, ref := range h.Refs {
		if to, ok := parseID([]byte(strings.ToLower(ref))); ok && (to.uuid != id.uuid || to.typ != id.typ) && (all || stix.Observable(to.typ)) {
			w.set(referredKey(to, w.c, id, ver), nil)
			toObservables = toObservables || stix.Observable(to.typ)
		}
	}
	return toObservables
}

// remember indexes what a control block has remembered.
func (w *writer) remember(r *record.Remembered, by string) error {
	id, ok := versionID(r.Version)
	if !ok {
		return fmt.Errorf("%w: what is remembered has no id", errContent)
	}
	w.set(postedKey(id, w.c, versionOf(r.Version.Version), remembered), postedValue(record.PackLabels(r.Label, tlp.None), 0, by, ""))
	return nil
}

// Posted implements submission.Known, as do the methods below.
func (v *View) Posted(ids []string, each func(i int, p *record.Posted) error) (err error) {
	it, err := absent(v.db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for i, text := range ids {
		id, ok := parseID([]byte(text))
		if !ok || id.String() != text {
			continue
		}
		prefix := idKey('g', id)
		for ok := it.SeekPrefixGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
			typ, spec, rest, ok := decodeType(it.Key()[len(prefix):])
			if !ok {
				return ErrDamaged
			}
			if typ != id.typ {
				continue
			}
			value, err := it.ValueAndErr()
			if err != nil {
				return fmt.Errorf("read view: %w", err)
			}
			p, err := v.decodePosted(objectID{id.uuid, typ, spec}, rest, value)
			if err == nil {
				err = each(i, &p)
			}
			if err != nil {
				return err
			}
		}
		if err := it.Error(); err != nil {
			return fmt.Errorf("read view: %w", err)
		}
	}
	return nil
}

// Referring lists the versions that refer to an object in a collection, of those that are indexed. They may stand there
// no more.
func (v *View) Referring(collection, text string) (list []record.Version, err error) {
	to, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known {
		return nil, nil
	}
	it, err := absent(v.db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	prefix := referredPrefix(to, c)
	for ok := it.SeekPrefixGE(prefix); ok && bytes.HasPrefix(it.Key(), prefix); ok = it.Next() {
		from, ver, ok := referrer(it.Key()[len(prefix):])
		if !ok {
			return nil, ErrDamaged
		}
		list = append(list, record.Version{ID: from.String(), SpecVersion: from.specName(), Version: ver.time()})
	}
	return list, it.Error()
}

// referrer reads the end of a 'd' key.
func referrer(b []byte) (id objectID, ver version, ok bool) {
	b = b[copy(id.uuid[:], b):]
	if id.typ, id.spec, b, ok = decodeType(b); len(b) != len(ver) {
		return id, ver, false
	}
	copy(ver[:], b)
	return id, ver, ok
}

// Object returns a version of an object as a collection has it, nil where it does not have it.
func (v *View) Object(ctx context.Context, collection string, want record.Version) ([]byte, error) {
	p, err := v.page(ctx, collection, Query{Limit: 1, IDs: []string{want.ID}, SpecVersions: []string{want.SpecVersion}, Versions: []VersionMatch{{Exactly, want.Version}}})
	if err != nil || p.Count == 0 {
		return nil, err
	}
	list, err := p.Objects()
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Made returns the newest version of what a feed has made and a collection has, nil for none, with the labels of what
// stands beside it: an address carries none, and is as secret as the least secret of them.
func (v *View) Made(ctx context.Context, collection, text string) (raw []byte, beside tlp.Level, err error) {
	id, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known || id.String() != text {
		return nil, tlp.None, nil
	}
	e, found, err := v.entry(v.db, c, id)
	if err != nil || !found {
		return nil, tlp.None, err
	}
	p, err := v.page(ctx, collection, Query{Limit: 1, IDs: []string{text}})
	if err != nil || p.Count == 0 {
		return nil, tlp.None, err
	}
	list, err := p.Objects()
	if err != nil {
		return nil, tlp.None, err
	}
	b, err := readBlock(v.db, c, e.first)
	if err != nil || !stix.Observable(id.typ) {
		return list[0], tlp.None, err
	}
	beside, err = v.leastBeside(ctx, c, e.place, b)
	return list[0], beside, err
}

// leastBeside is the lowest label of the observations that stand in a group of a block.
func (v *View) leastBeside(ctx context.Context, c uint32, p place, b *block) (least tlp.Level, err error) {
	group := allBits(b.count)
	for i := range b.count {
		if b.starts.from(i) != b.starts.from(p.i) {
			group.clear(i)
		}
	}
	s, err := v.stored(ctx, v.db, c, p.first, b, group)
	if err != nil {
		return tlp.None, err
	}
	for i := range group.all(b.count) {
		raw, err := s.object(i)
		if err != nil {
			return tlp.None, err
		}
		h, err := stix.ParseHead(raw)
		if err != nil {
			return tlp.None, err
		}
		if l := h.KnownLabel(); h.Versioned() && l != tlp.None && (least == tlp.None || l < least) {
			least = l
		}
	}
	return least, nil
}
