package view

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// snapshot implements record.Snapshot.
type snapshot struct {
	feed string
	it   *pebble.Iterator
	some bool // there are events that are not kept with their host
	v    *View
	// histories says that there are some.
	histories bool
}

// Snapshot implements admission.History, as do the methods below.
func (v *View) Snapshot(feed string) (record.Snapshot, error) {
	it, err := absent(v.db)
	if err != nil {
		return nil, err
	}
	p := &snapshot{feed: feed, it: it, v: v}
	for kind, some := range map[byte]*bool{'x': &p.some, 'c': &p.histories} {
		prefix := feedKey(kind, feed)
		*some = it.SeekGE(prefix) && bytes.HasPrefix(it.Key(), prefix)
		if err := it.Error(); err != nil { // which the next look forgets
			return nil, errors.Join(fmt.Errorf("read view: %w", err), it.Close())
		}
	}
	return p, nil
}

// Host returns what is known of a host's day.
func (p *snapshot) Host(of exchange.HostDay) (h record.HostSnapshot, err error) {
	key := dayKey(p.feed, of)
	// The first of what is known of the address; of most, nothing is.
	if !p.it.SeekPrefixGE(key[:len(key)-4]) {
		return h, p.it.Error()
	}
	h.Address = true
	for n := 0; !bytes.HasPrefix(p.it.Key(), key); n++ {
		// There are few days, in their order.
		ok := n < 8 && p.it.Next() || n == 8 && p.it.SeekPrefixGE(key)
		if !ok || bytes.Compare(p.it.Key(), key) > 0 && !bytes.HasPrefix(p.it.Key(), key) {
			return h, p.it.Error()
		}
	}
	for ok := true; ok && bytes.HasPrefix(p.it.Key(), key); ok = p.it.Next() {
		r, err := hostUnder(p.it)
		if err != nil {
			return h, err
		}
		h.Observations = append(h.Observations, r.observation)
		for _, e := range r.events {
			h.Events = append(h.Events, e.id)
		}
	}
	return h, p.it.Error()
}

// Event tells of an event that is not kept with its host.
func (p *snapshot) Event(id exchange.EventID) (known, delivered bool, err error) {
	if !p.some || !p.it.SeekPrefixGE(eventKey(p.feed, id)) {
		return false, false, p.it.Error()
	}
	value, err := p.it.ValueAndErr()
	return err == nil, len(value) == 9 && value[8] == 1, err
}

// Histories tells whether anything is known of any address, of all days together.
func (p *snapshot) Histories() bool { return p.histories }

// History returns what is known of an address, of all days together.
func (p *snapshot) History(a netip.Addr) (h record.AddressHistory, err error) {
	if !p.histories || !p.it.SeekPrefixGE(historyKey(p.feed, a)) {
		return h, p.it.Error()
	}
	value, err := p.it.ValueAndErr()
	if err != nil {
		return h, err
	}
	return record.DecodeHistory(value)
}

// Seen returns the observations of an address on the last day that has one that began by then.
func (p *snapshot) Seen(a netip.Addr, by time.Time) (list []record.Observation, err error) {
	if by.Unix() < 0 { // no day that a key has
		return nil, nil
	}
	it, err := p.v.db.NewIter(&pebble.IterOptions{LowerBound: addressKey(p.feed, a), UpperBound: dayKey(p.feed, exchange.HostDay{Address: a, Day: exchange.DayOf(by) + 1})})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
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
	return list, it.Error()
}

// Delivered tells whether a collection has an object, in any version.
func (p *snapshot) Delivered(collection, text string) (bool, error) {
	c, known := p.v.number(collection)
	id, ok := parseID([]byte(text))
	if !known || !ok {
		return false, nil
	}
	_, found, err := p.v.inEpochs(c, id, func(key []byte) ([]byte, bool, error) { return at(p.it, key) })
	return found, err
}

// Close ends the look back.
func (p *snapshot) Close() error { return p.it.Close() }
