package policy_test

import (
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Who gets what is labelled so, of those who are responsible for it, and under which rule the others do not.
func TestWhoGetsWhat(t *testing.T) {
	r := &exchange.Register{Members: []exchange.Member{
		{ID: "cert", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict},
		{ID: "isp", Kind: exchange.NetworkOwner, Clearance: tlp.AmberStrict},
		{ID: "last", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict, Receives: exchange.Fallback},
		{ID: "low", Kind: exchange.CSIRT, Clearance: tlp.Green},
		{ID: "shop", Kind: exchange.NetworkOwner, Clearance: tlp.Green},
	}}
	for _, c := range []struct {
		label   tlp.Level
		members string // who is responsible
		want    string
	}{
		{tlp.Clear, "", "unclaimed within-ceiling"},
		{tlp.AmberStrict, "", "unclaimed within-ceiling"},
		{tlp.Red, "", "unclaimed not: red-needs-named-persons"},
		{tlp.None, "", "unclaimed not: no-label"},
		{tlp.Unknown, "cert", "cert not: no-label"},
		{tlp.Clear, "cert isp low", "cert within-ceiling, isp within-ceiling, low within-ceiling"},
		{tlp.Green, "low shop", "low within-ceiling, shop within-ceiling"},
		{tlp.Amber, "low shop", "low not: above-ceiling, shop not: above-ceiling"},
		{tlp.Amber, "cert isp", "cert within-ceiling, isp within-ceiling"},
		{tlp.AmberStrict, "isp", "isp within-ceiling"},
		{tlp.AmberStrict, "cert isp", "cert within-ceiling, isp not: amber-strict-stays-with-csirt"},
		{tlp.AmberStrict, "isp low", "isp not: amber-strict-stays-with-csirt, low not: above-ceiling"},
		{tlp.Red, "cert isp", "cert not: red-needs-named-persons, isp not: red-needs-named-persons"},
		{tlp.Green, "isp last", "isp within-ceiling, last not: taken-by-owner"},
		{tlp.Amber, "last shop", "last within-ceiling, shop not: above-ceiling"},
		{tlp.Green, "cert last", "cert within-ceiling, last within-ceiling"},
		{tlp.AmberStrict, "isp last", "isp not: amber-strict-stays-with-csirt, last within-ceiling"},
		{tlp.Red, "isp last", "isp not: red-needs-named-persons, last not: red-needs-named-persons"},
	} {
		var matches []exchange.Match
		for _, m := range strings.Fields(c.members) {
			matches = append(matches, exchange.Match{Member: m, Key: exchange.Key{Kind: exchange.KeyCountry, Value: "AT"}})
		}
		v := policy.Decide(r, c.label, matches)
		var got []string
		for _, g := range v.Grants {
			s := g.Collection + " "
			if !g.Allow {
				s += "not: "
			}
			got = append(got, s+g.Rule)
			if len(matches) > 0 && g.Key != matches[0].Key {
				t.Errorf("%s to %q: by %+v", c.label, c.members, g.Key)
			}
		}
		if strings.Join(got, ", ") != c.want || v.Label != c.label {
			t.Errorf("%s to %q: %s, want %s", c.label, c.members, strings.Join(got, ", "), c.want)
		}
	}
}

// What a team keeps that is responsible no more.
func TestWhatIsKeptWithoutResponsibility(t *testing.T) {
	for _, c := range []struct {
		label, clearance tlp.Level
		want             bool
	}{
		{tlp.Green, tlp.Amber, true},
		{tlp.Amber, tlp.Amber, true},
		{tlp.Amber, tlp.Red, true},
		{tlp.Amber, tlp.Green, false},
		{tlp.AmberStrict, tlp.Red, false},
		{tlp.Red, tlp.Red, false},
		{tlp.Clear, tlp.Clear, true},
	} {
		if got := policy.Keeps(c.label, c.clearance); got != c.want {
			t.Errorf("%s, cleared for %s: %t", c.label, c.clearance, got)
		}
	}
}
