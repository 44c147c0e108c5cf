package admission

import (
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// hostDay is one host's day in a batch.
type hostDay struct {
	of      exchange.HostDay
	address bool               // a collection took something of the address before, or of a host that called it
	events  []exchange.EventID // some of those that are known
	at      []*located
	room    [1]*located // of at: most hosts are at one location
}

// located is a host's day at one location.
type located struct {
	exchange.ObservationKey
	past        *record.Observation // before this record, nil for nothing
	observation int                 // into the record's Observations, -1 for none
}

// locate adds a location to a host's day.
func (d *batch) locate(day *hostDay, of exchange.ObservationKey, past *record.Observation) *located {
	if len(d.located) == cap(d.located) {
		d.located = make([]located, 0, 256) // at once: a chunk has thousands
	}
	d.located = append(d.located, located{of, past, -1})
	l := &d.located[len(d.located)-1]
	day.at = append(day.at, l)
	return l
}

// find returns a host's day at a location, nil where there is nothing of it.
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
	if len(d.days) == cap(d.days) {
		d.days = make([]hostDay, 0, 256)
	}
	d.days = append(d.days, hostDay{of: of, address: past.Address, events: past.Events})
	day := &d.days[len(d.days)-1]
	day.at = day.room[:0]
	for i := range past.Observations {
		o := &past.Observations[i]
		d.locate(day, o.ObservationKey, o)
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
				mine = d.locate(day, l.ObservationKey, nil)
			}
			o := r.in.Observations[l.observation]
			if o.Count == 0 { // it was recalled
				mine.past = nil
				continue
			}
			o.Contacts, o.Hostnames = slices.Clone(o.Contacts), slices.Clone(o.Hostnames)
			mine.past = &o
		}
	}
}

// current is what an observation is by now: as the record changes it, else as it was before; nil where there is none.
func (d *batch) current(l *located) *record.Observation {
	if l.observation >= 0 {
		return &d.in.Observations[l.observation]
	}
	return l.past
}

// observed returns the observation that an event belongs to: that of its host's day at its location. Where nobody knows
// where the host was, it is the day's latest that is given to the same members as the event, else one without a location.
func (d *batch) observed(day *hostDay, location exchange.Location, exposed string, to exchange.Decision) *located {
	of := day.of.At(location)
	of.Exposed = exposed
	if !of.Located() {
		var latest *located
		var last time.Time
		for _, l := range day.at {
			o := d.current(l)
			if o == nil || l.Exposed != exposed {
				continue
			}
			if (latest == nil || o.Last.After(last)) && sameMembers(policy.Decide(d.rules.Register, o.Label, responsible(d.route, o)), to) {
				latest, last = l, o.Last
			}
		}
		if latest != nil {
			return latest
		}
	}
	if l := day.find(of); l != nil {
		return l
	}
	return d.locate(day, of, nil)
}

// sameMembers tells whether two decisions give something to the same members.
func sameMembers(a, b exchange.Decision) bool {
	return slices.Equal(allowed(a), allowed(b))
}

// allowed lists the collections that a decision lets in, sorted.
func allowed(v exchange.Decision) (list []string) {
	for _, g := range v.Grants {
		if g.Allow {
			list = append(list, g.Collection)
		}
	}
	return list
}

// responsible lists who is responsible for a host where it was, under any of the names that it had there.
func responsible(r exchange.Router, o *record.Observation) (matches []exchange.Match) {
	for _, name := range o.Hostnames {
		matches = union(matches, r.Route(o.Address, o.Location(), name))
	}
	return matches
}

// objectID is the identifier of the object that each observation of the feed is packaged as.
func objectID(r *exchange.Register, f *exchange.Feed, o *record.Observation) string {
	return r.IDs.Of(f.HostObject(o.Exposed), f.Recipe(o.ObservationKey, o.Packaging)...)
}

// objectIDs are those of whichever object an observation was packaged as, in any version of packaging and profile.
func objectIDs(r *exchange.Register, f *exchange.Feed, o *record.Observation) (ids []string) {
	for version := int(o.FirstPackaging); version <= int(o.Packaging); version++ {
		recipe := f.Recipe(o.ObservationKey, uint8(version))
		ids = append(ids, r.IDs.Of("observed-data", recipe...), r.IDs.Of("indicator", recipe...))
	}
	return ids
}

// versionOf is that of the objects that an observation is packaged as.
func versionOf(r *exchange.Register, f *exchange.Feed, o *record.Observation) record.Version {
	return record.Version{ID: objectID(r, f, o), SpecVersion: "2.1", Version: o.Modified}
}
