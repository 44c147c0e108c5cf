package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Cleaned returns the first record behind one that tells of hosts that are clean, and its sequence, 0 where
// there is none.
func (v *View) Cleaned(after uint64) (in *record.Intake, sequence uint64, err error) {
	it, err := v.db.NewIter(&pebble.IterOptions{LowerBound: cleanedKey(after + 1), UpperBound: []byte{'j' + 1}})
	if err != nil {
		return nil, 0, fmt.Errorf("read view: %w", err)
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	if !it.First() {
		return nil, 0, it.Error()
	}
	sequence = binary.BigEndian.Uint64(it.Key()[1:])
	in, err = v.Intake(sequence)
	return in, sequence, err
}

// CleanSince is when a host was last reported clean on a feed, zero where it was not: the address, not one of its
// locations. A team at another location learns of it too, until clean-up has states of its own.
func (v *View) CleanSince(feed string, a netip.Addr) (at time.Time, err error) {
	value, found, err := v.get(historyKey(feed, a))
	if err != nil || !found {
		return at, err
	}
	h, err := record.DecodeHistory(value)
	return h.Cleaned, err
}
