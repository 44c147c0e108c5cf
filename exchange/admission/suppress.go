package admission

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// suppressRepeats takes back what was granted of a host, last seen then, to those who were given it
// less than a window before or after.
func suppressRepeats(h *record.AddressHistory, v *exchange.Decision, last time.Time, window time.Duration) (some bool) {
	for i := range v.Grants {
		g := &v.Grants[i]
		if j := h.SentTo(g.Collection); g.Allow && j >= 0 && last.Sub(h.Sent[j].Last).Abs() < window {
			g.Verdict, some = exchange.Verdict{Rule: exchange.RuleRepeat}, true
		}
	}
	return some
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

// suppress takes an observation back from those who were given the host within the feed's window, and marks a
// relapse, which is told to everybody.
func (d *batch) suppress(l *located, o *record.Observation) error {
	if d.histories == nil || o.Exposed != "" { // which is no infection, and no relapse
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
	if suppressRepeats(h, &v, o.Last, window) {
		o.Decision = d.keep(v)
	}
	h.Deliver(v.Grants, o.Last)
	return nil
}
