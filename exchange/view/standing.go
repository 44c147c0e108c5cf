package view

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What members add has one standing on the whole exchange, whatever the collections that it
// is in: who added it first, its label, its newest version.

// standing is the value of a 'g' key.
type standing struct {
	label       tlp.Level
	newest      version
	by, creator string
	collections []uint32 // that were ever given it
}

func standingKey(id objectID) []byte {
	return appendType(append([]byte{'g'}, id.uuid[:]...), id.typ, "")
}

// apartKey is that of what is known of an object in one collection alone.
func apartKey(id objectID, c uint32) []byte {
	return binary.BigEndian.AppendUint32(standingKey(id), c)
}

// disclosedKey starts the keys of the objects that disclose one, by their ids.
func disclosedKey(id objectID) []byte {
	return appendType(append([]byte{'d'}, id.uuid[:]...), id.typ, "")
}

func (s *standing) append(b []byte) []byte {
	b = append(append(b, byte(s.label)), s.newest[:]...)
	for _, t := range []string{s.by, s.creator} {
		b = append(binary.AppendUvarint(b, uint64(len(t))), t...)
	}
	for _, c := range s.collections {
		b = binary.AppendUvarint(b, uint64(c))
	}
	return b
}

func decodeStanding(b []byte) (*standing, error) {
	s := new(standing)
	if len(b) < 13 {
		return nil, ErrDamaged
	}
	s.label = tlp.Level(b[0])
	copy(s.newest[:], b[1:])
	b = b[13:]
	for _, t := range []*string{&s.by, &s.creator} {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return nil, ErrDamaged
		}
		*t, b = string(b[size:size+int(n)]), b[size+int(n):]
	}
	for len(b) > 0 {
		c, size := binary.Uvarint(b)
		if size <= 0 {
			return nil, ErrDamaged
		}
		s.collections, b = append(s.collections, uint32(c)), b[size:]
	}
	return s, nil
}

func later(a, b version) version {
	if bytes.Compare(a[:], b[:]) < 0 {
		return b
	}
	return a
}

func readStanding(find func(key []byte) ([]byte, bool, error), key []byte) (*standing, bool, error) {
	value, found, err := find(key)
	if err != nil || !found {
		return nil, false, err
	}
	s, err := decodeStanding(value)
	return s, err == nil, err
}

// find looks up a key that is usually not there.
func (w *writer) find(key []byte) ([]byte, bool, error) {
	if w.indexed {
		return get(w.r, key)
	}
	return w.v.find(key)
}

// standing returns what is kept under a key as it is before the block; a new one where nothing is.
func (w *writer) standing(key []byte) (*standing, error) {
	s, known, err := readStanding(w.find, key)
	if err != nil || known {
		return s, err
	}
	return new(standing), nil
}

// posted notes that a member has added an object, under a label as a block says it.
func (w *writer) posted(b stix.Brief, raw []byte, by string, label byte, apart bool) error {
	id, _ := scannedID(b) // both were read before
	ver, _ := scannedVersion(b)
	key := standingKey(id)
	if apart {
		key = apartKey(id, w.c)
	}
	s := w.stand[string(key)]
	if s == nil {
		var err error
		if s, err = w.standing(key); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		w.stand[string(key)] = s
	}
	first, discloses := s.by == "", (&stix.Head{Type: id.typ}).Discloses()
	if first {
		s.by, s.creator = by, strings.ToLower(string(b.CreatedByRef))
	}
	if discloses || first && bytes.IndexByte(raw, '\\') >= 0 { // even a key can have an escape
		h, err := stix.ParseHead(raw)
		if err != nil {
			return errContent // what is wrong with it can tell what is in it
		}
		if first {
			s.creator = strings.ToLower(h.CreatedByRef)
		}
		if discloses {
			w.discloses(id, h.Refs)
		}
	}
	if label&record.Relayed == 0 {
		s.label = tlp.Level(label)
	}
	s.newest = later(s.newest, ver)
	if !slices.Contains(s.collections, w.c) {
		s.collections = append(s.collections, w.c)
	}
	return nil
}

// discloses notes what an object refers to, for the day that its label is raised.
func (w *writer) discloses(id objectID, refs []string) {
	for _, ref := range refs {
		if to, ok := parseID([]byte(strings.ToLower(ref))); ok {
			w.set(appendType(append(disclosedKey(to), id.uuid[:]...), id.typ, ""), nil)
		}
	}
}

