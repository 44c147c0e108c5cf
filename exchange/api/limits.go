package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Limits bound what one caller is given, and all of them together on this node. A caller is a
// member; who does not say who he is, is the address that he comes from. Zero fields have the value of
// DefaultLimits.
type Limits struct {
	// Requests a second; twice as many at once.
	Requests float64
	// Bytes a second, of bodies both ways.
	Bytes float64
	// Concurrent requests of one caller, and of all.
	Concurrent, AllConcurrent int
	// Streams are event streams of one caller, and of all.
	Streams, AllStreams int
	// Logins are failed log-ins a second from one address; twenty at once.
	Logins float64
	// Pace is how long a caller may take to send or read 256 KiB.
	Pace time.Duration
	// DayBytes is what a member may send in a UTC day, StandingBytes what of the objects that it has posted may stand.
	DayBytes, StandingBytes float64
}

// DefaultLimits are more than any member needs: what keeps one from slowing the others is that
// few of its pages are made at a time.
var DefaultLimits = Limits{
	Requests: 5000, Bytes: 2 << 30, Concurrent: 64, AllConcurrent: 1024, Streams: 64, AllStreams: 10_000, Logins: 1, Pace: 30 * time.Second,
	DayBytes: 32 << 30, StandingBytes: 8 << 30,
}

// withDefaults fills what is not set.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits
	for _, f := range []struct{ to, from *float64 }{{&l.Requests, &d.Requests}, {&l.Bytes, &d.Bytes}, {&l.Logins, &d.Logins}, {&l.DayBytes, &d.DayBytes}, {&l.StandingBytes, &d.StandingBytes}} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	for _, f := range []struct{ to, from *int }{{&l.Concurrent, &d.Concurrent}, {&l.AllConcurrent, &d.AllConcurrent}, {&l.Streams, &d.Streams}, {&l.AllStreams, &d.AllStreams}} {
		if *f.to == 0 {
			*f.to = *f.from
		}
	}
	l.Pace = cmp.Or(l.Pace, d.Pace)
	return l
}

// share is what one caller uses.
type share struct {
	requests, bytes, logins *rate.Limiter
	underWay, streams       int
	writes                  int // requests that add objects
	seen                    time.Time
	// making is how many pages are being made for it, and waiting closes for each that waits.
	making  int
	waiting []chan struct{}
	// used is the time that its pages took lately.
	used time.Duration
	// paused is until when it is not let in over NATS.
	paused time.Time
}

// limiter holds callers to the limits. What one uses takes nothing from another, but for the
// bounds of all.
type limiter struct {
	Limits

	mu                sync.Mutex
	shares            map[string]*share
	underWay, streams int
	anonymous         int // requests and streams of who does not say who he is
	// last is who had a page made last, and mixed when that last changed.
	last  *share
	mixed time.Time
	// used is the time that all pages took since the moment it is counted from.
	used  time.Duration
	since time.Time
}

// maxShares bounds how many callers are remembered; hostile ones come from anywhere.
const maxShares = 20_000

// limited says that a caller asks for too much, and when to come again.
type limited struct {
	what  string
	after time.Duration
	// status is 429, 503 where it is not this caller's doing, or 507 where it has added too much.
	status int
}

func (l *limited) Error() string {
	if l.status == http.StatusInsufficientStorage {
		return l.what
	}
	return "too much at a time: " + l.what
}

// title is that of the error.
func (l *limited) title() string {
	if l.status == http.StatusInsufficientStorage {
		return "No room"
	}
	return "Too many requests"
}

func (l *limiter) of(key string) *share {
	s := l.shares[key]
	if s == nil {
		if len(l.shares) >= maxShares {
			l.forget()
		}
		s = &share{
			requests: rate.NewLimiter(rate.Limit(l.Requests), int(math.Ceil(2*l.Requests))), bytes: rate.NewLimiter(rate.Limit(l.Bytes), int(2*l.Bytes)),
			logins: rate.NewLimiter(rate.Limit(l.Logins), 20),
		}
		if l.shares == nil {
			l.shares = make(map[string]*share)
		}
		l.shares[key] = s
	}
	s.seen = time.Now()
	return s
}

