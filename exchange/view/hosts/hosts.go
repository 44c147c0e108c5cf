// Package hosts is what the view knows of infected hosts, as admission asks for it: the intake records, and by feed what was
// seen of an address when.
//
// Keys, big-endian, where f is a feed:
//
//	e sequence       an intake record, compressed
//	j sequence       that one tells of hosts that are clean
//	a f 0 length address day AS country exposed
//	                 what is known of a host's day at a location, or of what is exposed there, with its first events; a f 0 length address 0xff
//	                 where hosts called the address
//	x f event        in which record an event is that is not there, and whether any collection took it
//	c f address      what is known of an address, of all days together
//	k f key          the record that an idempotency key made
//	f f              the last record of the feed that takes events back
//	s f length address day sequence
//	                 that this record had an event of the host's day that was recalled
//	t f collection topic   when it was introduced last
package hosts

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// Hosts is safe for concurrent use, but for Add.
type Hosts struct {
	DB *pebble.DB
	// Decompress undoes what the journal compressed and appends it to dst.
	Decompress func(dst, data []byte) ([]byte, error)
	// Delivered tells whether a collection has an object, in any version.
	Delivered func(before *store.Filtered, collection, id string) (bool, error)
}

// Add puts an intake record, as it is compressed, into a batch, and what is looked up of it. before is the view before the
// batch.
func (s *Hosts) Add(b *pebble.Batch, before *store.Filtered, in *record.Intake, sequence uint64, compressed []byte) error {
	store.Set(b, intakeKey(sequence), compressed)
	if len(in.Cleaned) > 0 {
		store.Set(b, cleanedKey(sequence), nil)
	}
	at := binary.BigEndian.AppendUint64(nil, sequence)
	events, called := make([][]exchange.EventID, len(in.Observations)), make(map[netip.Addr]bool)
	for i := range in.Events {
		id := in.Events[i].ID()
		if o := in.Events[i].Observation; o >= 0 {
			events[o] = append(events[o], id)
			if a := in.Events[i].Dst; a.IsValid() && !called[a] {
				called[a] = true
				store.Set(b, calledKey(in.Feed, a), nil)
			}
			continue
		}
		store.Set(b, eventKey(in.Feed, id), append(at[:8:8], 0))
	}
	recalled := make(map[exchange.EventID]bool, len(in.Recalled))
	for _, id := range in.Recalled {
		recalled[id] = true
		store.Delete(b, eventKey(in.Feed, id))
	}
	if in.Reason != "" {
		store.Set(b, recallKey(in.Feed), at)
	}
	for _, i := range inOrder(in.Observations) {
		o := &in.Observations[i]
		if o.Erased() {
			continue
		}
		key := hostKey(in.Feed, o.ObservationKey)
		var h hostRecord
		if !o.New {
			value, found, err := before.Get(key)
			if found && err == nil {
				h, err = decodeHost(value)
			}
			if err != nil {
				return err
			}
		}
		h.events = slices.DeleteFunc(h.events, func(e hostEvent) bool {
			gone := o.Count == 0 || recalled[e.id]
			if gone { // who was given it can still be told
				store.Set(b, goneKey(in.Feed, o.HostDay, e.sequence), nil)
			}
			return gone
		})
		if o.Count == 0 { // all of it was recalled; collections may still have the address
			store.Delete(b, key)
			store.Set(b, calledKey(in.Feed, o.Address), nil)
			continue
		}
		if in.Backfill && len(h.events) < maxInline+maxBackfills {
			h.events = append(h.events, hostEvent{sequence: sequence})
		}
		for _, id := range events[i] {
			if len(h.events) >= maxInline {
				store.Set(b, eventKey(in.Feed, id), append(at[:8:8], 1))
				continue
			}
			h.events = append(h.events, hostEvent{id, sequence})
		}
		h.observation = *o
		store.Set(b, key, h.append(nil))
	}
	if err := s.addHistories(b, in); err != nil {
		return err
	}
	if in.Key != "" {
		store.Set(b, keyKey(in.Feed, in.Key), at)
	}
	for _, x := range in.Introductions {
		store.Set(b, topicKey(in.Feed, x), binary.BigEndian.AppendUint64(nil, uint64(in.At.UnixMicro())))
	}
	return nil
}

// inOrder returns the places of observations in the order of their hosts' keys.
func inOrder(list []record.Observation) []int {
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return list[a].Compare(list[b].ObservationKey) })
	return order
}

// addHistories stores what the record adds to what is known of addresses, of all days together.
func (s *Hosts) addHistories(b *pebble.Batch, in *record.Intake) error {
	changed := make(map[netip.Addr]*record.AddressHistory)
	of := func(a netip.Addr) (*record.AddressHistory, error) {
		if h := changed[a]; h != nil {
			return h, nil
		}
		value, found, err := store.Get(s.DB, historyKey(in.Feed, a))
		h := new(record.AddressHistory)
		if found && err == nil {
			*h, err = record.DecodeHistory(value)
		}
		changed[a] = h
		return h, err
	}
	for _, c := range in.Cleaned {
		h, err := of(c.Address)
		if err != nil {
			return err
		}
		h.Clean(c.At)
	}
	for i := range in.Observations {
		o := &in.Observations[i]
		relapse := o.Relapse && !in.Backfill // which tells those who know nothing new
		if !in.Repeats && !relapse || o.Exposed != "" || o.Erased() {
			continue
		}
		h, err := of(o.Address)
		if err != nil {
			return err
		}
		h.Relapsed = h.Relapsed || relapse && o.Last.After(h.Cleaned)
		if o.Count == 0 { // those who had it have it no more
			h.Sent = nil
			continue
		}
		if in.Repeats {
			h.Deliver(in.Decisions[o.Decision].Grants, o.Last)
		}
	}
	for a, h := range changed {
		store.Set(b, historyKey(in.Feed, a), h.Append(nil))
	}
	return nil
}

