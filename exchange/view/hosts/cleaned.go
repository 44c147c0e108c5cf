package hosts

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// Cleaned returns the first record behind one that tells of hosts that are clean, and its sequence, 0 where
// there is none.
func (s *Hosts) Cleaned(after uint64) (in *record.Intake, sequence uint64, err error) {
	err = store.Each(s.DB, cleanedKey(after+1), []byte{'j' + 1}, func(key, _ []byte) (bool, error) {
		sequence = binary.BigEndian.Uint64(key[1:])
		return false, nil
	})
	if err != nil || sequence == 0 {
		return nil, 0, err
	}
	in, err = s.Intake(sequence)
	return in, sequence, err
}

// CleanSince is when a host was last reported clean on a feed, zero where it was not: the address, not one of its
// locations. A team at another location learns of it too, until clean-up has states of its own.
func (s *Hosts) CleanSince(feed string, a netip.Addr) (at time.Time, err error) {
	value, found, err := store.Get(s.DB, historyKey(feed, a))
	if err != nil || !found {
		return at, err
	}
	h, err := record.DecodeHistory(value)
	return h.Cleaned, err
}