// Standings implements submission.Known, as does Disclosing.
func (v *View) Standings(text string) (list []*record.Standing, err error) {
	id, ok := parseID([]byte(text))
	if !ok || id.String() != text {
		return nil, nil
	}
	first := standingKey(id)
	of, known, err := readStanding(v.find, first)
	if err != nil {
		return nil, err
	}
	if known {
		list = append(list, v.known(of, ""))
	} else if s, err := v.published(id); err != nil || s == nil {
		return nil, err // nothing stands apart from nothing
	} else {
		list = append(list, s)
	}
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: append(first, 0), UpperBound: append(apartKey(id, math.MaxUint32), 0)})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, fmt.Errorf("read view: %w", err)
		}
		if of, err = decodeStanding(value); err != nil {
			return nil, err
		}
		v.mu.Lock()
		apart := v.names[binary.BigEndian.Uint32(it.Key()[len(first):])]
		v.mu.Unlock()
		list = append(list, v.known(of, apart))
	}
	return list, it.Error()
}

// standingIn returns what is known of an object in a collection, nil for nothing.
func (v *View) standingIn(collection, text string) (*record.Standing, error) {
	list, err := v.Standings(text)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	for _, s := range list {
		if s.Apart == collection {
			return s, nil
		}
	}
	return list[0], nil
}

// known is a standing as the exchange has it; apart is the collection that it is of alone.
func (v *View) known(s *standing, apart string) *record.Standing {
	out := &record.Standing{Apart: apart, By: s.by, Creator: s.creator, Label: s.label, Newest: s.newest.time()}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, c := range s.collections {
		out.Collections = append(out.Collections, v.names[c])
	}
	slices.Sort(out.Collections)
	return out
}

// Disclosing lists objects that members have added and that disclose one, behind the one that is
// after, at most limit of them, in the order of their ids' digits.
func (v *View) Disclosing(text, after string, limit int) (list []string, err error) {
	id, ok := parseID([]byte(text))
	if !ok {
		return nil, nil
	}
	it, err := absent(v.db)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	start := disclosedKey(id)
	seek := start
	if behind, ok := parseID([]byte(after)); ok {
		seek = append(appendType(append(slices.Clone(start), behind.uuid[:]...), behind.typ, ""), 0)
	}
	for ok := it.SeekPrefixGE(seek); ok && len(list) < limit && bytes.HasPrefix(it.Key(), start); ok = it.Next() {
		from, ok := referrer(it.Key()[len(start):])
		if !ok {
			return nil, ErrDamaged
		}
		list = append(list, from.String())
	}
	return list, it.Error()
}

// referrer reads the id at the end of a 'd' key.
func referrer(b []byte) (id objectID, ok bool) {
	n := copy(id.uuid[:], b)
	id.typ, _, _, ok = decodeType(b[n:])
	return id, ok
}

// published is the standing of an object that a feed has made; it is in the feed's own collection.
func (v *View) published(id objectID) (*record.Standing, error) {
	v.mu.Lock()
	feeds := v.feeds
	v.mu.Unlock()
	for _, c := range feeds {
		_, found, err := v.entry(v.db, c, id)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		v.mu.Lock()
		name := v.names[c]
		v.mu.Unlock()
		p, err := v.page(context.Background(), name, Query{Limit: 1, IDs: []string{id.String()}})
		if err != nil || p.Count == 0 {
			return nil, err
		}
		raw, err := p.Objects()
		if err != nil {
			return nil, err
		}
		h, err := stix.ParseHead(raw[0])
		if err != nil {
			return nil, err
		}
		if h.Modified == "" {
			return nil, nil // everybody's
		}
		at, err := h.Version()
		label, _ := h.Label() // it is ours
		return &record.Standing{Creator: h.CreatedByRef, Label: label, Newest: at}, err
	}
	return nil, nil
}

// Withdrawal is what left a collection at a time because its label was raised.
type Withdrawal struct {
	At  time.Time `json:"at"`
	IDs []string  `json:"ids"`
}

// Withdrawn lists what was withdrawn from a collection behind an instant, oldest first, at most
// limit times.
func (v *View) Withdrawn(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return v.removals(right, after, limit, func(r *record.Removal) (ids []string) {
		for _, o := range r.Objects {
			ids = append(ids, o.ID)
		}
		return ids
	})
}

// Removed is Withdrawn of all that was taken out, also where a version of it is left.
func (v *View) Removed(right policy.Read, after time.Time, limit int) ([]Withdrawal, error) {
	return v.removals(right, after, limit, func(r *record.Removal) (ids []string) {
		for _, o := range r.Objects {
			ids = append(ids, o.ID)
		}
		for _, o := range r.Versions {
			ids = append(ids, o.ID)
		}
		return ids
	})
}

// Raised lists objects whose labels were raised behind a block, of whatever collection, at most those of
// limit blocks, and the last of these blocks.
func (v *View) Raised(after uint64, limit int) (ids []string, last uint64, err error) {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: raisedKey(after + 1), UpperBound: []byte{'r' + 1}})
	if err != nil {
		return nil, 0, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok && limit > 0; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return nil, 0, fmt.Errorf("read view: %w", err)
		}
		var some []string
		if err := json.Unmarshal(value, &some); err != nil {
			return nil, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		ids, last, limit = append(ids, some...), binary.BigEndian.Uint64(it.Key()[1:]), limit-1
	}
	return ids, last, it.Error()
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