// maxInline is how many events of a host's day are kept with it, so that few
// lookups are enough for the usual host.
const maxInline = 64

// maxBackfills is how many back-fills are kept with it beyond that.
const maxBackfills = 16

// hostRecord is the value of an 'a' key.
type hostRecord struct {
	events      []hostEvent
	observation record.Observation
}

// hostEvent is an event and the record that it is in.
type hostEvent struct {
	id       exchange.EventID
	sequence uint64
}

func (h *hostRecord) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(h.events)))
	for _, e := range h.events {
		b = binary.AppendUvarint(append(b, e.id[:]...), e.sequence)
	}
	return h.observation.Append(b)
}

func decodeHost(b []byte) (h hostRecord, err error) {
	r := store.Reads{B: b}
	for range r.Int() {
		var e hostEvent
		copy(e.id[:], r.Take(len(e.id)))
		e.sequence = r.Number()
		if r.Bad {
			return h, store.ErrDamaged
		}
		h.events = append(h.events, e)
	}
	h.observation, err = record.DecodeObservation(r.B)
	return h, err
}

// HostDays lists the days on which a feed has seen a host, the first first.
func (s *Hosts) HostDays(feed string, a netip.Addr) (list []exchange.Day, err error) {
	lower := addressKey(feed, a)
	err = store.Each(s.DB, lower, calledKey(feed, a), func(key, _ []byte) (bool, error) {
		if len(key) >= len(lower)+hostSuffix {
			list = append(list, exchange.Day(binary.BigEndian.Uint32(key[len(lower):])))
		}
		return true, nil
	})
	if err == nil {
		err = store.EachUnder(s.DB, goneAddress(feed, a), func(rest, _ []byte) (bool, error) {
			if len(rest) == 12 {
				list = append(list, exchange.Day(binary.BigEndian.Uint32(rest)))
			}
			return true, nil
		})
	}
	slices.Sort(list)
	return slices.Compact(list), err
}

// hostDay reads what is known of a host's day, at one location after the other.
func (s *Hosts) hostDay(feed string, of exchange.HostDay) (list []hostRecord, err error) {
	err = store.EachUnder(s.DB, dayKey(feed, of), func(_, value []byte) (bool, error) {
		h, err := decodeHost(value)
		list = append(list, h)
		return true, err
	})
	return list, err
}

// HostRecords lists the intake records that hold events of a host's day on a feed, the
// first of many; withheld events are in none of them.
func (s *Hosts) HostRecords(feed string, of exchange.HostDay) (list []uint64, err error) {
	records, err := s.hostDay(feed, of)
	for _, h := range records {
		for _, e := range h.events {
			list = append(list, e.sequence)
		}
	}
	if err == nil {
		err = store.EachUnder(s.DB, goneDay(feed, of), func(rest, _ []byte) (bool, error) {
			if len(rest) == 8 {
				list = append(list, binary.BigEndian.Uint64(rest))
			}
			return true, nil
		})
	}
	slices.Sort(list)
	return slices.Compact(list), err
}

// EventRecord returns the intake record of an event, 0 where it is not known.
func (s *Hosts) EventRecord(feed string, of exchange.HostDay, id exchange.EventID) (uint64, error) {
	value, found, err := store.Get(s.DB, eventKey(feed, id))
	if err != nil || found && len(value) >= 8 {
		return sequenceOf(value), err
	}
	records, err := s.hostDay(feed, of)
	for _, h := range records {
		for _, e := range h.events {
			if e.id == id {
				return e.sequence, err
			}
		}
	}
	return 0, err
}

func sequenceOf(value []byte) uint64 {
	if len(value) < 8 {
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// Introduced tells when a topic was last introduced into a collection.
func (s *Hosts) Introduced(feed string, x record.Introduction) (time.Time, bool, error) {
	value, found, err := store.Get(s.DB, topicKey(feed, x))
	if err != nil || !found || len(value) != 8 {
		return time.Time{}, false, err
	}
	return micros(int64(binary.BigEndian.Uint64(value))), true, nil
}

// IntakeByKey returns the record that an idempotency key made.
func (s *Hosts) IntakeByKey(feed, key string) (*record.Intake, uint64, bool, error) {
	value, found, err := store.Get(s.DB, keyKey(feed, key))
	if err != nil || !found || len(value) != 8 {
		return nil, 0, false, err
	}
	sequence := binary.BigEndian.Uint64(value)
	recalled, _, err := store.Get(s.DB, recallKey(feed))
	if err != nil || len(recalled) == 8 && binary.BigEndian.Uint64(recalled) > sequence { // what was recalled may come again
		return nil, 0, false, err
	}
	in, err := s.Intake(sequence)
	return in, sequence, err == nil, err
}

// IntakeData returns an intake record as it is in the journal, false where there is none.
func (s *Hosts) IntakeData(sequence uint64) (data []byte, found bool, err error) {
	return store.Get(s.DB, intakeKey(sequence))
}

// Intake returns an intake record.
func (s *Hosts) Intake(sequence uint64) (*record.Intake, error) {
	data, found, err := store.Get(s.DB, intakeKey(sequence))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("intake %d is not there: %w", sequence, store.ErrDamaged)
	}
	text, err := s.Decompress(nil, data)
	if err != nil {
		return nil, err
	}
	return record.DecodeIntake(text)
}
