package exchangetest_test

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// oracle says who may have what, by itself: from FIRST's TLP 2.0 and STIX 2.1 section 4.14, with none of
// the exchange's code. Labels are 1 clear, 2 green, 3 amber, 4 amber+strict, 5 red; 6 is what nobody knows.
type oracle struct {
	clearance  map[string]int
	kind       map[string]string
	ceiling    map[string]int
	readers    map[string][]string // of declared collections; "all" is every member
	persons    map[string][]string
	objects    map[string]*known            // what members have added, by id
	has        map[string]map[string]string // collection to id and version, to created_by_ref
	highest    map[string]int               // label that ever entered a collection
	hosts      map[string]*host
	identities map[string]string // identity to the member that speaks for it
	decided    map[string]bool   // by member, collection and text: what the operator has decided about
	waiting    map[string]int    // by member, collection and object: what an earlier report has said of it
}

type known struct {
	by      string
	creator string
	label   int
	newest  time.Time
	refs    []string // of a relationship, in all its versions
}

// host is what is given of a host's day.
type host struct {
	csirt, owner string
	label        int
	versions     map[string]int // by collection
}

// thing is an object that a member adds.
type thing struct {
	id, typ, version, creator string
	marks                     []string // labels in words; "?" is one that nobody knows
	refs                      []string
	text                      string // as it was sent
}

var words = map[string]int{"clear": 1, "white": 1, "green": 2, "amber": 3, "amber+strict": 4, "red": 5, "?": 6}

func (x *thing) at() time.Time {
	at, _ := time.Parse(time.RFC3339, x.version)
	return at
}

// mayRead: RED is for the individuals who are named; everything else for those to whom the collection
// is given, up to what they are cleared for. Over NATS and event streams nothing RED goes.
func (o *oracle) mayRead(member, person, collection, way string) bool {
	c := o.ceiling[collection]
	if c == 5 {
		return way == "taxii" && person != "" && slices.Contains(o.persons[collection], member+"/"+person)
	}
	if member == "" || way == "nats" && (o.kind[member] == "network-owner" || member == "admin" || strings.HasPrefix(collection, "feed-")) {
		return false
	}
	if member == "admin" {
		return true
	}
	list := o.readers[collection]
	return c <= o.clearance[member] && (slices.Contains(list, "all") || slices.Contains(list, member))
}

// labels of a submission: the highest of what an object says, of what refers to it, there or in a report
// that the member has sent before, and for a relationship of both its ends; else the floor.
func (o *oracle) labels(list []*thing, floor int, sender string) map[string]int {
	l := make(map[string]int)
	for _, x := range list {
		l[x.id] = o.waiting[sender+x.id]
		for _, m := range x.marks {
			l[x.id] = max(l[x.id], words[m])
		}
		for _, end := range x.refs {
			if k := o.objects[end]; x.typ == "relationship" && k != nil {
				l[x.id] = max(l[x.id], k.label)
			}
			if x.typ == "relationship" {
				l[x.id] = max(l[x.id], o.waiting[sender+end])
			}
		}
	}
	for range list {
		for _, x := range list {
			for _, ref := range x.refs {
				beside := slices.ContainsFunc(list, func(y *thing) bool { return y.id == ref })
				switch {
				case x.typ == "report" && beside:
					l[ref] = max(l[ref], l[x.id])
				case x.typ == "relationship":
					l[x.id] = max(l[x.id], l[ref])
				}
			}
		}
	}
	for _, x := range list {
		if l[x.id] == 0 {
			l[x.id] = floor
		}
	}
	return l
}