// forget drops who has asked for nothing lately, or where those are few, anybody who has nothing
// under way.
func (l *limiter) forget() {
	for _, idle := range []time.Duration{time.Minute, 0} {
		for key, s := range l.shares {
			if s.underWay+s.streams == 0 && time.Since(s.seen) >= idle && time.Now().After(s.paused) {
				delete(l.shares, key)
			}
		}
		if len(l.shares) < maxShares*3/4 {
			return
		}
	}
}

// requestKind is what a request asks for, as far as limits go.
type requestKind int

const (
	aCall requestKind = iota
	aPage
	aStream
	aWrite // its body is in memory as a whole
)

// maxWrites is how many of those one caller has under way.
const maxWrites = 8

// begin takes a request of a caller in; end is called with the bytes that it moved. Where it
// makes a page, it waits until few others of the caller do.
func (l *limiter) begin(ctx context.Context, key string, kind requestKind) (end func(bytes int64), err error) {
	s, over, err := l.count(key, kind)
	if err != nil || kind != aPage {
		return over, err
	}
	if err := l.page(ctx, s); err != nil {
		over(0)
		return nil, err
	}
	began := time.Now()
	return func(bytes int64) {
		l.made(s, time.Since(began))
		over(bytes)
	}, nil
}

// rest is how many times as long as its page took whoever takes most waits for the next, while others
// are there: on few processors they would wait for it.
const rest = 3

// made ends a page of a caller.
func (l *limiter) made(s *share, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.since) > apart {
		l.since, l.used = time.Now(), 0
		for _, o := range l.shares {
			o.used = 0
		}
	}
	s.used, l.used = s.used+took, l.used+took
	end := func() {
		s.making--
		l.next(s)
	}
	if time.Since(l.mixed) > apart || 2*s.used <= l.used {
		end()
		return
	}
	time.AfterFunc(min(rest*took, apart), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		end()
	})
}

// apart is how long after two callers had pages made the processors are shared out.
const apart = time.Second

// room tells whether another page may be made for a caller: as many as there are processors where it
// is alone, and one where others are there, who then never wait behind more than that.
func (l *limiter) room(s *share) bool {
	return s.making == 0 || s.making < runtime.GOMAXPROCS(0) && time.Since(l.mixed) > apart
}

// page waits for room for a page. Those of one caller come in their order.
func (l *limiter) page(ctx context.Context, s *share) error {
	l.mu.Lock()
	if l.last != s {
		if l.last != nil {
			l.mixed = time.Now()
		}
		l.last = s
	}
	if len(s.waiting) == 0 && l.room(s) {
		s.making++
		l.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	s.waiting = append(s.waiting, turn)
	l.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(s.waiting, turn); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	} else { // its turn has come meanwhile
		s.making--
		l.next(s)
	}
	return ctx.Err()
}

// next lets in those who wait, as far as there is room.
func (l *limiter) next(s *share) {
	for len(s.waiting) > 0 && l.room(s) {
		close(s.waiting[0])
		s.waiting = s.waiting[1:]
		s.making++
	}
}

