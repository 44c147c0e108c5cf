package index

import (
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// standing is a version of an object, in a version of STIX, and where it stands last.
type standing struct {
	spec string
	entry
}

// wants decides about a version where not just the latest are wanted, as the view marks them.
func (r *reader) wants(id key.ID, ver key.Version) (bool, error) {
	if (r.all || r.exact[ver]) && (len(r.q.SpecVersions) > 0 || !r.x.isMixed(r.c)) {
		return true, nil // only another version of STIX can stand in its way
	}
	all := id
	all.Spec = ""
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
	return slices.ContainsFunc(list, func(s standing) bool { return s.spec == id.Spec && s.version == ver }), nil
}

// maxChosen bounds the objects whose wanted versions are kept in mind for a page.
const maxChosen = 4096

// choose lists the versions of an object that the query is after: in those versions of STIX that it names, or in the
// newest that there is of it.
func (r *reader) choose(id key.ID) (list []standing, err error) {
	for _, id.Spec = range key.Specs {
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, id.SpecName()) {
			continue
		}
		var some []entry
		if some, err = r.x.versions(r.db, r.c, id, r.onlyLast()); err != nil {
			return nil, err
		}
		for _, e := range some {
			list = append(list, standing{id.Spec, e})
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
		if oldest.After(s.version) {
			oldest = s.version
		}
		if s.version.After(newest) {
			newest = s.version
		}
	}
	return slices.DeleteFunc(list, func(s standing) bool {
		return !r.all && !r.exact[s.version] && !(r.first && s.version == oldest) && !(r.last && s.version == newest)
	}), nil
}

// versions lists the versions of an object, or the latest alone, oldest first, and where each stands last.
func (x *Index) versions(r pebble.Reader, c uint32, id key.ID, last bool) (list []entry, err error) {
	e, known, err := x.entry(r, c, id)
	if err != nil || !known {
		return nil, err
	}
	if e.older && !last {
		err = lastOthers(r, c, id, nil, func(ver key.Version, p place) bool {
			if ver != e.version {
				list = append(list, entry{version: ver, place: p})
			}
			return true
		})
	}
	return append(list, e), err
}

// FirstAdded is when a collection was first given what it has of an object.
func (x *Index) FirstAdded(collection, text string) (at time.Time, found bool, err error) {
	id, ok := key.ParseID([]byte(text))
	c, known := x.Number(collection)
	if !ok || !known {
		return at, false, nil
	}
	snapshot := x.db.NewSnapshot()
	defer store.Close(&err, snapshot)
	e, found, err := x.entry(snapshot, c, id)
	if err != nil || !found {
		return at, false, err
	}
	first := e.added()
	err = eachOther(snapshot, c, id, nil, func(_ key.Version, p place) { first = min(first, p.added()) })
	return micros(first), err == nil, err
}

// Has tells whether a collection has a version of an object.
func (x *Index) Has(collection string, want record.Version) (found bool, err error) {
	id, ok := key.Of(want)
	c, known := x.Number(collection)
	if !ok || !known {
		return false, nil
	}
	snapshot := x.db.NewSnapshot()
	defer store.Close(&err, snapshot)
	ver := key.VersionOf(want.Version)
	e, known, err := x.entry(snapshot, c, id)
	if err != nil || !known || e.version == ver {
		return known, err
	}
	err = lastOthers(snapshot, c, id, ver[:], func(key.Version, place) bool {
		found = true
		return false
	})
	return found, err
}
