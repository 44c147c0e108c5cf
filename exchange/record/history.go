package record

import (
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Cleaned is a member's word that a host is clean: what is seen of it after At is a
// relapse.
type Cleaned struct {
	Address netip.Addr
	Member  string
	At      time.Time
}

// Sent says up to which sighting of an address a collection was given it.
type Sent struct {
	Collection string
	Last       time.Time
}

// AddressHistory is what is known of an address on a feed, of all days together: when it was last
// reported clean, whether it was marked as a relapse since, and on a feed that holds
// repeats back, who was given it when.
type AddressHistory struct {
	Cleaned  time.Time
	Relapsed bool
	Sent     []Sent
}

// Deliver adds who is given the address by grants, as it was last seen then. It forgets what
// no repeat can be suppressed for.
func (h *AddressHistory) Deliver(grants []exchange.Grant, last time.Time) {
	for _, g := range grants {
		if !g.Allow {
			continue
		}
		if i := h.SentTo(g.Collection); i < 0 {
			h.Sent = append(h.Sent, Sent{g.Collection, last})
		} else if last.After(h.Sent[i].Last) {
			h.Sent[i].Last = last
		}
	}
	var newest time.Time
	for _, s := range h.Sent {
		if s.Last.After(newest) {
			newest = s.Last
		}
	}
	h.Sent = slices.DeleteFunc(h.Sent, func(s Sent) bool { return newest.Sub(s.Last) > time.Duration(exchange.MaxRepeat) })
}

// Clean adds that the address was reported clean.
func (h *AddressHistory) Clean(at time.Time) {
	if at.After(h.Cleaned) {
		h.Cleaned, h.Relapsed = at, false
	}
}

// SentTo returns where in Sent a collection is, -1 where it was not given the address.
func (h *AddressHistory) SentTo(collection string) int {
	return slices.IndexFunc(h.Sent, func(s Sent) bool { return s.Collection == collection })
}

// Append writes the history, for a store of its own.
func (h *AddressHistory) Append(b []byte) []byte {
	e := encoder{b: append(b, recordVersion), strings: make(map[string]uint64, len(h.Sent))}
	at := int64(0)
	if !h.Cleaned.IsZero() {
		at = h.Cleaned.UnixMilli()
	}
	e.int(at)
	e.bool(h.Relapsed)
	e.uint(uint64(len(h.Sent)))
	for _, s := range h.Sent {
		e.text(s.Collection)
		e.int(s.Last.UnixMilli())
	}
	return e.b
}

// DecodeHistory reads what Append wrote.
func DecodeHistory(b []byte) (h AddressHistory, err error) {
	d := decoder{b: b}
	d.begin()
	if at := d.int(); at != 0 {
		h.Cleaned = time.UnixMilli(at).UTC()
	}
	h.Relapsed = d.byte() != 0
	h.Sent = make([]Sent, d.count())
	for i := range h.Sent {
		h.Sent[i] = Sent{Collection: d.text(), Last: d.millis()}
	}
	return h, d.done()
}
