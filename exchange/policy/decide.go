// Package policy decides who may have what. Its functions are pure: they depend on
// their arguments alone.
//
//   - Decide, by Enter for each team: which teams' collections an event, or a host's whole day, enters: by label, ceiling
//     and kind of member. (The feed's own takes what its ceiling lets in: packaging.) Effective: the label of an event.
//   - Admit: what becomes of an object of a POST. Labels: which label each has.
//   - MayRead, MayWrite and their kin: which collection a caller may use, by which channel.
//   - Permits: which label leaves by which channel to whom. Every way out asks it.
//   - Refused: which addresses are nobody's infection.
//
// What policy withholds is nowhere to be read later, and what it lets in is never redacted; a channel that allows
// less than a collection's ceiling leaves objects out (Permits).
//
// Source: FIRST TLP 2.0, as read in the CSIRT's case: the clients of a team
// with national responsibility include its constituents.
package policy

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Keeps tells whether a team that is responsible for a host no more keeps what it was given of it, once that is labelled
// higher: up to AMBER and its clearance. Above AMBER, the need to know has ended.
func Keeps(label, clearance tlp.Level) bool { return label <= min(clearance, tlp.Amber) }

// Decide is the decision for a label and those who are responsible: who gets it, and under which rule
// each does or does not.
func Decide(r *exchange.Register, label tlp.Level, matches []exchange.Match) exchange.Decision {
	v := exchange.Decision{Label: label}
	if len(matches) == 0 {
		v.Grants = []exchange.Grant{{Collection: exchange.Unclaimed, Verdict: Enter(label, exchange.UnclaimedCeiling, "", false)}}
		return v
	}
	beside := slices.ContainsFunc(matches, func(m exchange.Match) bool { return r.Member(m.Member).Kind == exchange.CSIRT })
	taken := false
	for _, m := range matches {
		who := r.Member(m.Member)
		g := exchange.Grant{Collection: m.Member, Key: m.Key, Verdict: Enter(label, who.Clearance, who.Kind, beside)}
		taken = taken || g.Allow && who.Kind == exchange.NetworkOwner
		v.Grants = append(v.Grants, g)
	}
	for i := range v.Grants {
		if g := &v.Grants[i]; taken && g.Allow && r.Member(g.Collection).Receives == exchange.Fallback {
			g.Verdict = exchange.Verdict{Rule: exchange.RuleTakenByOwner}
		}
	}
	return v
}
