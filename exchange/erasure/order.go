// Package erasure is about what has to be forgotten: an address, or an account, in all that an exchange keeps.
//
// An order names what is erased by keyed hashes alone: by them it is carried out again on what a restore brings back, and nobody
// can read from it what it was. Once nothing can be restored from before it, its key is destroyed, and what is left proves that
// something was erased, when, and why.
package erasure

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Order is an order to erase.
type Order struct {
	ID     string    `json:"id"`
	At     time.Time `json:"at"`
	By     string    `json:"by"`
	Reason string    `json:"reason"`
	// Key is that of the hashes, nil once it is destroyed. Hashes are sorted: the first 16 bytes of HMAC-SHA-256 of "address " or
	// "account " and its text.
	Key    []byte   `json:"key,omitempty"`
	Hashes [][]byte `json:"hashes"`
	// Until is when readers had it no more, zero while some may: what came later is not meant.
	Until time.Time `json:"until,omitzero"`
	// Done is when all files had been written anew, zero while they have not.
	Done time.Time `json:"done,omitzero"`
}

const hashSize = 16

// New makes an order. Accounts are as exchange.ParseAccount returns them.
func New(at time.Time, by, reason string, addresses []netip.Addr, accounts []string) *Order {
	o := &Order{At: at.UTC().Truncate(time.Second), By: by, Reason: reason, Key: random(32), ID: hex.EncodeToString(random(8))}
	h := hasher{o.Key}
	for _, a := range addresses {
		a = a.Unmap().WithZone("")
		o.Hashes = append(o.Hashes, h.address(a))
	}
	for _, a := range accounts {
		o.Hashes = append(o.Hashes, h.account(a))
	}
	slices.SortFunc(o.Hashes, bytes.Compare)
	o.Hashes = slices.CompactFunc(o.Hashes, bytes.Equal)
	return o
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

type hasher struct{ key []byte }

func (h hasher) address(a netip.Addr) []byte { return h.sum(append([]byte("address "), a.String()...)) }
func (h hasher) account(a string) []byte     { return h.sum(append([]byte("account "), a...)) }

func (h hasher) sum(text []byte) []byte {
	m := hmac.New(sha256.New, h.key)
	m.Write(text)
	return m.Sum(nil)[:hashSize]
}

// Matcher tells what orders erase. It is for one goroutine.
type Matcher struct {
	orders []*Order
	of     time.Time            // of what is asked about, zero for any time
	known  map[string]time.Time // what was asked before: up to when it is erased
	events map[exchange.EventID]bool
}

// Of has what is asked next be of an instant: what came after an order had been carried out is not meant by it.
func (m *Matcher) Of(at time.Time) { m.of = at }

// maxKnown is how many answers are remembered.
const maxKnown = 1 << 20

// Match makes the matcher of orders; those whose key is destroyed erase nothing any more.
func Match(orders []*Order) *Matcher {
	m := &Matcher{known: make(map[string]time.Time), events: make(map[exchange.EventID]bool)}
	for _, o := range orders {
		if len(o.Key) > 0 {
			m.orders = append(m.orders, o)
		}
	}
	return m
}

// Address tells whether an address is erased.
func (m *Matcher) Address(a netip.Addr) bool {
	if a = a.Unmap().WithZone(""); !a.IsValid() {
		return false
	}
	return m.is("address " + a.String())
}

// Account tells whether an account is.
func (m *Matcher) Account(text string) bool {
	account, _, err := exchange.ParseAccount(text)
	return err == nil && m.is("account "+account)
}

func (m *Matcher) is(text string) bool {
	until, known := m.known[text]
	if !known {
		for _, o := range m.orders {
			if _, found := slices.BinarySearchFunc(o.Hashes, hasher{o.Key}.sum([]byte(text)), bytes.Compare); found && (o.Until.IsZero() || o.Until.After(until)) {
				if until = o.Until; until.IsZero() {
					until = forever
					break
				}
			}
		}
		if len(m.known) == maxKnown {
			clear(m.known)
		}
		m.known[text] = until
	}
	return !m.of.After(until) && !until.IsZero()
}

// forever is until when an order is meant that has not been carried out.
var forever = time.Unix(1<<40, 0)

// Event tells whether an event is of what is erased.
func (m *Matcher) Event(e *exchange.Event) bool {
	if e.Account != "" {
		return m.is("account " + e.Account)
	}
	return m.Address(e.Address)
}