// add says what becomes of a submission, object by object: "in", "out" or "held".
func (o *oracle) add(member, collection string, list []*thing, floor int) (out []string) {
	out = make([]string, len(list))
	for i, x := range list {
		switch k := o.objects[x.id]; {
		case member == "admin": // the operator relays
		case x.creator != "" && o.identities[x.creator] != member: // somebody else's, it says
			out[i] = "out"
		case x.creator != "" || x.typ == "ipv4-addr":
		case k == nil:
			x.creator = "own " + member
		case o.identities[k.creator] == member:
			x.creator = k.creator
		}
	}
	sender := member + " to " + collection + " "
	labels := o.labels(list, floor, sender)
	for _, x := range list {
		for _, ref := range x.refs {
			beside := slices.ContainsFunc(list, func(y *thing) bool { return y.id == ref })
			if x.typ == "report" && !beside {
				o.waiting[sender+ref] = max(o.waiting[sender+ref], labels[x.id])
			}
		}
	}
	before, raised, foreign := maps.Clone(o.objects), make(map[string]bool), make(map[string]bool)
	for i, x := range list {
		foreign[x.id] = out[i] != "" // and not looked at
	}
	for i, x := range list {
		if out[i] != "" {
			continue
		}
		label, k := labels[x.id], o.objects[x.id]
		if versioned := x.typ != "ipv4-addr"; versioned && k != nil {
			mine, newer, creator := k.by == member, x.at().After(k.newest), o.speaks(member, k, x)
			if k.creator != x.creator && (k.creator != "" || !creator) || !mine && !creator && (newer || member != "admin") {
				out[i] = "out"
				continue
			}
			if !creator || !newer { // it keeps what it has
				label = max(label, k.label)
			}
			if (mine || creator) && label > k.label && (label < 6 || newer) {
				o.disclosed(x.id, label, "")
				o.raise(x.id, label, x.at())
				raised[x.id] = true
			}
		}
		labels[x.id] = label
		if label == 6 && o.decided[member+collection+x.text] {
			out[i] = "held" // it stays as it was decided
		} else if label == 6 {
			o.put("quarantine", member, x, 6, k != nil && (k.by != member && !o.speaks(member, k, x) || !x.at().After(k.newest) && o.released(x)))
			out[i] = "held"
		}
	}
	for i, x := range list {
		if out[i] != "" {
			continue
		}
		out[i] = "out"
		if label := labels[x.id]; label <= o.ceiling[collection] {
			k := o.objects[x.id]
			mine := k == nil || k.by == member || o.speaks(member, k, x)
			o.put(collection, member, x, label, !mine)
			out[i] = "in"
			if x.typ != "ipv4-addr" { // nothing else keeps its label
				delete(o.waiting, sender+x.id)
			}
		}
	}
	for _, x := range list {
		switch k := o.objects[x.id]; {
		case k == nil, foreign[x.id]:
		case raised[x.id]:
			o.disclosed(x.id, k.label, "")
		case before[x.id] == nil || k.by == member && k.label < 6:
			o.disclosed(x.id, k.label, member)
		}
	}
	return out
}

// disclosed raises the relationships that tell of an object, all or those of one member, and what
// tells of them.
func (o *oracle) disclosed(id string, label int, by string) {
	for other, k := range o.objects {
		if slices.Contains(k.refs, id) && (by == "" || k.by == by) {
			o.raise(other, label, k.newest)
			o.disclosed(other, label, "")
		}
	}
}

// released tells whether a version is in any collection.
func (o *oracle) released(x *thing) bool {
	for c, has := range o.has {
		if _, there := has[x.id+" "+x.version]; there && c != "quarantine" {
			return true
		}
	}
	return false
}

// speaks tells whether a member is an object's creator: who it says, or who was first where it says nobody.
func (o *oracle) speaks(member string, k *known, x *thing) bool {
	if k.creator != "" {
		return o.identities[k.creator] == member
	}
	return k.by == member && (x.creator == "" || o.identities[x.creator] == member)
}

// raise takes an object out of every collection that its label is above now.
func (o *oracle) raise(id string, label int, at time.Time) {
	for c, has := range o.has {
		for name := range has {
			if c != "quarantine" && o.ceiling[c] < label && strings.HasPrefix(name, id+" ") {
				delete(has, name)
			}
		}
	}
	k := o.objects[id]
	k.label, k.newest = max(k.label, label), later(k.newest, at)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// put adds a version to a collection; relayed says that whose word does not count has added it.
func (o *oracle) put(collection, member string, x *thing, label int, relayed bool) {
	if _, there := o.has[collection][x.id+" "+x.version]; there {
		return
	}
	o.has[collection][x.id+" "+x.version] = x.creator
	o.highest[collection] = max(o.highest[collection], min(label, 5))
	if x.typ == "ipv4-addr" {
		return
	}
	k := o.objects[x.id]
	if k == nil {
		k = &known{by: member, creator: x.creator}
		o.objects[x.id] = k
	}
	if !relayed {
		k.label = label
	}
	if x.typ == "relationship" {
		k.refs = append(k.refs, x.refs...)
	}
	k.newest = later(k.newest, x.at())
}

// gets tells whether a host's sighting under a label may be given: RED to nobody here, AMBER+STRICT
// to the national team alone where there is one.
func (o *oracle) gets(h *host, collection string, label int) bool {
	return label <= 4 && label <= o.ceiling[collection] && (label < 4 || collection != h.owner || h.csirt == "")
}

// sighted merges an event; the highest label of a day holds for all of it.
func (o *oracle) sighted(h *host, feed string, label int) {
	var to []string
	for _, c := range []string{h.csirt, h.owner} {
		if c != "" {
			to = append(to, c)
		}
	}
	if to == nil {
		to = []string{"unclaimed"}
	}
	if !slices.ContainsFunc(to, func(c string) bool { return o.gets(h, c, label) }) {
		return
	}
	was := h.label
	h.label = max(h.label, label)
	for _, c := range to {
		switch {
		case o.gets(h, c, h.label):
			h.versions[c]++
			o.highest[c] = max(o.highest[c], h.label)
		case was > 0 && o.gets(h, c, was):
			h.versions[c] = 0
		}
	}
	if h.label <= o.ceiling["feed-"+feed] {
		h.versions["feed-"+feed]++
		o.highest["feed-"+feed] = max(o.highest["feed-"+feed], h.label)
	}
}

// expected lists what a collection holds of what members add.
func (o *oracle) expected(collection string) []string {
	return slices.Sorted(maps.Keys(o.has[collection]))
}
