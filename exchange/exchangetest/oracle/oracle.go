// Package oracle is a reference model of the label and ownership rules.
// It is written from the page of the rules alone, plainly and without any care for speed.
package oracle

import (
	"cmp"
	"slices"
	"time"
)

// Labels run from 0 (none) over 1 (CLEAR), 2 (GREEN), 3 (AMBER), 4 (AMBER+STRICT) and 5 (RED) to 6 (what nobody knows).
const (
	none    = 0
	public  = 1 // CLEAR
	unknown = 6
)

// operator is the member that reads and writes everything and speaks for nobody.
const operator = "admin"

type Member struct {
	Identities []string // the identities that the member speaks for
	Hidden     bool
}

type Collection struct {
	Ceiling, Floor   int
	Readers, Writers []string
}

type Config struct {
	Members     map[string]Member
	Collections map[string]*Collection
	Markings    map[string]int  // the register's markings; 0 says nothing about who may read
	Made        map[string]bool // ids that the exchange makes
}

type Verdict int

const (
	Taken Verdict = iota
	Refused
	Waiting
)

func (v Verdict) String() string { return [...]string{"taken", "refused", "waiting"}[v] }

// Object is a version that stands, with its text as served.
type Object struct {
	ID      string
	Version time.Time
	Label   int
	Text    []byte
}

// item is an object as one member posted it to one collection.
type item struct {
	member, collection string
	id, kind, creator  string
	version            time.Time
	observable         bool
	fields             map[string]any
	text, same         string          // as posted, and without TLP entries
	refs               map[string]bool // what it refers to
	own, label         int
	carries            int // the highest of its TLP markings
}

// place is one member in one collection.
type place struct{ member, collection string }

// raising is what an owner's own marking did to the versions up to this one.
type raising struct {
	version time.Time
	label   int
}

type Oracle struct {
	config      Config
	standing    map[string][]*item             // by collection, in the order posted
	definitions map[[2]string]bool             // by member and marking: definitions that say nothing about who may read
	contexts    map[place]map[string][]*item   // by report: the postings of its newest version
	raised      map[place]map[string][]raising // by object
}

func New(c Config) *Oracle {
	return &Oracle{c, map[string][]*item{}, map[[2]string]bool{}, map[place]map[string][]*item{}, map[place]map[string][]raising{}}
}

// Post is one request, objects in order.
func (o *Oracle) Post(member, collection string, objects [][]byte, now time.Time) []Verdict {
	verdicts := make([]Verdict, len(objects))
	items := make([]*item, len(objects)) // nil where an object cannot be read
	var request []*item
	for i, text := range objects {
		verdicts[i] = Refused
		if o.writes(member, collection) {
			if items[i] = parse(member, collection, text); items[i] != nil {
				request = append(request, items[i])
			}
		}
	}
	for _, it := range request {
		if saysNothing(it) {
			o.definitions[[2]string{member, it.id}] = true
		}
	}
	for _, it := range request {
		it.own, it.carries = o.ownMarking(it), it.marked(func(string) int { return none })
		o.keepContext(it)
	}
	o.workOutLabels(request)
	var binding []*item
	for i, it := range items {
		if it != nil {
			var binds bool
			if verdicts[i], binds = o.decide(it, now); binds {
				binding = append(binding, it)
			}
		}
	}
	for _, it := range binding {
		o.raiseByOwner(it)
	}
	for _, it := range request {
		o.raiseByContext(it)
	}
	return verdicts
}

// Delete removes all versions that the member may delete. It is refused where ok is false; nothing was there where found is false.
func (o *Oracle) Delete(member, collection, id string) (ok, found bool) {
	there := versions(o.standing[collection], id)
	if len(there) == 0 {
		return false, false
	}
	if !o.writes(member, collection) {
		return false, true
	}
	latest := newest(there)
	owner, owned := o.owner(latest, member)
	switch {
	case member == operator || owner == member && owned:
	case owned:
		return false, true
	case latest.creator == "" && !latest.observable:
		if there[0].member != member {
			return false, true
		}
	default: // observables and third parties' objects
		there = slices.DeleteFunc(there, func(it *item) bool { return it.member != member })
		if len(there) == 0 {
			return false, true
		}
	}
	delete(o.contexts[place{member, collection}], id)
	o.remove(collection, there)
	return true, true
}

// Read lists what stands in a collection, sorted by id, then version.
func (o *Oracle) Read(collection string) []Object {
	var list []Object
	for _, it := range o.standing[collection] {
		list = append(list, Object{it.id, it.version, it.label, it.served()})
	}
	slices.SortFunc(list, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), a.Version.Compare(b.Version))
	})
	return list
}

