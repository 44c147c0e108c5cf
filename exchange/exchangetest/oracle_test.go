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
	objects    map[string]*line             // what members have added, by id; by id@collection what stands apart there
	has        map[string]map[string]string // collection to id and version, to created_by_ref
	own        map[string]int               // what an object says of itself, by collection, id and version
	highest    map[string]int               // label that ever entered a collection
	hosts      map[string]*host             // by address, country and AS number
	identities map[string]string            // identity to the member that speaks for it
	dropped    map[string]*line             // by member and id: what was not stored, as another's stands there
	decided    map[string]bool              // by member, collection and text: what the operator has decided about
	waiting    map[string]int               // by member, collection and object: what an earlier report has said of it
	deciding   bool                         // the operator decides on behalf of a member, and sees everything
}

type line struct {
	by      string
	creator string
	label   int
	newest  time.Time
	refs    []string // of a relationship, in all its versions
	id      string
	apart   bool
	given   []string // collections that were ever given it
}

// host is what is given of a host's day at a location.
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

// here is the object of an id that stands in a collection, or did: of several there is one at most.
func (o *oracle) here(collection, id string) *line {
	if l := o.objects[id+"@"+collection]; l != nil {
		return l
	}
	if l := o.objects[id]; l != nil && slices.Contains(l.given, collection) {
		return l
	}
	return nil
}

// knows tells whether a member may know of an object.
func (o *oracle) knows(member string, l *line) bool {
	return o.deciding || member == "admin" || l.by == member || l.creator != "" && o.identities[l.creator] == member ||
		slices.ContainsFunc(l.given, func(c string) bool { return o.mayRead(member, "", c, "taxii") })
}

// seen is what a member may know of an object that it adds to a collection: the one that stands there, else all
// that it has added itself, as one, else one that it may know of. apart says that what it adds stands
// apart, gone that it is not stored.
func (o *oracle) seen(member, collection string, x *thing) (k *line, parts []*line, apart, gone bool) {
	var all []*line
	for _, key := range slices.Sorted(maps.Keys(o.objects)) {
		if l := o.objects[key]; l.id == x.id {
			all = append(all, l)
		}
	}
	if all == nil {
		return nil, nil, false, false
	}
	var mine *line
	for _, l := range all {
		if l.by == member {
			parts = append(parts, l)
		}
	}
	add := func(l *line) {
		if mine == nil {
			c := *l
			c.given = nil
			mine = &c
		}
		mine.label, mine.newest, mine.given = max(mine.label, l.label), later(mine.newest, l.newest), append(mine.given, l.given...)
	}
	for _, l := range parts {
		add(l)
	}
	if l := o.dropped[member+" "+x.id]; l != nil && len(parts) < len(all) {
		add(l)
	}
	if h := o.here(collection, x.id); h != nil {
		switch {
		case !o.knows(member, h):
			return mine, parts, true, true
		case h.by == member:
			return mine, parts, h.apart, false
		}
		return h, []*line{h}, h.apart, false
	}
	if mine != nil {
		return mine, parts, mine.apart, false
	}
	for _, l := range all {
		if member == "admin" && x.typ != "" && l.creator != x.creator { // the operator relays another one
			continue
		}
		if o.knows(member, l) && (k == nil || l.label > k.label) {
			k = l
		}
	}
	if k == nil {
		return nil, nil, true, false
	}
	return k, []*line{k}, k.apart, false
}

// end is an object that another refers to, as a member may know of it.
func (o *oracle) end(member, collection, id string) *line {
	k, _, _, _ := o.seen(member, collection, &thing{id: id})
	return k
}

// endFor is the same where the operator decides what becomes of the member's object.
func (o *oracle) endFor(member, collection, id string) *line {
	o.deciding = true
	defer func() { o.deciding = false }()
	return o.end(member, collection, id)
}

