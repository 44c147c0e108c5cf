package exchangetest_test

import (
	"slices"
	"strings"
)

// parties says who may read what, and which hosts collections are given, by itself: from FIRST's TLP 2.0, with none of
// the exchange's code. What members post is oracle.Oracle's. Labels are 1 clear, 2 green, 3 amber, 4 amber+strict, 5
// red.
type parties struct {
	clearance map[string]int
	kind      map[string]string
	ceiling   map[string]int
	readers   map[string][]string // of declared collections; "all" is every member
	persons   map[string][]string
	highest   map[string]int   // label that ever entered a collection
	hosts     map[string]*host // by address, country and AS number
}

// host is what is given of a host's day at a location.
type host struct {
	csirt, owner string
	label        int
	versions     map[string]int // by collection
}

var words = map[string]int{"clear": 1, "white": 1, "green": 2, "amber": 3, "amber+strict": 4, "red": 5, "?": 6}

// mayRead: RED is for the individuals who are named; everything else for those to whom the collection
// is given, up to what they are cleared for. Over NATS and event streams nothing RED goes.
func (o *parties) mayRead(member, person, collection, way string) bool {
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

// gets tells whether a host's sighting under a label may be given: RED to nobody here, AMBER+STRICT
// to the national team alone where there is one.
func (o *parties) gets(h *host, collection string, label int) bool {
	return label <= 4 && label <= o.ceiling[collection] && (label < 4 || collection != h.owner || h.csirt == "")
}

// sighted merges an event; the highest label of a day holds for all of it.
func (o *parties) sighted(h *host, feed string, label int) {
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
