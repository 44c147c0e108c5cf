package exchange

import (
	"net/netip"
	"strconv"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// KeyKind is the kind of evidence that made a member responsible, most specific
// first.
type KeyKind string

// The kinds of keys.
const (
	KeyPrefix  KeyKind = "prefix"
	KeyASN     KeyKind = "asn"
	KeyDomain  KeyKind = "domain"
	KeyCountry KeyKind = "country"
)

// Key is what matched: a prefix, "AS" and a number, a domain suffix or a country.
type Key struct {
	Kind  KeyKind `json:"kind"`
	Value string  `json:"value"`
}

// Match says that a member is responsible for an address, and by which key.
type Match struct {
	Member string
	Key    Key
}

// KeyKinds lists the kinds of keys, most specific first, but that a host's domain takes nothing from its country.
func KeyKinds() []KeyKind { return []KeyKind{KeyPrefix, KeyASN, KeyDomain, KeyCountry} }

// RuleTakenByOwner keeps back from a CSIRT that receives as fallback what a network
// owner takes.
const RuleTakenByOwner = "taken-by-owner"

// Location is where an address is, as far as is known. Evidence says who said so:
// "publisher", "networks", or both joined by a plus sign.
type Location struct {
	ASN      uint32
	Country  string
	Evidence string
}

// Verdict is the outcome of policy for one collection, with the rule's name.
type Verdict struct {
	Allow bool   `json:"allow"`
	Rule  string `json:"rule"`
}

// Grant is one line of a decision: a collection, why its member is responsible,
// and whether the label lets the event in.
type Grant struct {
	Collection string `json:"collection"`
	Key        Key    `json:"key,omitzero"`
	Verdict
}

// Decision is what was decided for an event or observation. It names its
// collections once each, in ascending order.
type Decision struct {
	Label  tlp.Level `json:"label"`
	Grants []Grant   `json:"grants"`
}

// Allowed reports whether any collection takes it.
func (d *Decision) Allowed() bool {
	for i := range d.Grants {
		if d.Grants[i].Allow {
			return true
		}
	}
	return false
}

// Router tells who is responsible for an event. constituency.Router is the one there is.
type Router interface {
	// Locate completes what the publisher said with the networks table, and reports
	// whether the two say different things.
	Locate(e *Event) (p Location, differ bool)
	// Route lists the members that are responsible for an address at that location, at
	// most once each.
	Route(a netip.Addr, p Location, hostname string) []Match
}

// FormatASN writes an AS number as people do.
func FormatASN(n uint32) string { return "AS" + strconv.FormatUint(uint64(n), 10) }

// RuleRepeat keeps a host back from a collection that was given it a while ago.
const RuleRepeat = "repeat"

// ShadowedMatch is a key of a member that fits an address, and why it does not count.
type ShadowedMatch struct {
	Member string `json:"member"`
	Key    Key    `json:"key"`
	// Reason says why. Where a more specific key counts, By has it and ByKey is it: that
	// member's business, and the operator's.
	Reason string `json:"reason"`
	By     string `json:"by,omitempty"`
	ByKey  Key    `json:"by_key,omitzero"`
}

// Tables are what routes a feed; constituency has them.
type Tables interface {
	Router
	// Look is what the networks table says of an address.
	Look(a netip.Addr) Location
	// ShadowedMatches lists the keys that fit an address and do not count for the feed.
	ShadowedMatches(a netip.Addr, p Location, hostname string) []ShadowedMatch
}
