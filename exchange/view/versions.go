package view

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// wants decides about a version where not just the latest are wanted, as the
// view marks them.
func (r *reader) wants(id objectID, ver version) (bool, error) {
	if r.exact[ver] || r.all {
		// Only another version of STIX can stand in its way.
		if len(r.q.SpecVersions) > 0 || !r.v.mixed(r.c) {
			return true, nil
		}
	}
	specs, err := r.specs(id)
	if err != nil || !slices.Contains(specs, id.spec) {
		return false, err
	}
	if r.exact[ver] || r.all {
		return true, nil
	}
	oldest, newest, err := r.ends(id, specs)
	return r.first && ver == oldest || r.last && ver == newest, err
}

// specs lists the versions of STIX in which an object counts: those that the
// query names, or the newest that there is of it.
func (r *reader) specs(id objectID) (list []string, err error) {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		if len(r.q.SpecVersions) > 0 {
			if slices.Contains(r.q.SpecVersions, id.specName()) {
				list = append(list, id.spec)
			}
			continue
		}
		_, known, err := get(r.db, objectKey('i', r.c, id))
		if err != nil || known {
			return []string{id.spec}, err
		}
	}
	return list, nil
}

// ends are the oldest and the newest version of an object in some versions of
// STIX.
func (r *reader) ends(id objectID, specs []string) (oldest, newest version, err error) {
	some := false
	for _, id.spec = range specs {
		value, found, err := get(r.db, objectKey('i', r.c, id))
		if err != nil {
			return oldest, newest, err
		}
		if !found {
			continue
		}
		last, err := decodeEntry(value)
		if err != nil {
			return oldest, newest, err
		}
		first, older, err := olderVersion(r.db, r.c, id, (*pebble.Iterator).First)
		if err != nil {
			return oldest, newest, err
		}
		if !older {
			first = last
		}
		if !some || bytes.Compare(first.version[:], oldest[:]) < 0 {
			oldest = first.version
		}
		if !some || bytes.Compare(last.version[:], newest[:]) > 0 {
			newest = last.version
		}
		some = true
	}
	return oldest, newest, nil
}

// chosen lists where the versions of an object that the query is after stand.
func (r *reader) chosen(id objectID) (list []span, err error) {
	specs, err := r.specs(id)
	if err != nil {
		return nil, err
	}
	oldest, newest, err := r.ends(id, specs)
	if err != nil {
		return nil, err
	}
	for _, id.spec = range specs {
		if !r.all && !r.first && len(r.exact) == 0 { // usually only the latest is asked for
			value, found, err := get(r.db, objectKey('i', r.c, id))
			if err != nil {
				return nil, err
			}
			if e, err := decodeEntry(value); found && err != nil {
				return nil, err
			} else if found && e.version == newest {
				list = append(list, e.span)
			}
			continue
		}
		versions, err := versions(r.db, r.c, id)
		if err != nil {
			return nil, err
		}
		for _, e := range versions {
			if r.all || r.exact[e.version] || r.first && e.version == oldest || r.last && e.version == newest {
				list = append(list, e.span)
			}
		}
	}
	return list, nil
}

// versions lists all versions of an object and where they stand last, oldest
// version first.
func versions(r pebble.Reader, c uint32, id objectID) ([]entry, error) {
	list, err := olderVersions(r, c, id)
	if err != nil {
		return nil, err
	}
	value, found, err := get(r, objectKey('i', c, id))
	if err != nil || !found {
		return list, err
	}
	e, err := decodeEntry(value)
	return append(list, e), err
}

// olderVersions is versions without the latest.
func olderVersions(r pebble.Reader, c uint32, id objectID) (list []entry, err error) {
	it, lower, err := olderKeys(r, c, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		e, err := olderEntry(it, lower)
		if err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, it.Error()
}

// olderVersion is one of them: where move goes first.
func olderVersion(r pebble.Reader, c uint32, id objectID, move func(*pebble.Iterator) bool) (e entry, found bool, err error) {
	it, lower, err := olderKeys(r, c, id)
	if err != nil {
		return e, false, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !move(it) {
		return e, false, it.Error()
	}
	e, err = olderEntry(it, lower)
	return e, err == nil, err
}

// olderKeys walks over the keys of an object's older versions.
func olderKeys(r pebble.Reader, c uint32, id objectID) (it *pebble.Iterator, lower []byte, err error) {
	lower = objectKey('o', c, id)
	upper := slices.Clone(lower)
	upper[len(upper)-1]++ // the byte after the type's end
	if it, err = r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}); err != nil {
		return nil, nil, fmt.Errorf("read view: %w", err)
	}
	return it, lower, nil
}

func olderEntry(it *pebble.Iterator, lower []byte) (e entry, err error) {
	copy(e.version[:], it.Key()[len(lower):])
	e.span, err = decodeSpan(it.Value())
	return e, err
}

// versionID is the identifier of what a version names.
func versionID(v exchange.Version) (objectID, bool) {
	id, ok := parseID([]byte(v.ID))
	if slices.Contains(otherSpecs, v.SpecVersion) {
		id.spec = v.SpecVersion
	}
	return id, ok && id.String() == v.ID
}

// Has implements exchange.Known, as does Versions.
func (v *View) Has(collection string, want exchange.Version) (bool, error) {
	id, ok := versionID(want)
	c, known := v.number(collection)
	if !ok || !known {
		return false, nil
	}
	ver := versionOf(want.Version)
	value, found, err := v.find(objectKey('i', c, id))
	if err != nil || !found {
		return false, err
	}
	if e, err := decodeEntry(value); err != nil || e.version == ver {
		return err == nil, err
	}
	_, found, err = v.get(olderKey{id, ver}.append(c))
	return found, err
}

// FirstAdded is when a collection was first given what it has of an object.
func (v *View) FirstAdded(collection, text string) (at time.Time, found bool, err error) {
	id, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known {
		return at, false, nil
	}
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	list, err := versions(snapshot, c, id)
	for _, e := range list {
		if added := micros(e.first.added()); !found || added.Before(at) {
			at, found = added, true
		}
	}
	return at, found, err
}

// Versions lists the versions of an object that a collection has, in every
// version of STIX.
func (v *View) Versions(collection, text string) (list []exchange.Version, err error) {
	id, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known || id.String() != text {
		return nil, nil
	}
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		entries, err := versions(snapshot, c, id)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			list = append(list, exchange.Version{ID: text, SpecVersion: id.specName(), Version: e.version.time()})
		}
	}
	return list, nil
}

// Given tells whether a collection has an object, in any version.
func (p *past) Given(collection, text string) (bool, error) {
	c, known := p.v.number(collection)
	id, ok := parseID([]byte(text))
	return known && ok && p.it.SeekPrefixGE(objectKey('i', c, id)), p.it.Error()
}
