package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// ApplyIntake adds an intake record: what admission asks of the past, and the
// feed's own collection, which refers to the record.
func (v *View) ApplyIntake(ctx context.Context, sequence uint64, data []byte) error {
	if sequence <= v.Applied() {
		return nil
	}
	text, err := v.opt.Decompress(nil, data)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	in, err := record.DecodeIntake(text)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	own := exchange.FeedCollection(in.Feed)
	w := v.begin(own, false)
	defer w.close()
	if err := w.intake(in, sequence, data); err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	share, err := packaged(ctx, in, v.opt.Shares)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	objects := share.objects
	if len(objects) == 0 {
		return w.commit("intake", sequence, nil)
	}
	h := w.h
	h.number++
	w.open(max(in.At.UnixMicro(), h.added+1), block{intake: sequence, feed: in.Feed, number: h.number, count: len(objects), starts: share.starts})
	for i := range objects {
		brief, ok := stix.ScanBrief(objects[i].Raw)
		if !ok {
			return fmt.Errorf("intake %d: package object %d: %w", sequence, i, ErrDamaged) // the id itself can tell an address
		}
		if err := w.object(brief, i, share.news.has(i)); err != nil {
			return fmt.Errorf("intake %d: %w", sequence, err)
		}
	}
	if err := w.index(); err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	w.locate(h.number, sequence, w.first)
	w.store()
	h.added = w.first + int64(len(objects)) - 1
	h.objects += int64(len(objects))
	h.label = max(h.label, share.label)
	return w.commit("intake", sequence, h)
}

// intake stores the record and what is looked up of it.
func (w *writer) intake(in *record.Intake, sequence uint64, record []byte) error {
	w.set(intakeKey(sequence), record)
	if len(in.Cleaned) > 0 {
		w.set(cleanedKey(sequence), nil)
	}
	at := binary.BigEndian.AppendUint64(nil, sequence)
	events, called := make([][]exchange.EventID, len(in.Observations)), make(map[netip.Addr]bool)
	for i := range in.Events {
		id := in.Events[i].ID()
		if o := in.Events[i].Observation; o >= 0 {
			events[o] = append(events[o], id)
			if a := in.Events[i].Dst; a.IsValid() && !called[a] {
				called[a] = true
				w.set(calledKey(in.Feed, a), nil)
			}
			continue
		}
		w.set(eventKey(in.Feed, id), append(at[:8:8], 0))
	}
	for _, i := range inOrder(in.Observations) {
		o := &in.Observations[i]
		key := hostKey(in.Feed, o.ObservationKey)
		var h hostRecord
		if !o.New {
			value, found, err := w.before(key)
			if found && err == nil {
				h, err = decodeHost(value)
			}
			if err != nil {
				return err
			}
		}
		if in.Backfill && len(h.events) < maxInline+maxBackfills {
			h.events = append(h.events, hostEvent{sequence: sequence})
		}
		for _, id := range events[i] {
			if len(h.events) >= maxInline {
				w.set(eventKey(in.Feed, id), append(at[:8:8], 1))
				continue
			}
			h.events = append(h.events, hostEvent{id, sequence})
		}
		h.observation = *o
		w.set(key, h.append(nil))
	}
	if err := w.histories(in); err != nil {
		return err
	}
	if in.Key != "" {
		w.set(keyKey(in.Feed, in.Key), at)
	}
	for _, x := range in.Introductions {
		w.set(topicKey(in.Feed, x), binary.BigEndian.AppendUint64(nil, uint64(in.At.UnixMicro())))
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

// histories stores what the record adds to what is known of addresses whatever the day.
func (w *writer) histories(in *record.Intake) error {
	changed := make(map[netip.Addr]*record.AddressHistory)
	of := func(a netip.Addr) (*record.AddressHistory, error) {
		if h := changed[a]; h != nil {
			return h, nil
		}
		value, found, err := w.v.get(historyKey(in.Feed, a))
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
		if !in.Repeats && !relapse {
			continue
		}
		h, err := of(o.Address)
		if err != nil {
			return err
		}
		h.Relapsed = h.Relapsed || relapse && o.Last.After(h.Cleaned)
		if in.Repeats {
			h.Deliver(in.Decisions[o.Decision].Grants, o.Last)
		}
	}
	for a, h := range changed {
		w.set(historyKey(in.Feed, a), h.Append(nil))
	}
	return nil
}

// maxInline is how many events of a host's day are kept with it, so that few
// lookups are enough for the usual host.
const maxInline = 64

// maxBackfills is how many back-fills of it there are besides at the least.
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
	r := reads{b: b}
	for range r.int() {
		var e hostEvent
		copy(e.id[:], r.take(len(e.id)))
		e.sequence = r.number()
		if r.bad {
			return h, ErrDamaged
		}
		h.events = append(h.events, e)
	}
	h.observation, err = record.DecodeObservation(r.b)
	return h, err
}

// hostUnder decodes the record that an iterator stands at.
func hostUnder(it *pebble.Iterator) (h hostRecord, err error) {
	value, err := it.ValueAndErr()
	if err != nil {
		return h, err
	}
	return decodeHost(value)
}

// HostDays lists the days on which a feed has seen a host, the first first.
func (v *View) HostDays(feed string, a netip.Addr) (list []exchange.Day, err error) {
	lower := addressKey(feed, a)
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: calledKey(feed, a)})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		if key := it.Key(); len(key) == len(lower)+hostSuffix {
			list = append(list, exchange.Day(binary.BigEndian.Uint32(key[len(lower):])))
		}
	}
	return slices.Compact(list), it.Error()
}

