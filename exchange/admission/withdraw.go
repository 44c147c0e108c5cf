package admission

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// withdraw takes a host's day out of the collections that were given it under the lower label
// that it had before, and may not have it under this one.
func (d *batch) withdraw(l *located, o *record.Observation, matches []exchange.Match) error {
	if l.past == nil || o.Label <= l.past.Label {
		return nil
	}
	was := l.past.Label
	before := policy.Decide(d.rules.Register, was, matches).Grants
	now := policy.Decide(d.rules.Register, o.Label, matches).Grants // of the same collections
	ids := objectIDs(d.rules.Register, d.feed, l.past)
	for i := range d.rules.Register.Members {
		m := &d.rules.Register.Members[i]
		at := slices.IndexFunc(now, func(g exchange.Grant) bool { return g.Collection == m.ID })
		if at >= 0 && now[at].Allow {
			continue
		}
		if (at < 0 || now[at].Rule == exchange.RuleTakenByOwner) && policy.Keeps(o.Label, m.Clearance) {
			continue
		}
		given := at >= 0 && before[at].Allow && d.feed.Repeat == 0 || d.onItsWay(m.ID, o.ObservationKey)
		for _, id := range ids {
			if given {
				break
			}
			var err error
			if given, err = d.past.Delivered(m.ID, id); err != nil {
				return err
			}
		}
		if given {
			d.in.Withdrawals = append(d.in.Withdrawals, record.Withdrawal{Collection: m.ID, Observation: l.observation})
		}
	}
	return nil
}

// onItsWay tells whether a record that the history may not have applied gives a collection an observation.
func (d *batch) onItsWay(collection string, of exchange.ObservationKey) bool {
	return slices.ContainsFunc(d.f.recent, func(r *recent) bool {
		day := r.hosts[of.HostDay]
		if day == nil {
			return false
		}
		l := day.find(of)
		if l == nil || l.observation < 0 {
			return false
		}
		grants := r.in.Decisions[r.in.Observations[l.observation].Decision].Grants
		return slices.ContainsFunc(grants, func(g exchange.Grant) bool { return g.Collection == collection && g.Allow })
	})
}
