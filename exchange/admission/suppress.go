package admission

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// withhold takes back what was granted of a host, last seen then, to those who were given it
// less than a window before or after.
func withhold(h *record.AddressHistory, v *exchange.Decision, last time.Time, window time.Duration) (held bool) {
	for i := range v.Grants {
		g := &v.Grants[i]
		if j := h.SentTo(g.Collection); g.Allow && j >= 0 && last.Sub(h.Sent[j].Last).Abs() < window {
			g.Verdict, held = exchange.Verdict{Rule: exchange.RuleRepeat}, true
		}
	}
	return held
}

// history returns what is known of an address after all earlier records, and what this
// one has added.
func (d *batch) history(a netip.Addr) (*record.AddressHistory, error) {
	if h := d.histories[a]; h != nil {
		return h, nil
	}
	h := new(record.AddressHistory)
	known := false
	if d.f.addresses[a] > 0 {
		for _, r := range slices.Backward(d.f.recent) {
			if r.histories[a] != nil {
				*h, known = *r.histories[a], true
				h.Sent = slices.Clone(h.Sent)
				break
			}
		}
	}
	if !known {
		var err error
		if *h, err = d.past.History(a); err != nil {
			return nil, err
		}
	}
	d.histories[a] = h
	return h, nil
}

// suppress decides about an observation: it marks a relapse, and keeps a host back from
// those who were given it within the feed's window.
func (d *batch) suppress(l *located, o *record.Observation, matches []exchange.Match) error {
	o.Decision = d.decision(o.Label, matches)
	if d.histories == nil {
		return nil
	}
	h, err := d.history(o.Address)
	if err != nil {
		return err
	}
	window := time.Duration(d.feed.Repeat)
	if !h.Cleaned.IsZero() && !h.Relapsed && o.Last.After(h.Cleaned) {
		o.Relapse, h.Relapsed = true, true
		window = 0 // everybody is told at once
	}
	if l.past != nil && o.Label > l.past.Label {
		window = 0 // nobody may go on with the lower label
	}
	if d.feed.Repeat == 0 {
		return nil
	}
	v := d.in.Decisions[o.Decision]
	v.Grants = slices.Clone(v.Grants)
	if withhold(h, &v, o.Last, window) {
		o.Decision = d.keep(v)
	}
	h.Give(v.Grants, o.Last)
	return nil
}

// objectID is the identifier of the object that each observation of the feed is packaged as.
func objectID(r *exchange.Register, f *exchange.Feed, o *record.Observation) string {
	return r.IDs.Of(f.HostObject(), f.Recipe(o.ObservationKey, o.Packaging)...)
}

// versionOf is that of the objects that an observation is packaged as.
func versionOf(r *exchange.Register, f *exchange.Feed, o *record.Observation) record.Version {
	return record.Version{ID: objectID(r, f, o), SpecVersion: "2.1", Version: o.Modified}
}