// labels of a submission: the highest of what an object says, of what refers to it, there or in a report
// that the member has sent before, and for a relationship of both its ends; else the floor.
func (o *oracle) labels(list []*thing, floor int, member, collection string) map[string]int {
	l, sender := make(map[string]int), member+" to "+collection+" "
	for _, x := range list {
		l[x.id] = o.waiting[sender+x.id]
		for _, m := range x.marks {
			l[x.id] = max(l[x.id], words[m])
		}
		for _, end := range x.refs {
			if k := o.end(member, collection, end); x.typ == "relationship" && k != nil {
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
		switch k, _, _, _ := o.seen(member, collection, x); {
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
	labels := o.labels(list, floor, member, collection)
	for _, x := range list {
		for _, ref := range x.refs {
			beside := slices.ContainsFunc(list, func(y *thing) bool { return y.id == ref })
			if x.typ == "report" && !beside {
				o.waiting[sender+ref] = max(o.waiting[sender+ref], labels[x.id])
			}
		}
	}
	foreign, dropped, apart, raised, isNew := make([]bool, len(list)), make([]bool, len(list)), make([]bool, len(list)), make([]bool, len(list)), make([]bool, len(list))
	for i := range list {
		foreign[i] = out[i] != "" // and not looked at
	}
	for i, x := range list {
		if out[i] != "" {
			continue
		}
		label := labels[x.id]
		var k *line
		var lines []*line
		if x.typ != "ipv4-addr" {
			k, lines, apart[i], dropped[i] = o.seen(member, collection, x)
			isNew[i] = k == nil
		}
		if k != nil {
			mine, newer, creator := k.by == member, x.at().After(k.newest), o.speaks(member, k, x)
			if k.creator != x.creator && (k.creator != "" || !creator) || !mine && !creator && (newer || member != "admin") {
				out[i] = "out"
				continue
			}
			if !creator || !newer { // it keeps what it has
				label = max(label, k.label)
			}
			if (mine || creator) && label > k.label && (label < 6 || newer) {
				o.disclosed(x.id, label, whose(lines, member))
				for _, l := range lines {
					o.raise(l, label, x.at())
				}
				raised[i] = true
			}
		}
		labels[x.id] = label
		switch {
		case label != 6:
		case o.decided[member+collection+x.text]: // it stays as it was decided
			out[i] = "held"
		default:
			o.put("quarantine", member, x, 6, k != nil && (k.by != member && !o.speaks(member, k, x) || !x.at().After(k.newest) && o.released(k, x)), apart[i])
			out[i] = "held"
		}
	}
	for i, x := range list {
		if out[i] != "" {
			continue
		}
		out[i] = "out"
		if label := labels[x.id]; label <= o.ceiling[collection] {
			if k, _, _, _ := o.seen(member, collection, x); dropped[i] {
				was := o.dropped[member+" "+x.id]
				d := &line{by: member, creator: x.creator, id: x.id, apart: true, label: label, newest: x.at()}
				if k != nil {
					d.newest = later(d.newest, k.newest)
				}
				if was != nil {
					d.newest = later(d.newest, was.newest)
				}
				o.dropped[member+" "+x.id] = d
			} else {
				mine := k == nil || k.by == member || o.speaks(member, k, x)
				o.put(collection, member, x, label, !mine, apart[i])
			}
			out[i] = "in"
			if x.typ != "ipv4-addr" { // nothing else keeps its label
				delete(o.waiting, sender+x.id)
			}
		}
	}
	for i, x := range list {
		if foreign[i] || dropped[i] {
			continue
		}
		switch k, lines, _, _ := o.seen(member, collection, x); {
		case k == nil:
		case raised[i]:
			o.disclosed(x.id, k.label, whose(lines, member))
		case k.by == member && (isNew[i] || k.label < 6):
			o.disclosed(x.id, k.label, member)
		}
	}
	return out
}

// whose relationships a raise takes along: everybody's, but of what stands apart the member's own.
func whose(lines []*line, member string) string {
	if slices.ContainsFunc(lines, func(l *line) bool { return !l.apart }) {
		return ""
	}
	return member
}

// disclosed raises the relationships that tell of an object, all or those of one member, and what
// tells of them.
func (o *oracle) disclosed(id string, label int, by string) {
	for _, other := range slices.Sorted(maps.Keys(o.objects)) {
		k := o.objects[other]
		tells := false // in any version of anybody
		for _, same := range o.objects {
			tells = tells || same.id == k.id && slices.Contains(same.refs, id)
		}
		if tells && (by == "" || k.by == by) {
			o.raise(k, label, k.newest)
			o.disclosed(k.id, label, "")
		}
	}
}

// released tells whether a version is in any collection that was given the object.
func (o *oracle) released(k *line, x *thing) bool {
	return slices.ContainsFunc(k.given, func(c string) bool {
		_, there := o.has[c][x.id+" "+x.version]
		return there && c != "quarantine"
	})
}

// speaks tells whether a member is an object's creator: who it says, or who was first where it says nobody.
func (o *oracle) speaks(member string, k *line, x *thing) bool {
	if k.creator != "" {
		return o.identities[k.creator] == member
	}
	return k.by == member && (x.creator == "" || o.identities[x.creator] == member)
}

// raise takes an object out of every collection that its label is above now.
func (o *oracle) raise(k *line, label int, at time.Time) {
	for _, c := range k.given {
		if c == "quarantine" || o.ceiling[c] >= label || o.here(c, k.id) != k {
			continue
		}
		for name := range o.has[c] {
			if strings.HasPrefix(name, k.id+" ") {
				delete(o.has[c], name)
			}
		}
	}
	k.label, k.newest = max(k.label, label), later(k.newest, at)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// put adds a version to a collection; relayed says that whose word does not count has added it, apart
// that it is of this collection alone.
func (o *oracle) put(collection, member string, x *thing, label int, relayed, apart bool) {
	name := x.id + " " + x.version
	if _, there := o.has[collection][name]; there {
		return
	}
	o.has[collection][name] = x.creator
	o.highest[collection] = max(o.highest[collection], min(label, 5))
	if x.typ == "ipv4-addr" {
		return
	}
	delete(o.own, collection+" "+name) // of a text that has gone
	for _, m := range x.marks {
		if m != "?" {
			o.own[collection+" "+name] = max(o.own[collection+" "+name], words[m])
		}
	}
	key := x.id
	if apart {
		key += "@" + collection
	}
	k := o.objects[key]
	if k == nil {
		k = &line{by: member, creator: x.creator, id: x.id, apart: apart}
		o.objects[key] = k
	}
	if !relayed {
		k.label = label
	}
	if x.typ == "relationship" {
		k.refs = append(k.refs, x.refs...)
	}
	if !slices.Contains(k.given, collection) {
		k.given = append(k.given, collection)
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
