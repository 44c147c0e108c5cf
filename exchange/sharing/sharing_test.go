package sharing_test

import (
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/sharing"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func TestEnterForEveryLabelAndCeiling(t *testing.T) {
	for _, label := range tlp.Levels() {
		for _, ceiling := range tlp.Levels() {
			for _, kind := range []exchange.Kind{exchange.CSIRT, exchange.NetworkOwner, ""} {
				for _, beside := range []bool{false, true} {
					got := sharing.Enter(label, ceiling, kind, beside)
					want := label <= ceiling && label != tlp.Red &&
						!(label == tlp.AmberStrict && kind == exchange.NetworkOwner && beside)
					if got.Allow != want || got.Rule == "" {
						t.Errorf("Enter(%v, %v, %q, %v) = %+v", label, ceiling, kind, beside, got)
					}
				}
			}
		}
	}
	if sharing.Enter(tlp.None, tlp.Red, exchange.CSIRT, false).Allow {
		t.Error("something without a label was let in")
	}
}

func TestAmberStrictStaysInOrganisation(t *testing.T) {
	if v := sharing.Enter(tlp.AmberStrict, tlp.AmberStrict, exchange.NetworkOwner, true); v.Allow || v.Rule != sharing.RuleStrictStaysAbove {
		t.Errorf("below a CSIRT: %+v", v)
	}
	if v := sharing.Enter(tlp.AmberStrict, tlp.AmberStrict, exchange.CSIRT, true); !v.Allow {
		t.Errorf("the CSIRT itself: %+v", v)
	}
}

func TestTheRowsOwnLabelDecidesFirst(t *testing.T) {
	if l := sharing.Effective(tlp.Green, tlp.Red, tlp.Amber); l != tlp.Green {
		t.Error(l)
	}
	if l := sharing.Effective(tlp.None, tlp.Red, tlp.Amber); l != tlp.Red {
		t.Error(l)
	}
	if l := sharing.Effective(tlp.None, tlp.None, tlp.Amber); l != tlp.Amber {
		t.Error(l)
	}
}
