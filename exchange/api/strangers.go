package api

import (
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Everybody can fail to log in, and thousands of times a second. The audit has the first of them one by one, and of
// the others how many came from where in a minute.

const (
	// refusedEach is how many entries of a kind from one network the audit has in a minute before it counts.
	refusedEach = 20
	// refusedFrom is how many networks are told apart in a minute; the rest is counted together.
	refusedFrom = 10_000
)

// refusals counts what is refused by the thousand: failed log-ins, and requests above the limits.
type refusals struct {
	audit func(exchange.AuditEntry)

	mu     sync.Mutex
	minute time.Time
	count  map[exchange.AuditEntry]int // by what they have in common
	more   map[exchange.AuditEntry]*exchange.AuditEntry
}

// tell adds an entry to the audit, or counts it.
func (l *refusals) tell(e exchange.AuditEntry, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	key := e.Key()
	key.From, key.Detail = network(e.From), ""
	if e.Action == exchange.AuditFailedLogin {
		key.Member = "" // a claim, of which there are many
	}
	if _, known := l.count[key]; !known && len(l.count) >= refusedFrom {
		key = exchange.AuditEntry{Action: e.Action, Channel: e.Channel, Detail: "from many addresses"}
	}
	if l.count[key]++; l.count[key] <= refusedEach && key.Detail == "" {
		l.audit(e)
		return
	}
	more := l.more[key]
	if more == nil {
		more = new(exchange.AuditEntry)
		*more = key
		l.more[key] = more
	}
	more.Times++
}

// turn tells the audit what was counted in a minute that is over. The caller holds mu.
func (l *refusals) turn(now time.Time) {
	minute := now.Truncate(time.Minute)
	if minute.Equal(l.minute) {
		return
	}
	for _, e := range l.more {
		l.audit(*e)
	}
	l.minute, l.count, l.more = minute, make(map[exchange.AuditEntry]int), make(map[exchange.AuditEntry]*exchange.AuditEntry)
}

// TellRefused tells the audit what has been counted and not told yet: nothing is asked any more.
func (a *API) TellRefused() { a.refused.flush(time.Time{}) }

// flush does so where its time has come; with the zero time it tells all there is.
func (l *refusals) flush(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
}

// countFailure counts a failed log-in from an address.
func (l *limiter) countFailure(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of("login " + address).logins.Allow()
}

// tooManyFailures reports whether too many log-ins from an address have failed. A caller that has the right
// credential gets in all the same, also from there: no account is locked.
func (l *limiter) tooManyFailures(address string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of("login "+address).logins.Tokens() >= 1 {
		return nil
	}
	return &limited{"failed log-ins from your address", retryAfter(1 / l.Logins), http.StatusTooManyRequests}
}

// network is whom an address is counted as: an IPv6 address is one of very many that its host has.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || !a.Is6() || a.Is4In6() {
		return address
	}
	p, _ := a.WithZone("").Prefix(64) // it is one of 128 bits
	return p.String()
}
