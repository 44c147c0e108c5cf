package admission

import (
	"cmp"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A publisher that learns that rows were wrong recalls them: the chunk of a recall has the events, and takes them back. A host's
// day of which nothing is left is withdrawn from all who have it; of another, those who have it get a version that says less. The
// events are forgotten, so that they can be published again.

// recall takes one event back.
func (d *batch) recall(e *exchange.Event) error {
	r := &d.in.Receipt
	day, err := d.day(exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)})
	if err != nil {
		return err
	}
	id, l, err := d.findEvent(*e, day)
	if err != nil {
		return err
	}
	if l == nil || d.recalled[id] {
		r.Rejected++
		r.AddProblem(exchange.Problem{Line: e.Line, Reason: "is not on the feed, or was recalled before"})
		return nil
	}
	r.Events++
	d.recalled[id] = true
	d.in.Recalled = append(d.in.Recalled, id)
	d.change(day, l).Subtract(e)
	return nil
}

// findEvent returns the id under which an event is known, and the observation that it is part of. A row that had no label of its own
// was given that of what it came with.
func (d *batch) findEvent(e exchange.Event, day *hostDay) (id exchange.EventID, at *located, err error) {
	own := e.Label
	for _, label := range append([]tlp.Level{own, tlp.None}, tlp.Levels()...) {
		e.Label = label
		if _, delivered, err := d.known(e.ID(), day); err != nil || delivered {
			return e.ID(), d.partOf(&e, day), err
		}
	}
	return id, nil, nil
}

// partOf returns the observation that an event is part of: the one that has its contact, else the one at its location, else
// any that is of its time.
func (d *batch) partOf(e *exchange.Event, day *hostDay) (at *located) {
	location, _ := d.route.Locate(e)
	best := 0
	for _, l := range day.at {
		o := l.past
		if l.observation >= 0 {
			o = &d.in.Observations[l.observation]
		}
		if o == nil || o.Count == 0 || l.Exposed != e.Exposed {
			continue
		}
		likely := 1
		switch {
		case o.HasContact(e):
			likely = 3
		case l.ASN == location.ASN && l.Country == location.Country:
			likely = 2
		}
		if likely > best {
			at, best = l, likely
		}
	}
	return at
}

// finishRecall ends what recalls have changed: what is left of an observation goes to those who have it, and one of which
// nothing is left leaves them.
func (d *batch) finishRecall(l *located) error {
	o := &d.in.Observations[l.observation]
	holders, err := d.holders(l)
	if err != nil {
		return err
	}
	for _, c := range holders {
		d.in.Receipt.Collections[c]++
	}
	if o.Count == 0 {
		o.Decision = d.keep(exchange.Decision{Label: o.Label})
		for _, c := range holders {
			d.in.Withdrawals = append(d.in.Withdrawals, record.Withdrawal{Collection: c, Observation: l.observation})
		}
		return nil
	}
	o.New, o.NewAddress, o.Packaging = false, false, d.in.Packaging
	if o.Modified = o.Last; l.past != nil && !o.Modified.After(l.past.Modified) {
		o.Modified = l.past.Modified.Add(time.Millisecond)
	}
	v := policy.Decide(d.rules.Register, o.Label, responsible(d.route, o))
	v.Grants = slices.DeleteFunc(slices.Clone(v.Grants), func(g exchange.Grant) bool { return !slices.Contains(holders, g.Collection) })
	o.Decision = d.keep(v)
	return nil
}

// holders lists the collections that have an observation, sorted, but for the feed's own: that is the publisher's record of what
// it has published.
func (d *batch) holders(l *located) (list []string, err error) {
	if l.past == nil {
		return nil, nil
	}
	ids := objectIDs(d.rules.Register, d.feed, l.past)
	has := func(c string) error {
		given := d.onItsWay(c, l.ObservationKey)
		for _, id := range ids {
			if given || err != nil {
				break
			}
			given, err = d.past.Delivered(c, id)
		}
		if given {
			list = append(list, c)
		}
		return err
	}
	for i := range d.rules.Register.Members {
		if err := has(d.rules.Register.Members[i].ID); err != nil {
			return nil, err
		}
	}
	if err := has(exchange.Unclaimed); err != nil {
		return nil, err
	}
	slices.SortFunc(list, cmp.Compare)
	return list, nil
}