// hostDay reads what is known of a host's day, at one location after the other.
func (v *View) hostDay(feed string, of exchange.HostDay) (list []hostRecord, err error) {
	it, err := under(v.db, dayKey(feed, of))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		h, err := hostUnder(it)
		if err != nil {
			return nil, err
		}
		list = append(list, h)
	}
	return list, it.Error()
}

// HostRecords lists the intake records that hold events of a host's day on a feed, the
// first of many; withheld events are in none of them.
func (v *View) HostRecords(feed string, of exchange.HostDay) (list []uint64, err error) {
	records, err := v.hostDay(feed, of)
	for _, h := range records {
		for _, e := range h.events {
			list = append(list, e.sequence)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), err
}

// EventRecord returns the intake record of an event, 0 where it is not known.
func (v *View) EventRecord(feed string, of exchange.HostDay, id exchange.EventID) (uint64, error) {
	value, found, err := v.get(eventKey(feed, id))
	if err != nil || found && len(value) >= 8 {
		return sequenceOf(value), err
	}
	records, err := v.hostDay(feed, of)
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
func (v *View) Introduced(feed string, x record.Introduction) (time.Time, bool, error) {
	value, found, err := v.get(topicKey(feed, x))
	if err != nil || !found || len(value) != 8 {
		return time.Time{}, false, err
	}
	return micros(int64(binary.BigEndian.Uint64(value))), true, nil
}

// IntakeByKey returns the record that an idempotency key made.
func (v *View) IntakeByKey(feed, key string) (*record.Intake, uint64, bool, error) {
	value, found, err := v.get(keyKey(feed, key))
	if err != nil || !found || len(value) != 8 {
		return nil, 0, false, err
	}
	sequence := binary.BigEndian.Uint64(value)
	in, err := v.Intake(sequence)
	return in, sequence, err == nil, err
}

// Intake returns an intake record.
func (v *View) Intake(sequence uint64) (*record.Intake, error) {
	data, found, err := v.get(intakeKey(sequence))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("intake %d is not there: %w", sequence, ErrDamaged)
	}
	text, err := v.opt.Decompress(nil, data)
	if err != nil {
		return nil, err
	}
	return record.DecodeIntake(text)
}
