package hosts

import (
	"bytes"
	"errors"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// snapshot implements record.Snapshot.
type snapshot struct {
	*store.Filtered
	feed string
	s    *Hosts
	// some says that there are events that are not kept with their host, histories that there are some.
	some, histories bool
}

// Snapshot implements admission.History, as do the methods below.
func (s *Hosts) Snapshot(feed string) (record.Snapshot, error) {
	it, err := store.NewFiltered(s.DB)
	if err != nil {
		return nil, err
	}
	p := &snapshot{Filtered: it, feed: feed, s: s}
	p.some, err = it.Any(feedKey('x', feed))
	if err == nil {
		p.histories, err = it.Any(feedKey('c', feed))
	}
	if err != nil {
		return nil, errors.Join(err, it.Close())
	}
	return p, nil
}

// Host returns what is known of a host's day.
func (p *snapshot) Host(of exchange.HostDay) (h record.HostSnapshot, err error) {
	key := dayKey(p.feed, of)
	// The first of what is known of the address; of most, nothing is.
	if !p.SeekPrefixGE(key[:len(key)-4]) {
		return h, store.Failed(p.Error())
	}
	h.Address = true
	ok := true
	for n := 0; ok && bytes.Compare(p.Key(), key) < 0; n++ { // days are in their order, and usually few
		if n < 8 {
			ok = p.Next()
		} else {
			ok = p.SeekPrefixGE(key)
		}
	}
	for ; ok && bytes.HasPrefix(p.Key(), key); ok = p.Next() {
		r, err := hostUnder(p.Iterator)
		if err != nil {
			return h, err
		}
		h.Observations = append(h.Observations, r.observation)
		for _, e := range r.events {
			h.Events = append(h.Events, e.id)
		}
	}
	return h, store.Failed(p.Error())
}

// Event tells of an event that is not kept with its host.
func (p *snapshot) Event(id exchange.EventID) (known, delivered bool, err error) {
	if !p.some {
		return false, false, nil
	}
	value, known, err := p.Get(eventKey(p.feed, id))
	return known, len(value) == 9 && value[8] == 1, err
}

// Histories tells whether anything is known of any address, of all days together.
func (p *snapshot) Histories() bool { return p.histories }

// History returns what is known of an address, of all days together.
func (p *snapshot) History(a netip.Addr) (h record.AddressHistory, err error) {
	if !p.histories {
		return h, nil
	}
	value, known, err := p.Get(historyKey(p.feed, a))
	if err != nil || !known {
		return h, err
	}
	return record.DecodeHistory(value)
}

// Seen returns the observations of an address on the last day that has one that began by then.
func (p *snapshot) Seen(a netip.Addr, by time.Time) (list []record.Observation, err error) {
	if by.Unix() < 0 { // no day that a key has
		return nil, nil
	}
	it, err := p.s.DB.NewIter(&pebble.IterOptions{LowerBound: addressKey(p.feed, a), UpperBound: dayKey(p.feed, exchange.HostDay{Address: a, Day: exchange.DayOf(by) + 1})})
	if err != nil {
		return nil, store.Failed(err)
	}
	defer store.Close(&err, it)
	for ok := it.Last(); ok; ok = it.Prev() {
		h, err := hostUnder(it)
		if err != nil {
			return nil, err
		}
		o := h.observation
		if len(list) > 0 && o.Day != list[0].Day {
			break
		}
		if !o.First.After(by) {
			list = append(list, o)
		}
	}
	return list, store.Failed(it.Error())
}

// hostUnder decodes the record that an iterator stands at.
func hostUnder(it *pebble.Iterator) (h hostRecord, err error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return h, store.Failed(err)
	}
	return decodeHost(value)
}

// Delivered tells whether a collection has an object, in any version.
func (p *snapshot) Delivered(collection, id string) (bool, error) {
	return p.s.Delivered(p.Filtered, collection, id)
}
