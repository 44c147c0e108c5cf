// Package api is the exchange's HTTP face: the TAXII backend, publishing, and
// reading and administration under /v1. It decides who a caller is and asks the
// register what that caller may do; every way out asks the same function.
package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// maxBody bounds request bodies, but for a publisher's rows, which stream.
const maxBody = 256 << 20

// Journal is what the API asks of the journal.
type Journal interface {
	// Verify walks the chains of the collections.
	Verify(ctx context.Context, collections ...string) ([]exchange.Chain, error)
	// Reposition makes a member's NATS consumer start at a sequence, 0 for now.
	Reposition(ctx context.Context, member, collection string, sequence uint64) error
	// SetStatus keeps a text under an id for two days, on all nodes.
	SetStatus(ctx context.Context, id string, text []byte) error
	Status(ctx context.Context, id string) (text []byte, found bool, err error)
	// SetReceipt keeps a publisher's receipt, on all nodes.
	SetReceipt(ctx context.Context, id string, text []byte) error
	Receipt(ctx context.Context, id string) (text []byte, found bool, err error)
}

// Parts are what the API stands on.
type Parts struct {
	Register  *register.Store
	View      *view.View
	Journal   Journal
	Admission *exchange.Admission
	Poster    *exchange.Poster
	// ParseNetworks checks a networks table and returns its canonical text.
	ParseNetworks func(text []byte) (canonical []byte, prefixes int, err error)
	// PlanBackfill counts what a change of the register would give members of the past.
	PlanBackfill func(ctx context.Context, base, next *exchange.Register) ([]exchange.Planned, error)
	// Ready reports why the node is not ready, nil when it is.
	Ready func(ctx context.Context) error
	// Open is closed when there is something to be read; until then all but
	// /healthz answers 503. nil is open.
	Open <-chan struct{}
	// PublicURL is where callers reach the exchange, without a slash at its
	// end; "" takes each request's own host.
	PublicURL string
	// NATS is where members connect, "" where they cannot.
	NATS    func() string
	Metrics *Metrics
	Log     *slog.Logger
	// TAXII, where it is set, goes between the exchange and its TAXII server.
	TAXII func(taxiiserver.Backend) taxiiserver.Backend
}

// API answers HTTP requests. It is safe for concurrent use.
type API struct {
	Parts
	access atomic.Pointer[access]
	taxii  *taxiiserver.Server
	tails  tails
}

// access is the register in the form that requests need.
type access struct {
	register    *exchange.Register
	byToken     map[string]string // token hash to member
	byCert      map[string]string // client certificate to member
	collections []exchange.Collection
	byName      map[string]*exchange.Collection // by id and UUID
	replaced    chan struct{}                   // closed when another is in force
}

// New makes the API; it answers once SetRegister was called.
func New(p Parts) *API {
	a := &API{Parts: p}
	var b taxiiserver.Backend = backend{a}
	if p.TAXII != nil {
		b = p.TAXII(b)
	}
	a.taxii = taxiiserver.New(b, taxiiserver.Options{Secret: p.Register.Secret(), Log: p.Log})
	return a
}

// SetRegister puts a version of the register in force for requests.
func (a *API) SetRegister(r *exchange.Register) {
	x := &access{
		register: r, byToken: make(map[string]string), byCert: make(map[string]string), collections: r.Collections(),
		byName: make(map[string]*exchange.Collection), replaced: make(chan struct{}),
	}
	for member, tokens := range r.Tokens {
		for _, t := range tokens {
			x.byToken[t.SHA256] = member
		}
	}
	for _, m := range r.Members {
		for _, name := range m.Certificates {
			x.byCert[name] = m.ID
		}
	}
	for i := range x.collections {
		c := &x.collections[i]
		x.byName[c.ID], x.byName[c.UUID] = c, c
	}
	if old := a.access.Swap(x); old != nil {
		close(old.replaced)
	}
}

// Login checks a member id and token; it is how members get in everywhere. What
// is looked up is the hash of a long random token, so the time that it takes
// tells nothing about tokens.
func (a *API) Login(user, token string) bool {
	x := a.access.Load()
	return x != nil && user != "" && x.byToken[exchange.HashToken(token)] == user
}

