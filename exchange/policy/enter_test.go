package policy_test

import (
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func TestEnterForEveryLabelAndCeiling(t *testing.T) {
	for _, label := range tlp.Levels() {
		for _, ceiling := range tlp.Levels() {
			for _, kind := range []exchange.Kind{exchange.CSIRT, exchange.NetworkOwner, ""} {
				for _, beside := range []bool{false, true} {
					got := policy.Enter(label, ceiling, kind, beside)
					want := label <= ceiling && label != tlp.Red &&
						!(label == tlp.AmberStrict && kind == exchange.NetworkOwner && beside)
					if got.Allow != want || got.Rule == "" {
						t.Errorf("Enter(%v, %v, %q, %v) = %+v", label, ceiling, kind, beside, got)
					}
				}
			}
		}
	}
	if policy.Enter(tlp.None, tlp.Red, exchange.CSIRT, false).Allow {
		t.Error("something without a label was let in")
	}
}

func TestAmberStrictStaysInOrganisation(t *testing.T) {
	if v := policy.Enter(tlp.AmberStrict, tlp.AmberStrict, exchange.NetworkOwner, true); v.Allow || v.Rule != policy.RuleStrictStaysAbove {
		t.Errorf("below a CSIRT: %+v", v)
	}
	if v := policy.Enter(tlp.AmberStrict, tlp.AmberStrict, exchange.CSIRT, true); !v.Allow {
		t.Errorf("the CSIRT itself: %+v", v)
	}
}

func TestTheRowsOwnLabelDecidesFirst(t *testing.T) {
	if l := policy.Effective(tlp.Green, tlp.Red, tlp.Amber); l != tlp.Green {
		t.Error(l)
	}
	if l := policy.Effective(tlp.None, tlp.Red, tlp.Amber); l != tlp.Red {
		t.Error(l)
	}
	if l := policy.Effective(tlp.None, tlp.None, tlp.Amber); l != tlp.Amber {
		t.Error(l)
	}
}

// A CSIRT that receives as fallback gets what no owner takes: not what one does, but
// what a label keeps from the owner.
func TestFallbackGetsWhatNoOwnerTakes(t *testing.T) {
	r := &exchange.Register{IDs: exchange.NewIDs(nil), Members: []exchange.Member{
		{ID: "cert-copy", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict},
		{ID: "cert-fall", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict, Receives: exchange.Fallback},
		{ID: "owner", Kind: exchange.NetworkOwner, Clearance: tlp.Amber},
		{ID: "small", Kind: exchange.NetworkOwner, Clearance: tlp.Green},
	}}
	for _, c := range []struct {
		label   tlp.Level
		members string
		want    string
	}{
		{tlp.Amber, "cert-copy cert-fall owner", "cert-copy owner"},
		{tlp.Amber, "cert-copy cert-fall", "cert-copy cert-fall"},
		{tlp.Amber, "cert-fall small", "cert-fall"},
		{tlp.AmberStrict, "cert-fall owner", "cert-fall"},
		{tlp.Red, "cert-fall owner", ""},
	} {
		var matches []exchange.Match
		for _, m := range strings.Fields(c.members) {
			matches = append(matches, exchange.Match{Member: m})
		}
		var got []string
		for _, g := range policy.Decide(r, c.label, matches).Grants {
			if g.Allow {
				got = append(got, g.Collection)
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s for %s: %q get it, want %q", c.label, c.members, s, c.want)
		}
	}
}
