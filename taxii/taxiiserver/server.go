// Package taxiiserver is the HTTP side of a TAXII 2.1 server over a Backend.
//
// It does what the specification asks of every server: media types, slashes,
// filters, page sizes, cursors, date headers, error messages. What there is and
// who may see it is the backend's: a Session answers for one caller.
package taxiiserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// Backend knows callers.
type Backend interface {
	// Session returns the caller's view, or ErrUnauthorized.
	Session(r *http.Request) (Session, error)
}

// Session is what one caller may see. Its methods return ErrNotFound for what
// is not there as for what the caller may not know of, and ErrForbidden for
// what the caller may know of and not read. It is for one request.
type Session interface {
	// Caller names the caller; cursors are bound to it.
	Caller() string
	Discovery(ctx context.Context) (*taxii.Discovery, error)
	APIRoot(ctx context.Context, root string) (*taxii.APIRoot, error)
	Collections(ctx context.Context, root string) ([]taxii.Collection, error)
	// Collection finds a collection by its id or alias.
	Collection(ctx context.Context, root, id string) (*taxii.Collection, error)
	// Objects returns a page of the collection of the id.
	Objects(ctx context.Context, root, id string, q Query) (*Page, error)
}

// Query asks for a page: Limit is at least 1, After is the date_added to start
// behind, zero from the first.
type Query struct {
	After        time.Time
	Limit        int
	IDs          []string
	Types        []string
	SpecVersions []string
	Versions     []taxii.VersionFilter
}

// Page is some objects in ascending order of date_added, no two at the same
// microsecond, and whether more follow.
type Page struct {
	Objects []Object
	More    bool
}

// Object is one object; Raw is its JSON text and is sent as it is.
type Object struct {
	Raw         []byte
	ID          string
	SpecVersion string
	Version     time.Time
	Added       time.Time
}

// The errors that a backend answers with.
var (
	ErrUnauthorized = errors.New("taxii: unauthorized")
	ErrNotFound     = errors.New("taxii: not found")
	ErrForbidden    = errors.New("taxii: forbidden")
	ErrUnavailable  = errors.New("taxii: unavailable for the moment")
)

// The page sizes: without a limit, and at most.
const (
	DefaultLimit = 1000
	MaxLimit     = 5000
)

// Options configure a server.
type Options struct {
	// Secret authenticates cursors; all nodes of a service share it.
	Secret []byte
	// Log is told of errors that callers see as 500 only.
	Log *slog.Logger
}

// Server answers under /taxii2/ and under every API root.
type Server struct {
	backend Backend
	cursors cursors
	log     *slog.Logger
}

// New makes a server.
func New(b Backend, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{backend: b, cursors: cursors{key: o.Secret}, log: o.Log}
}

// ServeHTTP implements http.Handler. Paths are taken with and without their
// last slash, and with doubled ones.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := s.serve(w, r); err != nil {
		s.Error(w, r, err)
	}
}

// call is one request on its way.
type call struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	session Session
	root    string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	path := strings.FieldsFunc(r.URL.Path, func(c rune) bool { return c == '/' })
	route, ok := match(path)
	if !ok {
		return ErrNotFound
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return taxii.NewError(http.StatusMethodNotAllowed, "Method not allowed", "%.20s is not taken here", r.Method)
	}
	if err := taxii.Acceptable(r.Header.Values("Accept")); err != nil {
		return err
	}
	session, err := s.backend.Session(r)
	if err != nil {
		return err
	}
	c := &call{s: s, w: w, r: r, session: session, root: path[0]}
	return route(c, path)
}

// match finds the endpoint of a path: section 4 and 5.
func match(path []string) (func(*call, []string) error, bool) {
	if len(path) == 1 && path[0] == "taxii2" {
		return (*call).discovery, true
	}
	if len(path) == 1 {
		return (*call).apiRoot, true
	}
	if len(path) < 2 || path[1] != "collections" {
		return nil, false
	}
	switch {
	case len(path) == 2:
		return (*call).collections, true
	case len(path) == 3:
		return (*call).collection, true
	case len(path) == 4 && path[3] == "manifest":
		return (*call).manifest, true
	case len(path) == 4 && path[3] == "objects", len(path) == 5 && path[3] == "objects":
		return (*call).objects, true
	case len(path) == 6 && path[3] == "objects" && path[5] == "versions":
		return (*call).versions, true
	}
	return nil, false
}

func (c *call) discovery([]string) error {
	d, err := c.session.Discovery(c.r.Context())
	if err != nil {
		return err
	}
	return c.json(d)
}

func (c *call) apiRoot([]string) error {
	a, err := c.session.APIRoot(c.r.Context(), c.root)
	if err != nil {
		return err
	}
	return c.json(a)
}

func (c *call) collections([]string) error {
	list, err := c.session.Collections(c.r.Context(), c.root)
	if err != nil {
		return err
	}
	return c.json(taxii.Collections{Collections: list})
}

func (c *call) collection(path []string) error {
	one, err := c.session.Collection(c.r.Context(), c.root, path[2])
	if err != nil {
		return err
	}
	return c.json(one)
}

// json writes a small resource.
func (c *call) json(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("Content-Type", taxii.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	_, _ = c.w.Write(text) // a caller that is gone is no error of ours
	return nil
}

// Error answers with an error message (section 3.6.1). What is not one of the
// errors that callers may know becomes a plain 500, and its text goes to the log.
func (s *Server) Error(w http.ResponseWriter, r *http.Request, err error) {
	var e *taxii.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, ErrNotFound):
		e = taxii.NewError(http.StatusNotFound, "Not found", "There is no such resource, or not for you")
	case errors.Is(err, ErrForbidden):
		e = taxii.NewError(http.StatusForbidden, "Forbidden", "You may not read this collection")
	case errors.Is(err, ErrUnauthorized):
		w.Header().Add("WWW-Authenticate", `Basic realm="tocsin", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="tocsin"`)
		e = taxii.NewError(http.StatusUnauthorized, "Unauthorized", "Send your member id and token by HTTP Basic, or the token as Bearer")
	case errors.Is(err, ErrUnavailable):
		e = taxii.NewError(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
		e.RetryAfter = 2 * time.Second
	case r.Context().Err() != nil: // the caller is gone, or the server is stopping
		e = taxii.NewError(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
		e.RetryAfter = 2 * time.Second
	default:
		s.log.Error("taxii request failed", "method", r.Method, "error", err)
		e = taxii.NewError(http.StatusInternalServerError, "Internal error", "The server's log says more")
	}
	text, _ := json.Marshal(e) // strings only
	h := w.Header()
	h.Set("Content-Type", taxii.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(e.RetryAfter/time.Second)))
	}
	w.WriteHeader(e.Status())
	_, _ = w.Write(text)
}
