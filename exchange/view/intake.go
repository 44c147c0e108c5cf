package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// ApplyIntake adds an intake record: what admission asks of the past, and the
// feed's own collection, which refers to the record.
func (v *View) ApplyIntake(ctx context.Context, sequence uint64, record []byte) error {
	if sequence <= v.Applied() {
		return nil
	}
	text, err := v.opt.Decompress(record)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	in, err := exchange.DecodeIntake(text)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	own := exchange.FeedCollection(in.Feed)
	w := v.begin(own, false)
	defer func() { _ = w.b.Close() }()
	w.intake(in, sequence, record)
	objects, starts, news, err := v.packaged(ctx, in)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	if len(objects) == 0 {
		return w.commit("intake", sequence, nil)
	}
	h := w.h
	h.number++
	w.open(max(in.At.UnixMicro(), h.added+1), len(objects))
	for i := range objects {
		if err := w.object(objects[i].brief, place{w.first, i}, news.has(i)); err != nil {
			return fmt.Errorf("intake %d: %w", sequence, err)
		}
	}
	w.locate(h.number, sequence, w.first)
	w.store(&block{intake: sequence, number: h.number, count: len(objects), starts: starts})
	h.added = w.first + int64(len(objects)) - 1
	h.objects += int64(len(objects))
	for i := range in.Observations {
		h.label = max(h.label, in.Observations[i].Label)
	}
	return w.commit("intake", sequence, h)
}

// intake stores the record and what is looked up of it.
func (w *writer) intake(in *exchange.Intake, sequence uint64, record []byte) {
	w.set(intakeKey(sequence), record)
	at := binary.BigEndian.AppendUint64(nil, sequence)
	for i := range in.Events {
		value := append(binary.BigEndian.AppendUint32(at[:8:8], uint32(i)), 0)
		if in.Events[i].Observation >= 0 {
			value[12] = 1
		}
		w.set(eventKey(in.Feed, in.Events[i].ID()), value)
	}
	for i := range in.Observations {
		o := &in.Observations[i]
		w.set(hostKey(in.Feed, o.HostDay), o.Append(nil))
	}
	if in.Key != "" {
		w.set(keyKey(in.Feed, in.Key), at)
	}
	for _, x := range in.Introductions {
		w.set(topicKey(in.Feed, x), binary.BigEndian.AppendUint64(nil, uint64(in.At.UnixMicro())))
	}
}

// Event implements exchange.Sightings, as do the methods below.
func (v *View) Event(feed string, id exchange.EventID) (known, delivered bool, err error) {
	value, closer, err := v.db.Get(eventKey(feed, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read view: %w", err)
	}
	delivered = len(value) == 13 && value[12] == 1
	return true, delivered, closer.Close()
}

// Observation returns what is known of a host's day.
func (v *View) Observation(feed string, of exchange.HostDay) (exchange.Observation, bool, error) {
	value, closer, err := v.db.Get(hostKey(feed, of))
	if errors.Is(err, pebble.ErrNotFound) {
		return exchange.Observation{}, false, nil
	}
	if err != nil {
		return exchange.Observation{}, false, fmt.Errorf("read view: %w", err)
	}
	o, err := exchange.DecodeObservation(value)
	return o, true, errors.Join(err, closer.Close())
}

// Introduced tells when a topic was last introduced into a collection.
func (v *View) Introduced(feed string, x exchange.Introduction) (time.Time, bool, error) {
	value, found, err := v.get(topicKey(feed, x))
	if err != nil || !found || len(value) != 8 {
		return time.Time{}, false, err
	}
	return micros(int64(binary.BigEndian.Uint64(value))), true, nil
}

// IntakeByKey returns the record that an idempotency key made.
func (v *View) IntakeByKey(feed, key string) (*exchange.Intake, uint64, bool, error) {
	value, found, err := v.get(keyKey(feed, key))
	if err != nil || !found || len(value) != 8 {
		return nil, 0, false, err
	}
	sequence := binary.BigEndian.Uint64(value)
	in, err := v.Intake(sequence)
	return in, sequence, err == nil, err
}

// Intake returns an intake record.
func (v *View) Intake(sequence uint64) (*exchange.Intake, error) {
	record, found, err := v.get(intakeKey(sequence))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("intake %d is not there: %w", sequence, ErrDamaged)
	}
	text, err := v.opt.Decompress(record)
	if err != nil {
		return nil, err
	}
	return exchange.DecodeIntake(text)
}
