package api

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
)

// pacePart is how much a caller has to send or read within its pace, in bytes.
const pacePart = 256 << 10

// underWay is a request that is being answered. It is cut when its caller's credential or right
// ends, and when its caller takes too long to send or to read.
type underWay struct {
	r      *http.Request // a copy of the one that is answered, which changes on its way
	who    exchange.Caller
	cancel context.CancelFunc
	pace   time.Duration
	c      *http.ResponseController
	bytes  atomic.Int64 // that it has moved, both ways
	status int          // of the answer; 0 before there is one
	// still tells whether its caller may go on, beside having the credential; nil where that is all.
	still atomic.Pointer[func(x *access.Access) bool]
}

// requests are those under way.
type requests struct {
	mu   sync.Mutex
	list map[*underWay]struct{}
}

type underWayKey struct{}

// begin makes a request one of those under way: it returns the request and the writer to go on with.
func (l *requests) begin(w http.ResponseWriter, r *http.Request, who exchange.Caller, pace time.Duration) (*underWay, http.ResponseWriter, *http.Request) {
	u := &underWay{who: who, pace: pace, c: http.NewResponseController(w)}
	ctx, cancel := context.WithCancel(context.WithValue(r.Context(), underWayKey{}, u))
	u.cancel, u.r = cancel, r.WithContext(ctx)
	u.r.Header = r.Header.Clone()
	if u.r.Body != nil && u.r.Body != http.NoBody {
		u.r.Body = &pacedBody{ReadCloser: u.r.Body, u: u}
		// Also of what nobody reads: the server would, before it answers.
		_ = u.c.SetReadDeadline(time.Now().Add(pace))
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			w.Header().Set("Connection", "close") // and with this it does not
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.list == nil {
		l.list = make(map[*underWay]struct{})
	}
	l.list[u] = struct{}{}
	answered := r.WithContext(ctx)
	answered.Body = u.r.Body
	return u, &pacedWriter{ResponseWriter: w, u: u}, answered
}

func (l *requests) end(u *underWay) {
	u.cancel()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.list, u)
}

// needs says what a request's caller has to be allowed as long as it is answered.
func needs(r *http.Request, still func(x *access.Access) bool) {
	if u, ok := r.Context().Value(underWayKey{}).(*underWay); ok {
		u.still.Store(&still)
	}
}

// Recheck cuts the requests whose callers may not go on: their credential has been revoked or has
// ended, or the right to what they read. The node calls it every second or two.
func (a *API) Recheck() {
	x := a.Access.Load()
	if x == nil {
		return
	}
	a.refused.flush(time.Now())
	a.open.mu.Lock()
	var over []*underWay
	for u := range a.open.list {
		who, err := callerOf(x, u.r)
		still := u.still.Load()
		known := u.who.Member != exchange.Anybody // else nothing of a credential can end
		if known && (err != nil || !who.Is(&u.who)) || still != nil && !(*still)(x) {
			over = append(over, u)
		}
	}
	a.open.mu.Unlock()
	for _, u := range over {
		detail := u.r.Method + " TAXII"
		if own(u.r.URL.Path) {
			_, detail = a.mux.Handler(u.r)
		}
		a.tell(u.r, &u.who, exchange.AuditEntry{Action: exchange.AuditCut, Detail: detail})
		u.cancel()
		now := time.Now()
		_ = u.c.SetWriteDeadline(now) // it may have ended meanwhile
		_ = u.c.SetReadDeadline(now)
	}
}

// pacedWriter cuts a reader who takes too long.
type pacedWriter struct {
	http.ResponseWriter
	u    *underWay
	left int
}

func (w *pacedWriter) Write(b []byte) (n int, err error) {
	for len(b) > 0 || n == 0 {
		if w.left <= 0 {
			_ = w.u.c.SetWriteDeadline(time.Now().Add(w.u.pace)) // not every writer can
			w.left = pacePart
		}
		part := b[:min(len(b), max(w.left, 1))]
		k, err := w.ResponseWriter.Write(part)
		n, w.left = n+k, w.left-k
		w.u.bytes.Add(int64(k))
		if err != nil || len(b) == 0 {
			return n, err
		}
		if w.u.r.Context().Err() != nil {
			return n, context.Cause(w.u.r.Context())
		}
		b = b[k:]
	}
	return n, nil
}

func (w *pacedWriter) WriteHeader(status int) {
	w.u.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// pacedBody cuts a sender who takes too long.
type pacedBody struct {
	io.ReadCloser
	u    *underWay
	left int
}

func (b *pacedBody) Read(to []byte) (int, error) {
	if b.left <= 0 {
		_ = b.u.c.SetReadDeadline(time.Now().Add(b.u.pace))
		b.left = pacePart
	}
	n, err := b.ReadCloser.Read(to)
	b.left -= n
	b.u.bytes.Add(int64(n))
	if errors.Is(err, io.EOF) {
		// Else the end of its time would be taken for the caller's hanging up.
		_ = b.u.c.SetReadDeadline(time.Time{})
	}
	return n, err
}