func (l *limiter) count(key string, kind requestKind) (s *share, end func(bytes int64), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = l.of(key)
	now := time.Now()
	count, all, most, mostOfAll, what := &s.underWay, &l.underWay, l.Concurrent, l.AllConcurrent, "requests under way"
	nameless := 0
	if strings.HasPrefix(key, stranged) {
		nameless = 1
	}
	write := 0
	if kind == aWrite {
		write = 1
	}
	if kind == aStream {
		count, all, most, mostOfAll, what = &s.streams, &l.streams, l.Streams, l.AllStreams, "event streams"
	}
	switch {
	case *all >= mostOfAll:
		return nil, nil, &limited{fmt.Sprintf("all callers together have %d %s", mostOfAll, what), 2 * time.Second, http.StatusServiceUnavailable}
	case l.anonymous+nameless > (l.AllConcurrent+1)/2: // members always have the other half
		return nil, nil, &limited{"callers without credentials", 2 * time.Second, http.StatusServiceUnavailable}
	case s.writes+write > maxWrites:
		return nil, nil, &limited{fmt.Sprintf("you have %d requests under way that add objects", maxWrites), time.Second, http.StatusTooManyRequests}
	case *count >= most:
		return nil, nil, &limited{fmt.Sprintf("you have %d %s", most, what), time.Second, http.StatusTooManyRequests}
	case s.bytes.TokensAt(now) < 0:
		return nil, nil, &limited{fmt.Sprintf("more than %.0f bytes a second", l.Bytes), retryAfter(-s.bytes.TokensAt(now) / l.Bytes), http.StatusTooManyRequests}
	case !s.requests.AllowN(now, 1):
		return nil, nil, &limited{fmt.Sprintf("more than %.0f requests a second", l.Requests), retryAfter((1 - s.requests.TokensAt(now)) / l.Requests), http.StatusTooManyRequests}
	}
	*count, *all = *count+1, *all+1
	l.anonymous, s.writes = l.anonymous+nameless, s.writes+write
	return s, func(bytes int64) {
		l.mu.Lock()
		defer l.mu.Unlock()
		*count, *all = *count-1, *all-1
		l.anonymous, s.writes = l.anonymous-nameless, s.writes-write
		// It may go into debt, by one request at most: who has, waits with the next.
		for left := bytes; left > 0; left -= int64(s.bytes.Burst()) {
			s.bytes.ReserveN(time.Now(), int(min(left, int64(s.bytes.Burst()))))
		}
	}, nil
}

// retryAfter is a number of seconds as a Retry-After, one at least.
func retryAfter(seconds float64) time.Duration {
	return time.Duration(math.Ceil(max(seconds, 1))) * time.Second
}

// stranged starts the keys of who does not say who he is.
const stranged = "address "

func kindOf(r *http.Request) requestKind {
	get := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch mine := own(r.URL.Path); {
	case get && mine && strings.HasSuffix(r.URL.Path, "/events"):
		return aStream
	case get && !mine: // else a walk over the journal would keep its caller's pages waiting
		return aPage
	case !mine && r.Method == http.MethodPost:
		return aWrite
	}
	return aCall
}

// enter holds a request to the limits; end is called when it is over.
func (a *API) enter(r *http.Request) (who exchange.Caller, end func(u *underWay), err error) {
	x := a.Access.Load()
	if x == nil || r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
		return who, func(*underWay) {}, nil
	}
	from := network(a.from(r))
	who, wrong := callerOf(x, r)
	if wrong != nil {
		if err := a.limits.tooManyFailures(from); err != nil {
			a.refused.tell(exchange.AuditEntry{Action: exchange.AuditLimited, From: a.from(r), Detail: "failed log-ins"}.By(&who), time.Now())
			return who, nil, err
		}
	}
	key := "member " + who.Member
	if who.Member == exchange.Anybody {
		key = stranged + from
	}
	over, err := a.limits.begin(r.Context(), key, kindOf(r))
	if _, much := errors.AsType[*limited](err); much {
		a.refused.tell(exchange.AuditEntry{Action: exchange.AuditLimited, From: a.from(r)}.By(&who), time.Now())
	}
	return who, func(u *underWay) {
		over(u.bytes.Load())
		if wrong != nil && u.status == http.StatusUnauthorized {
			a.limits.countFailure(from)
		}
	}, err
}

// taxii is the error as TAXII has it.
func (l *limited) taxii() error {
	e := taxii.NewError(l.status, l.title(), "%s", l.Error())
	e.RetryAfter = l.after
	return e
}
