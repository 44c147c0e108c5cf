package view

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// wants decides about a version where not just the latest are wanted, as the
// view marks them.
func (r *reader) wants(id objectID, ver version) (bool, error) {
	any := r.all || r.exact[ver]
	if any && (len(r.q.SpecVersions) > 0 || !r.v.mixed(r.c)) {
		return true, nil // only another version of STIX can stand in its way
	}
	list, err := r.counting(id)
	if err != nil || !slices.ContainsFunc(list, func(x counting) bool { return x.spec == id.spec }) {
		return false, err
	}
	if any {
		return true, nil
	}
	oldest, newest, err := r.ends(list)
	return r.first && ver == oldest || r.last && ver == newest, err
}

// counting is an object in a version of STIX in which it counts, and its latest version there.
type counting struct {
	objectID
	entry
}

// counting lists an object in those versions of STIX that the query names, or in the newest that there
// is of it.
func (r *reader) counting(id objectID) (list []counting, err error) {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, id.specName()) {
			continue
		}
		e, known, err := r.v.entry(r.db, r.c, id)
		if err != nil {
			return nil, err
		}
		if !known {
			continue
		}
		if list = append(list, counting{id, e}); len(r.q.SpecVersions) == 0 {
			break
		}
	}
	return list, nil
}

// ends are the oldest and the newest version of an object.
func (r *reader) ends(list []counting) (oldest, newest version, err error) {
	for i, x := range list {
		first, older, err := olderVersion(r.db, r.c, x.objectID, (*pebble.Iterator).First)
		if err != nil {
			return oldest, newest, err
		}
		if !older {
			first = x.entry
		}
		if i == 0 || bytes.Compare(first.version[:], oldest[:]) < 0 {
			oldest = first.version
		}
		newest = later(newest, x.version)
	}
	return oldest, newest, nil
}

// chosen lists where the versions of an object that the query is after stand.
func (r *reader) chosen(id objectID) (spans []span, err error) {
	list, err := r.counting(id)
	if err != nil {
		return nil, err
	}
	if !r.all && !r.first && len(r.exact) == 0 { // usually only the latest is asked for
		var newest version
		for _, x := range list {
			newest = later(newest, x.version)
		}
		for _, x := range list {
			if x.version == newest {
				spans = append(spans, x.span)
			}
		}
		return spans, nil
	}
	oldest, newest, err := r.ends(list)
	if err != nil {
		return nil, err
	}
	for _, x := range list {
		versions, err := olderVersions(r.db, r.c, x.objectID)
		if err != nil {
			return nil, err
		}
		for _, e := range append(versions, x.entry) {
			if r.all || r.exact[e.version] || r.first && e.version == oldest || r.last && e.version == newest {
				spans = append(spans, e.span)
			}
		}
	}
	return spans, nil
}

// versions lists all versions of an object and where they stand last, oldest
// version first.
func (v *View) versions(r pebble.Reader, c uint32, id objectID) ([]entry, error) {
	list, err := olderVersions(r, c, id)
	if err != nil {
		return nil, err
	}
	e, known, err := v.entry(r, c, id)
	if known {
		list = append(list, e)
	}
	return list, err
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
	lower = olderPrefix(c, id)
	upper := slices.Clone(lower)
	upper[len(upper)-1]++ // the byte after the type's end
	if it, err = r.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper}); err != nil {
		return nil, nil, fmt.Errorf("read view: %w", err)
	}
	return it, lower, nil
}

func olderEntry(it *pebble.Iterator, lower []byte) (e entry, err error) {
	copy(e.version[:], it.Key()[len(lower):])
	value, err := it.ValueAndErr()
	if err == nil {
		e.span, err = decodeSpan(value)
	}
	return e, err
}

// versionID is the identifier of what a version names.
func versionID(v record.Version) (objectID, bool) {
	id, ok := parseID([]byte(v.ID))
	if slices.Contains(otherSpecs, v.SpecVersion) {
		id.spec = v.SpecVersion
	}
	return id, ok && id.String() == v.ID
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
	list, err := v.versions(snapshot, c, id)
	for _, e := range list {
		if added := micros(e.first.added()); !found || added.Before(at) {
			at, found = added, true
		}
	}
	return at, found, err
}

// Versions lists the versions of an object that a collection has, in every
// version of STIX.
func (v *View) Versions(collection, text string) (list []record.Version, err error) {
	err = v.eachEntry(collection, text, func(_ pebble.Reader, _ uint32, id objectID, e entry) error {
		list = append(list, record.Version{ID: text, SpecVersion: id.specName(), Version: e.version.time()})
		return nil
	})
	return list, err
}

// eachEntry calls f with each version of an object that a collection has, in every version of STIX.
func (v *View) eachEntry(collection, text string, f func(r pebble.Reader, c uint32, id objectID, e entry) error) (err error) {
	id, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known || id.String() != text {
		return nil
	}
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		entries, err := v.versions(snapshot, c, id)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := f(snapshot, c, id, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func later(a, b version) version {
	if bytes.Compare(a[:], b[:]) < 0 {
		return b
	}
	return a
}

// Has tells whether a collection has a version of an object.
func (v *View) Has(collection string, want record.Version) (bool, error) {
	id, ok := versionID(want)
	c, known := v.number(collection)
	if !ok || !known {
		return false, nil
	}
	ver := versionOf(want.Version)
	e, found, err := v.entry(v.db, c, id)
	if err != nil || !found || e.version == ver {
		return found, err
	}
	_, found, err = v.get(olderKey{id, ver}.append(c))
	return found, err
}
