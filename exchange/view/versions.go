package view

import (
	"errors"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// standing is a version of an object, in a version of STIX, and where it stands last.
type standing struct {
	spec string
	entry
}

// wants decides about a version where not just the latest are wanted, as the view marks them.
func (r *reader) wants(id objectID, ver version) (bool, error) {
	if (r.all || r.exact[ver]) && (len(r.q.SpecVersions) > 0 || !r.v.mixed(r.c)) {
		return true, nil // only another version of STIX can stand in its way
	}
	all := id
	all.spec = ""
	list, known := r.chosen[all]
	if !known {
		var err error
		if list, err = r.choose(id); err != nil {
			return false, err
		}
		if len(r.chosen) == maxChosen {
			clear(r.chosen)
		}
		r.chosen[all] = list
	}
	return slices.ContainsFunc(list, func(s standing) bool { return s.spec == id.spec && s.version == ver }), nil
}

// maxChosen bounds the objects whose wanted versions are kept in mind for a page.
const maxChosen = 4096

// choose lists the versions of an object that the query is after: in those versions of STIX that it names, or in the
// newest that there is of it.
func (r *reader) choose(id objectID) (list []standing, err error) {
	for _, id.spec = range specs {
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, id.specName()) {
			continue
		}
		var some []entry
		if some, err = r.v.versions(r.db, r.c, id, r.onlyLast()); err != nil {
			return nil, err
		}
		for _, e := range some {
			list = append(list, standing{id.spec, e})
		}
		if len(list) > 0 && len(r.q.SpecVersions) == 0 {
			break
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	oldest, newest := list[0].version, list[0].version
	for _, s := range list {
		if oldest.after(s.version) {
			oldest = s.version
		}
		if s.version.after(newest) {
			newest = s.version
		}
	}
	return slices.DeleteFunc(list, func(s standing) bool {
		return !r.all && !r.exact[s.version] && !(r.first && s.version == oldest) && !(r.last && s.version == newest)
	}), nil
}

// versions lists the versions of an object, or the latest alone, oldest first, and where each stands last.
func (v *View) versions(r pebble.Reader, c uint32, id objectID, last bool) (list []entry, err error) {
	e, known, err := v.entry(r, c, id)
	if err != nil || !known {
		return nil, err
	}
	if e.older && !last {
		err = eachOther(r, c, id, nil, func(ver version, p place) {
			if n := len(list); n > 0 && list[n-1].version == ver {
				list[n-1].place = p
			} else if ver != e.version {
				list = append(list, entry{version: ver, place: p})
			}
		})
	}
	return append(list, e), err
}

// versionID is the identifier of what a version names.
func versionID(v record.Version) (objectID, bool) {
	id, ok := parseID([]byte(v.ID))
	if slices.Contains(specs, v.SpecVersion) {
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
	e, found, err := v.entry(snapshot, c, id)
	if err != nil || !found {
		return at, false, err
	}
	first := e.added()
	err = eachOther(snapshot, c, id, nil, func(_ version, p place) { first = min(first, p.added()) })
	return micros(first), err == nil, err
}

// Versions lists the versions of an object that a collection has, in every
// version of STIX.
func (v *View) Versions(collection, text string) (list []record.Version, err error) {
	id, ok := parseID([]byte(text))
	c, known := v.number(collection)
	if !ok || !known || id.String() != text {
		return nil, nil
	}
	snapshot := v.db.NewSnapshot()
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	for _, id.spec = range specs {
		entries, err := v.versions(snapshot, c, id, false)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			list = append(list, record.Version{ID: text, SpecVersion: id.specName(), Version: e.version.time()})
		}
	}
	return list, nil
}

// Has tells whether a collection has a version of an object.
func (v *View) Has(collection string, want record.Version) (found bool, err error) {
	id, ok := versionID(want)
	c, known := v.number(collection)
	if !ok || !known {
		return false, nil
	}
	ver := versionOf(want.Version)
	e, known, err := v.entry(v.db, c, id)
	if err != nil || !known || e.version == ver {
		return known, err
	}
	err = eachOther(v.db, c, id, ver[:], func(version, place) { found = true })
	return found, err
}
