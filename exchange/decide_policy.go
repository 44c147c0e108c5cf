package exchange

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

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

// Policy decides by label; package sharing has the one there is.
type Policy struct {
	Effective func(row, submission, feed tlp.Level) tlp.Level
	Enter     func(label, ceiling tlp.Level, kind Kind, beside bool) Verdict
}