// caller returns who asks: a member's id, exchange.Admin, or exchange.Anybody
// for who does not say.
func (x *access) caller(r *http.Request) (string, error) {
	if r.Header.Get("Authorization") == "" {
		return x.certified(r), nil
	}
	if user, token, ok := r.BasicAuth(); ok {
		if member := x.byToken[exchange.HashToken(token)]; member != "" && member == user {
			return member, nil
		}
		return "", taxiiserver.ErrUnauthorized
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		if member := x.byToken[exchange.HashToken(strings.TrimSpace(token))]; member != "" {
			return member, nil
		}
	}
	return "", taxiiserver.ErrUnauthorized
}

// certified returns the member to whom the request's client certificate is
// bound; TLS has verified it.
func (x *access) certified(r *http.Request) string {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return exchange.Anybody
	}
	leaf := r.TLS.VerifiedChains[0][0]
	sum := sha256.Sum256(leaf.Raw)
	return cmp.Or(x.byCert["sha256:"+hex.EncodeToString(sum[:])], x.byCert[leaf.Subject.String()])
}

// request is one request under /v1 with its caller.
type request struct {
	*http.Request
	w      http.ResponseWriter
	x      *access
	caller string
}

// apiError is an error that callers may know.
type apiError struct {
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Problems    []string `json:"problems,omitempty"`
	HTTPStatus  string   `json:"http_status"`
	status      int
}

func (e *apiError) Error() string { return e.Title + ": " + e.Description }

func fail(status int, title, format string, args ...any) *apiError {
	return &apiError{Title: title, Description: fmt.Sprintf(format, args...), HTTPStatus: strconv.Itoa(status), status: status}
}

// handle makes a handler of a function that returns what to answer as JSON, or
// nil where it has answered itself.
func (a *API) handle(h func(r *request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		out, err := a.call(w, req, h)
		if err != nil {
			a.fail(w, req, err)
			return
		}
		if out != nil {
			writeJSON(w, http.StatusOK, out)
		}
	}
}

func (a *API) call(w http.ResponseWriter, req *http.Request, h func(r *request) (any, error)) (any, error) {
	x := a.access.Load()
	if x == nil {
		return nil, taxiiserver.ErrUnavailable
	}
	who, err := x.caller(req)
	if err != nil {
		return nil, err
	}
	if who == exchange.Anybody {
		return nil, taxiiserver.ErrUnauthorized
	}
	return h(&request{Request: req, w: w, x: x, caller: who})
}

// admin is handle for the operator only. Others learn nothing of what is there.
func (a *API) admin(h func(r *request) (any, error)) http.HandlerFunc {
	return a.handle(func(r *request) (any, error) {
		if r.caller != exchange.Admin {
			return nil, fail(http.StatusForbidden, "Forbidden", "This is for the operator of the exchange")
		}
		return h(r)
	})
}

// fail is the one place that maps errors to answers under /v1.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	var invalid *register.Invalid
	var file *report.FileError
	switch {
	case errors.As(err, &e):
	case errors.As(err, &invalid):
		e = fail(http.StatusUnprocessableEntity, "The register would not be sound", "Nothing was changed")
		e.Problems = invalid.Problems
	case errors.As(err, &file):
		e = fail(http.StatusUnprocessableEntity, "Nothing can be read of it", "%s", file.Error())
	case errors.Is(err, taxiiserver.ErrUnauthorized):
		w.Header().Add("WWW-Authenticate", `Basic realm="tocsin", charset="UTF-8"`)
		e = fail(http.StatusUnauthorized, "Unauthorized", "Send your member id and token by HTTP Basic, or the token as Bearer")
	case errors.Is(err, taxiiserver.ErrNotFound), errors.Is(err, exchange.ErrNoFeed):
		e = fail(http.StatusNotFound, "Not found", "There is no such thing, or not for you")
	case errors.Is(err, exchange.ErrKeyReused):
		e = fail(http.StatusConflict, "Idempotency key used before", "%v", err)
	case errors.Is(err, exchange.ErrClosed), errors.Is(err, taxiiserver.ErrUnavailable):
		w.Header().Set("Retry-After", "2")
		e = fail(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
	case r.Context().Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded): // the caller is gone, or the exchange is stopping
		w.Header().Set("Retry-After", "2")
		e = fail(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
	default:
		a.Log.Error("request failed", "method", r.Method, "route", r.Pattern, "error", err)
		e = fail(http.StatusInternalServerError, "Internal error", "The server's log says more")
	}
	writeJSON(w, e.status, e)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"title":"Internal error","http_status":"500"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a caller that is gone is no error of ours
}

