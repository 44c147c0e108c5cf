package exchange

import (
	"net/netip"
	"slices"
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

// Match says that a member answers for an address, and by which key.
type Match struct {
	Member string
	Key    Key
}

// KeyKinds lists the kinds of keys, most specific first.
func KeyKinds() []KeyKind { return []KeyKind{KeyPrefix, KeyASN, KeyDomain, KeyCountry} }

// RuleTakenByOwner keeps back from a CSIRT that receives as fallback what a network
// owner takes.
const RuleTakenByOwner = "taken-by-owner"

// Place is what is known of where an address is. Evidence says who said so:
// "publisher", "networks", or both joined by a plus sign.
type Place struct {
	ASN      uint32
	Country  string
	Evidence string
}

// Known reports whether anything is known of where the address is.
func (p Place) Known() bool { return p.ASN != 0 || p.Country != "" }

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

// Router tells who answers for an event. constituency.Router is the one there is.
type Router interface {
	// Place completes what the publisher said with the networks table, and reports
	// whether the two say different things.
	Place(e *Event) (p Place, differ bool)
	// Route lists the members that answer for an address at that place, at
	// most once each.
	Route(a netip.Addr, p Place, hostname string) []Match
}

// Decide is the decision for a label and claims: who gets it, and under which rule
// each does or does not.
func (p *Policy) Decide(r *Register, label tlp.Level, matches []Match) Decision {
	v := Decision{Label: label}
	if len(matches) == 0 {
		v.Grants = []Grant{{Collection: Unclaimed, Verdict: p.Enter(label, tlp.AmberStrict, "", false)}}
		return v
	}
	beside := slices.ContainsFunc(matches, func(m Match) bool { return r.Member(m.Member).Kind == CSIRT })
	taken := false
	for _, m := range matches {
		who := r.Member(m.Member)
		g := Grant{Collection: m.Member, Key: m.Key, Verdict: p.Enter(label, who.Clearance, who.Kind, beside)}
		taken = taken || g.Allow && who.Kind == NetworkOwner
		v.Grants = append(v.Grants, g)
	}
	for i := range v.Grants {
		if g := &v.Grants[i]; taken && g.Allow && r.Member(g.Collection).Receives == Fallback {
			g.Verdict = Verdict{Rule: RuleTakenByOwner}
		}
	}
	return v
}

// FormatASN writes an AS number as people do.
func FormatASN(n uint32) string { return "AS" + strconv.FormatUint(uint64(n), 10) }
