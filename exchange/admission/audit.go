package admission

import (
	"cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// auditIntake tells what a record withholds and withdraws, by collection and rule. The events are in
// the record.
func auditIntake(in *record.Intake, tell func(exchange.AuditEntry)) {
	type why struct{ collection, rule string }
	withheld := make(map[why]int64)
	for i := range in.Events {
		e := &in.Events[i]
		decision := e.Decision
		if e.Observation >= 0 { // the whole host's day decides
			decision = in.Observations[e.Observation].Decision
		}
		for _, g := range in.Decisions[decision].Grants {
			if !g.Allow && g.Rule != exchange.RuleRepeat && g.Rule != exchange.RuleTakenByOwner {
				withheld[why{g.Collection, g.Rule}]++
			}
		}
	}
	for w, n := range withheld {
		tell(exchange.AuditEntry{Action: exchange.AuditWithheld, Feed: in.Feed, Collection: w.collection, Count: n, Detail: w.rule})
	}
	withdrawn := make(map[string]int64)
	for _, w := range in.Withdrawals {
		withdrawn[w.Collection]++
	}
	for c, n := range withdrawn {
		tell(exchange.AuditEntry{Action: exchange.AuditWithdrawn, Feed: in.Feed, Collection: c, Count: n, Detail: cmp.Or(recalled(in), "hosts whose label was raised")})
	}
}

// recalled says why a record takes events back, "" where it does not.
func recalled(in *record.Intake) string {
	if in.Reason == "" {
		return ""
	}
	return "hosts that the publisher has recalled: " + in.Reason
}