// Handler returns everything that the exchange answers over HTTP.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	limited := func(h http.HandlerFunc) http.Handler { return http.MaxBytesHandler(h, maxBody) }
	mux.Handle("POST /v1/feeds/{feed}/events", a.handle(a.publish))
	mux.Handle("GET /v1/receipts/{receipt}", a.handle(a.readReceipt))
	mux.Handle("GET /v1/feeds", a.handle(a.feeds))
	mux.Handle("GET /v1/feeds/{feed}", a.handle(a.feed))
	mux.Handle("GET /v1/register", a.admin(a.export))
	mux.Handle("POST /v1/register", limited(a.admin(a.apply)))
	mux.Handle("GET /v1/networks", a.admin(a.networks))
	mux.Handle("PUT /v1/networks", limited(a.admin(a.setNetworks)))
	mux.Handle("GET /v1/members", a.handle(a.members))
	mux.Handle("GET /v1/members/{member}", a.handle(a.member))
	mux.Handle("POST /v1/members/{member}/tokens", a.admin(a.newToken))
	mux.Handle("DELETE /v1/members/{member}/tokens", a.admin(a.revokeTokens))
	mux.Handle("POST /v1/lint", http.MaxBytesHandler(a.handle(a.lint), maxLint))
	mux.Handle("POST /v1/clean", limited(a.handle(a.clean)))
	mux.Handle("GET /v1/explain", a.handle(a.explain))
	mux.Handle("GET /v1/self", a.handle(a.self))
	mux.Handle("GET /v1/collections", a.handle(a.listCollections))
	mux.Handle("GET /v1/collections/{collection}", a.handle(a.showCollection))
	mux.Handle("GET /v1/collections/{collection}/verify", a.handle(a.verify))
	mux.HandleFunc("GET /v1/collections/{collection}/events", a.events)
	mux.Handle("POST /v1/collections/{collection}/subscription", limited(a.handle(a.subscription)))
	mux.HandleFunc("GET /healthz", a.healthz)
	mux.HandleFunc("GET /readyz", a.readyz)
	mux.Handle("GET /metrics", a.admin(a.metrics))
	mux.HandleFunc("/v1/", a.handle(func(*request) (any, error) { return nil, taxiiserver.ErrNotFound }))
	return a.Metrics.count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mine := own(r.URL.Path); {
		case !a.opened() && r.URL.Path == "/readyz":
			a.notReady(w)
		case !a.opened() && r.URL.Path != "/healthz":
			if mine {
				a.fail(w, r, taxiiserver.ErrUnavailable)
			} else {
				a.taxii.Error(w, r, taxiiserver.ErrUnavailable)
			}
		case mine:
			mux.ServeHTTP(w, r)
		default:
			a.taxii.ServeHTTP(w, r)
		}
	}), mux)
}

func (a *API) opened() bool {
	if a.Open == nil {
		return true
	}
	select {
	case <-a.Open:
		return true
	default:
		return false
	}
}

// own reports whether a path is one of ours and not TAXII's, which takes any
// number of slashes and answers every unknown path.
func own(path string) bool {
	return strings.HasPrefix(path, "/v1/") || path == "/healthz" || path == "/readyz" || path == "/metrics"
}

func (a *API) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

func (a *API) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		a.Log.Warn("not ready", "error", err)
		a.notReady(w)
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready"})
}

func (a *API) notReady(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "2")
	writeJSON(w, http.StatusServiceUnavailable, fail(http.StatusServiceUnavailable, "Not ready", "Journal and view are not in step; the server's log says more"))
}
