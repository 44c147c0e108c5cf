package policy

import (
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// The rules of Enter, as decisions and explanations name them; exchange has two more, of what is kept from a member
// for another reason than the label: RuleTakenByOwner and RuleRepeat.
const (
	// RuleWithinCeiling lets in what is labelled at most the collection's ceiling.
	RuleWithinCeiling = "within-ceiling"
	// RuleAboveCeiling withholds what is labelled above it.
	RuleAboveCeiling = "above-ceiling"
	// RuleRedNeedsPersons withholds RED: no team's own collection names its readers
	// as persons.
	RuleRedNeedsPersons = "red-needs-named-persons"
	// RuleStrictStaysAbove withholds AMBER+STRICT from a network owner where a
	// CSIRT is concerned: it is for that organisation only.
	RuleStrictStaysAbove = "amber-strict-stays-with-csirt"
	// RuleNoLabel withholds what has no label at all.
	RuleNoLabel = "no-label"
)

// Effective returns the label of a row: its own, else the submission's, else
// the feed's default.
func Effective(row, submission, feed tlp.Level) tlp.Level {
	switch {
	case row != tlp.None:
		return row
	case submission != tlp.None:
		return submission
	}
	return feed
}

// Enter decides whether something of the label may enter a collection with the
// ceiling, which belongs to a member of the kind ("" for unclaimed). beside
// says whether a CSIRT is responsible for the same address.
func Enter(label, ceiling tlp.Level, kind exchange.Kind, beside bool) exchange.Verdict {
	switch {
	case !label.Valid():
		return exchange.Verdict{Rule: RuleNoLabel}
	case label == tlp.Red:
		return exchange.Verdict{Rule: RuleRedNeedsPersons}
	case label > ceiling:
		return exchange.Verdict{Rule: RuleAboveCeiling}
	case label == tlp.AmberStrict && kind == exchange.NetworkOwner && beside:
		return exchange.Verdict{Rule: RuleStrictStaysAbove}
	}
	return exchange.Verdict{Allow: true, Rule: RuleWithinCeiling}
}