// decide stores an object or not. It binds where rule 3 applies: it stands, or only the ceiling kept it out.
func (o *Oracle) decide(it *item, now time.Time) (verdict Verdict, binds bool) {
	if _, modified := it.fields["modified"]; modified && it.version.After(now.Add(24*time.Hour)) {
		return Refused, false
	}
	if level := defines(it); it.kind == "marking-definition" && (level != none || levels[it.id] != none) {
		if level == levels[it.id] {
			return Taken, false // our own text stands
		}
		return Refused, false
	}
	label := it.label
	owner, owned := o.owner(it, it.member)
	mine := owned && owner == it.member
	if owned && !mine && it.member != operator {
		lowest, exists := o.lowestCopy(it)
		if !exists {
			return Refused, false
		}
		label = max(label, lowest)
	}
	reads := o.reads(it.member, it.collection)
	if !reads && label == unknown {
		return Waiting, false
	}
	if !reads && label > o.config.Collections[it.collection].Ceiling {
		return Refused, true // what stands there makes no difference
	}
	there := versions(o.standing[it.collection], it.id)
	if len(there) > 0 {
		first, latest := there[0], newest(there)
		equal := slices.IndexFunc(there, func(old *item) bool { return old.version.Equal(it.version) })
		others := slices.ContainsFunc(there, func(old *item) bool { return old.member != it.member })
		switch {
		case equal >= 0 && reads && (it.observable || there[equal].same == it.same):
			return Taken, true
		case equal >= 0 && reads:
			return Refused, false
		case equal >= 0, !reads && (others || it.creator != latest.creator):
			return Taken, true // and dropped: what it raises elsewhere must not tell
		case it.creator != latest.creator:
			if latest.creator != "" || first.member != it.member || o.speaker(it.creator, it.member) != it.member {
				return Refused, false
			}
		case it.creator == "" && !owned && first.member != it.member && it.member != operator:
			return Refused, false
		}
	}
	if seen := versions(o.visible(it.member, it.collection), it.id); len(seen) > 0 {
		latest := newest(seen)
		if !owned && it.creator == "" {
			mine = there[0].member == it.member
		} else if !owned {
			mine = latest.member == it.member
		}
		if !mine || !it.version.After(latest.version) {
			label = max(label, latest.label)
		}
	}
	for _, r := range o.raised[place{it.member, it.collection}][it.id] {
		if !it.version.After(r.version) {
			label = max(label, r.label)
		}
	}
	if !reads && label > o.config.Collections[it.collection].Ceiling {
		return Taken, true // and dropped: that an older one of its own left is nothing that it may read there
	}
	it.label = label
	if label == unknown {
		return Waiting, false
	}
	if label > o.config.Collections[it.collection].Ceiling {
		return Refused, true
	}
	o.standing[it.collection] = append(o.standing[it.collection], it)
	return Taken, true
}

// lowestCopy is the lowest label with which the member reads the same text of the same version.
func (o *Oracle) lowestCopy(it *item) (label int, exists bool) {
	for name := range o.config.Collections {
		if o.reads(it.member, name) {
			for _, old := range versions(o.standing[name], it.id) {
				if old.version.Equal(it.version) && old.same == it.same && (!exists || old.label < label) {
					label, exists = old.label, true
				}
			}
		}
	}
	return label, exists
}

// owner is the member that an object belongs to, as the asking member may know it.
func (o *Oracle) owner(it *item, asking string) (member string, owned bool) {
	if it.observable {
		return "", false
	}
	if o.config.Made[it.id] {
		return "the exchange", true
	}
	if it.kind == "identity" {
		member = o.speaker(it.id, asking)
	}
	if member == "" {
		member = o.speaker(it.creator, asking)
	}
	return member, member != ""
}

// speaker is the member who speaks for an identity. Hidden members' identities are nobody's for others.
func (o *Oracle) speaker(identity, asking string) string {
	for name, member := range o.config.Members {
		if name != operator && (!member.Hidden || name == asking) && slices.Contains(member.Identities, identity) {
			return name
		}
	}
	return ""
}

func (o *Oracle) reads(member, collection string) bool {
	c := o.config.Collections[collection]
	return c != nil && (member == operator || slices.Contains(c.Readers, member))
}

func (o *Oracle) writes(member, collection string) bool {
	c := o.config.Collections[collection]
	return c != nil && (member == operator || slices.Contains(c.Writers, member))
}

// visible is everything in a collection for its readers, and what the member itself posted there for others.
func (o *Oracle) visible(member, collection string) []*item {
	return slices.DeleteFunc(slices.Clone(o.standing[collection]), func(it *item) bool {
		return it.member != member && !o.reads(member, collection)
	})
}

// versions are those of one object, in the order posted.
func versions(items []*item, id string) []*item {
	var found []*item
	for _, it := range items {
		if it.id == id {
			found = append(found, it)
		}
	}
	return found
}

func newest(items []*item) *item {
	var latest *item
	for _, it := range items {
		if latest == nil || it.version.After(latest.version) {
			latest = it
		}
	}
	return latest
}
