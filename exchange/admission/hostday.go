package admission

import (
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// hostDay is one host's day in a batch.
type hostDay struct {
	of      exchange.HostDay
	address bool               // a collection took something of the address before, or of a host that called it
	events  []exchange.EventID // some of those that are known
	at      []*located
}

// located is a host's day at one location.
type located struct {
	exchange.ObservationKey
	known       bool // before this record
	past        record.Observation
	observation int // into the record's Observations, -1 for none
}

// at returns a host's day at a location, nil where there is nothing of it.
func (h *hostDay) find(of exchange.ObservationKey) *located {
	for _, l := range h.at {
		if l.ObservationKey == of {
			return l
		}
	}
	return nil
}

// day returns a host's day, with all that is known of it.
func (d *batch) day(of exchange.HostDay) (*hostDay, error) {
	if day := d.hosts[of]; day != nil {
		return day, nil
	}
	past, err := d.past.Host(of)
	if err != nil {
		return nil, err
	}
	day := &hostDay{of: of, address: past.Address, events: past.Events}
	for _, o := range past.Observations {
		day.at = append(day.at, &located{ObservationKey: o.ObservationKey, known: true, past: o, observation: -1})
	}
	if d.f.addresses[of.Address] > 0 { // else no recent record has it
		d.recent(day)
	}
	if !d.addresses[of.Address] {
		d.addresses[of.Address] = false
	}
	d.hosts[of] = day
	return day, nil
}

// recent puts what records know that the history does not into a day.
func (d *batch) recent(day *hostDay) {
	for _, r := range d.f.recent { // what is later replaces what was before
		day.address = day.address || r.addresses[day.of.Address] || r.called[day.of.Address]
		theirs := r.hosts[day.of]
		if theirs == nil {
			continue
		}
		for _, l := range theirs.at {
			if l.observation < 0 {
				continue
			}
			mine := day.find(l.ObservationKey)
			if mine == nil {
				mine = &located{ObservationKey: l.ObservationKey, observation: -1}
				day.at = append(day.at, mine)
			}
			o := r.in.Observations[l.observation]
			o.Contacts, o.Hostnames = slices.Clone(o.Contacts), slices.Clone(o.Hostnames)
			mine.known, mine.past = true, o
		}
	}
}

// locate returns the observation that an event belongs to: that of its host's day at its location. Where nobody knows
// where the host was, it is the day's latest that the same members are responsible for, else one without a location.
func (d *batch) locate(day *hostDay, location exchange.Location, matches []exchange.Match) *located {
	of := day.of.At(location)
	if !of.Located() {
		var latest *located
		var last time.Time
		for _, l := range day.at {
			o := &l.past
			if l.observation >= 0 {
				o = &d.in.Observations[l.observation]
			}
			if (latest == nil || o.Last.After(last)) && sameMembers(responsible(d.route, o), matches) {
				latest, last = l, o.Last
			}
		}
		if latest != nil {
			return latest
		}
	}
	l := day.find(of)
	if l == nil {
		l = &located{ObservationKey: of, observation: -1}
		day.at = append(day.at, l)
	}
	return l
}

// sameMembers tells whether two lists, each sorted by member, are of the same members, by whatever keys.
func sameMembers(a, b []exchange.Match) bool {
	return slices.EqualFunc(a, b, func(x, y exchange.Match) bool { return x.Member == y.Member })
}
