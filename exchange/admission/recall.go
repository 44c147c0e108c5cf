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
	id, l, found, err := d.findEvent(*e, day)
	if err != nil {
		return err
	}
	if !found || d.recalled[id] {
		r.Rejected++
		r.AddProblem(exchange.Problem{Line: e.Line, Reason: "is not on the feed, or was recalled before"})
		return nil
	}
	r.Events++
	d.recalled[id] = true
	d.in.Recalled = append(d.in.Recalled, id)
	if l != nil { // else nobody was given it
		d.change(day, l).Subtract(e)
	}
	return nil
}

// findEvent returns the id under which an event is known, and the observation that it is part of, nil where it was withheld. A
// row that had no label of its own was given that of what it came with.
func (d *batch) findEvent(e exchange.Event, day *hostDay) (id exchange.EventID, at *located, found bool, err error) {
	own := e.Label
	for _, label := range append([]tlp.Level{own, tlp.None}, tlp.Levels()...) {
		e.Label = label
		known, delivered, err := d.known(e.ID(), day)
		if delivered {
			at = d.partOf(&e, day)
		}
		if err != nil || known {
			return e.ID(), at, true, err
		}
	}
	return id, nil, false, nil
}

// partOf returns the observation that an event is part of: the one at its location, else, since the networks table may have
// changed, the one that has its contact, else any.
func (d *batch) partOf(e *exchange.Event, day *hostDay) (at *located) {
	location, _ := d.route.Locate(e)
	best := 0
	for _, l := range day.at {
		o := d.current(l)
		if o == nil || o.Count == 0 || l.Exposed != e.Exposed {
			continue
		}
		likely := 1
		switch {
		case l.ASN == location.ASN && l.Country == location.Country:
			likely = 3
		case o.HasContact(e):
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
	o.New, o.NewAddress = false, false
	if o.Count == 0 {
		o.Decision = d.keep(exchange.Decision{Label: o.Label})
		for _, c := range holders {
			d.in.Withdrawals = append(d.in.Withdrawals, record.Withdrawal{Collection: c, Observation: l.observation})
		}
		return nil
	}
	if err := d.remake(l, o); err != nil {
		return err
	}
	o.Packaging = d.in.Packaging
	if o.Modified = o.Last; l.past != nil && !o.Modified.After(l.past.Modified) {
		o.Modified = l.past.Modified.Add(time.Millisecond)
	}
	v := policy.Decide(d.rules.Register, o.Label, responsible(d.route, o))
	v.Grants = slices.DeleteFunc(slices.Clone(v.Grants), func(g exchange.Grant) bool { return !slices.Contains(holders, g.Collection) })
	o.Decision = d.keep(v)
	return nil
}

// remake makes an observation of the events that are left of it, where all of them are known: what only recalled events have said
// is gone then. Its label stays, since a label can have been raised by other means.
func (d *batch) remake(l *located, o *record.Observation) error {
	day := d.hosts[l.HostDay]
	sequences, err := d.f.a.History.HostRecords(d.feed.ID, l.HostDay)
	if err != nil {
		return err
	}
	records := make(map[uint64]*record.Intake)
	for _, r := range d.f.recent {
		records[r.sequence] = r.in
		sequences = append(sequences, r.sequence)
	}
	slices.Sort(sequences)
	var left record.Observation
	seen := make(map[exchange.EventID]bool)
	for _, sequence := range slices.Compact(sequences) {
		in := records[sequence]
		if in == nil {
			if in, err = d.intake(sequence); err != nil {
				return err
			}
		}
		for i := range in.Events {
			a := &in.Events[i]
			if a.Address != l.Address || a.Observation < 0 || in.Observations[a.Observation].ObservationKey != l.ObservationKey {
				continue
			}
			id := a.ID()
			if seen[id] || d.recalled[id] {
				continue
			}
			seen[id] = true
			if _, delivered, err := d.known(id, day); err != nil || !delivered { // it was recalled before
				if err != nil {
					return err
				}
				continue
			}
			left.Merge(&a.Event, in.Decisions[a.Decision].Label, a.Location.Evidence)
		}
	}
	if left.Count != o.Count { // more than are kept with a host
		return nil
	}
	o.First, o.Last, o.Contacts, o.Hostnames = left.First, left.Last, left.Contacts, left.Hostnames
	o.Malware, o.MalwareAt, o.Provider, o.Protocol, o.Extra, o.Evidence = left.Malware, left.MalwareAt, left.Provider, left.Protocol, left.Extra, left.Evidence
	return nil
}

// intake returns a record, which many hosts have in common.
func (d *batch) intake(sequence uint64) (in *record.Intake, err error) {
	if in = d.intakes[sequence]; in != nil {
		return in, nil
	}
	if in, err = d.f.a.History.Intake(sequence); err != nil {
		return nil, err
	}
	if d.intakes == nil || len(d.intakes) >= maxIntakes {
		d.intakes = make(map[uint64]*record.Intake)
	}
	d.intakes[sequence] = in
	return in, nil
}

// maxIntakes is how many records are remembered.
const maxIntakes = 64

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
