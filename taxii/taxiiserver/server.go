// Package taxiiserver is the HTTP side of a TAXII 2.1 server over a Backend.
//
// It does what the specification asks of every server: media types, slashes,
// filters, page sizes, cursors, date headers, error messages; and what is good
// manners in HTTP: HEAD, OPTIONS, compression, conditional requests. What there
// is and who may see it is the backend's: a Session is responsible for one caller.
// Package taxiimem is a backend that keeps everything in memory.
package taxiiserver

import (
	"context"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzhttp"
	"golang.org/x/sync/semaphore"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Backend knows callers.
type Backend interface {
	// Session returns the caller's view, or ErrUnauthorized.
	Session(r *http.Request) (Session, error)
}

// Session is what one caller may see and do. Its methods return ErrNotFound for
// what is not there as for what the caller may not know of, ErrForbidden for
// what the caller may know of and not do, and ErrUnauthorized where another
// caller might. It is for one request.
type Session interface {
	// Caller names the caller; cursors are bound to it.
	Caller() string
	Discovery(ctx context.Context) (*taxii.Discovery, error)
	APIRoot(ctx context.Context, root string) (*taxii.APIRoot, error)
	// Collections lists those that the caller may read or write, in an order
	// that does not change.
	Collections(ctx context.Context, root string) ([]taxii.Collection, error)
	// Collection finds a collection by its id or alias.
	Collection(ctx context.Context, root, id string) (*taxii.Collection, error)

	// The methods below get a collection's id and are called when what
	// Collection returned allows them.

	// Objects returns a page of the collection.
	Objects(ctx context.Context, root, id string, q Query) (*Page, error)
	// State is a text that changes whenever what the collection holds does; ""
	// where that is not known. It is for conditional requests.
	State(ctx context.Context, root, id string) (string, error)
	// Add stores objects, each by itself: one that cannot be stored is a
	// failure in the status. They are the texts that came in; they are JSON no
	// more than by their brackets.
	Add(ctx context.Context, root, id string, objects [][]byte) (*taxii.Status, error)
	// Delete takes versions of an object out of the collection.
	Delete(ctx context.Context, root, id, object string, s Selection) error
	// Status returns the status of a request that this caller made.
	Status(ctx context.Context, root, id string) (*taxii.Status, error)
}

// Selection narrows what is asked for. Lists are ORed within and ANDed with each
// other. Without Versions the latest are meant, or all where objects are
// deleted; without SpecVersions the newest STIX version of each object.
type Selection struct {
	IDs          []string
	Types        []string
	SpecVersions []string
	Versions     []taxii.VersionFilter
	// Match holds further match fields by name; a backend ignores those that it
	// does not know, and returns a *taxii.Error of status 400 for bad values.
	Match map[string][]string
}

// Query asks for a page.
type Query struct {
	Selection
	// After is the date_added to start behind, zero from the first. Resumed says that a page ended there: it is the cursor's,
	// and no time that the client has made up.
	After   time.Time
	Resumed bool
	// Limit is at least 1.
	Limit int
	// Facts asks for the objects' facts, and not for the objects.
	Facts bool
}

// Page is some objects in ascending order of date_added, no two at the same
// microsecond.
type Page struct {
	// Objects are the JSON texts of Count objects, with commas between them; nil where
	// there are none or the query asks for facts.
	Objects Text
	Count   int
	// Facts are those of each object where the query asks for them; nil where there are none. One
	// is good until the next; an error is the last.
	Facts iter.Seq2[*Fact, error]
	// First and Last are the date_added of the first and the last object.
	First, Last time.Time
	// More is set where more may follow, behind Reached.
	More    bool
	Reached time.Time
	// NoStore forbids everybody to keep it.
	NoStore bool
}

// Text is what is written into an answer as it is. A *bytes.Reader is one.
type Text interface {
	io.WriterTo
	// Len is how many bytes that is.
	Len() int
}

// Fact is what a manifest says of an object (section 5.3.1).
type Fact struct {
	// ID is the object's identifier; or Text is, as it stands in the object, where that is not empty.
	ID   stix.ID
	Text []byte
	// Version is as the object has it, empty where it has none.
	Version     []byte
	SpecVersion string
	Added       time.Time
}

// The errors that a backend answers with.
var (
	ErrUnauthorized = errors.New("taxii: unauthorized")
	ErrNotFound     = errors.New("taxii: not found")
	ErrForbidden    = errors.New("taxii: forbidden")
	ErrUnavailable  = errors.New("taxii: unavailable for the moment")
)

// The page sizes: without a limit, and at most. And how many objects one request
// may add: more do not fit 10 MiB, unless they are no STIX.
const (
	DefaultLimit = 1000
	MaxLimit     = 5000
	MaxObjects   = 100_000
)

// maxAdding is how many requests add objects at a time; the others wait. Each
// holds its body and its status.
const maxAdding = 4

// maxBodies is how much bodies of requests that add objects take in memory, in bytes; who comes when
// it is taken comes again.
const maxBodies = 384 << 20

// Options configure a server.
type Options struct {
	// Secret authenticates cursors; all nodes of a service share it.
	Secret []byte
	// Old are secrets of before: their cursors are still taken.
	Old [][]byte
	// Log is told of errors that callers see as 500 only.
	Log *slog.Logger
}

// Server answers under /taxii2/ and under every API root.
type Server struct {
	backend Backend
	cursors cursors
	log     *slog.Logger
	handler http.Handler
	bodies  *semaphore.Weighted
	adding  chan struct{} // a token for each request that adds objects
}

// New makes a server.
func New(b Backend, o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{backend: b, cursors: cursors{key: o.Secret, old: o.Old}, log: o.Log, bodies: semaphore.NewWeighted(maxBodies), adding: make(chan struct{}, maxAdding)}
	wrap, err := gzhttp.NewWrapper(gzhttp.MinSize(2<<10), gzhttp.CompressionLevel(1), gzhttp.AllowCompressedRequests(true))
	if err != nil {
		panic(err) // only for options that contradict each other
	}
	s.handler = wrap(http.HandlerFunc(s.answer))
	return s
}

// ServeHTTP implements http.Handler. Paths are taken with and without their
// last slash, and with doubled ones.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Content-Encoding") != "" {
		// A copy, headers too: they are changed where the body is decompressed, and whoever called may be
		// reading them meanwhile.
		r = r.Clone(r.Context())
		r.ContentLength = -1 // how long it is as it will be read, nobody knows
	}
	s.handler.ServeHTTP(w, r)
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
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
	path    []string
	root    string
}

// methods are the handlers of an endpoint by HTTP method.
type methods map[string]func(*call) error

// allow is the Allow header of an endpoint.
func (m methods) allow() string {
	list := []string{http.MethodOptions}
	for method := range m {
		list = append(list, method)
		if method == http.MethodGet {
			list = append(list, http.MethodHead)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) error {
	path, ok := segments(r.URL)
	endpoint := match(path)
	if !ok || endpoint == nil {
		return ErrNotFound
	}
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "private, no-cache")
	h.Add("Vary", "Accept, Authorization")
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	handle := endpoint[method]
	if handle == nil {
		h.Set("Allow", endpoint.allow())
		if method == http.MethodOptions {
			h.Set("Content-Type", taxii.MediaType)
			w.WriteHeader(http.StatusNoContent)
			return nil
		}
		return taxii.NewError(http.StatusMethodNotAllowed, "Method not allowed", "%.20q is not taken here: %s are", r.Method, endpoint.allow())
	}
	if err := taxii.Acceptable(r.Header.Values("Accept")); err != nil {
		return err
	}
	session, err := s.backend.Session(r)
	if err != nil {
		return err
	}
	return handle(&call{s: s, w: w, r: r, session: session, path: path, root: path[0]})
}

// segments cuts a path at its slashes, not at those that are escaped.
func segments(u *url.URL) (path []string, ok bool) {
	for part := range strings.SplitSeq(u.EscapedPath(), "/") {
		text, err := url.PathUnescape(part)
		if err != nil {
			return nil, false
		}
		if text != "" {
			path = append(path, text)
		}
	}
	return path, true
}

// get is an endpoint that can only be read.
func get(f func(*call) error) methods { return methods{http.MethodGet: f} }

// endpoints are those of section 3.1, in its words; what is in braces is any text.
var endpoints = []struct {
	path string
	methods
}{
	{"/taxii2/", get((*call).discovery)},
	{"/{api-root}/", get((*call).apiRoot)},
	{"/{api-root}/status/{status-id}/", get((*call).status)},
	{"/{api-root}/collections/", get((*call).collections)},
	{"/{api-root}/collections/{id}/", get((*call).collection)},
	{"/{api-root}/collections/{id}/manifest/", get((*call).manifest)},
	{"/{api-root}/collections/{id}/objects/", methods{http.MethodGet: (*call).objects, http.MethodPost: (*call).add}},
	{"/{api-root}/collections/{id}/objects/{object-id}/", methods{http.MethodGet: (*call).objects, http.MethodDelete: (*call).remove}},
	{"/{api-root}/collections/{id}/objects/{object-id}/versions/", get((*call).versions)},
}

// Endpoints lists what there is, each as its method and path.
func Endpoints() (list []string) {
	for _, e := range endpoints {
		for method := range e.methods {
			list = append(list, method+" "+e.path)
		}
	}
	slices.Sort(list)
	return list
}

// match finds the endpoint of a path, nil where there is none.
func match(path []string) methods {
next:
	for _, e := range endpoints {
		if strings.Count(e.path, "/") != len(path)+1 {
			continue
		}
		i := 0
		for part := range strings.SplitSeq(strings.Trim(e.path, "/"), "/") {
			if part != path[i] && part[0] != '{' {
				continue next
			}
			i++
		}
		return e.methods
	}
	return nil
}

func (c *call) discovery() error {
	d, err := c.session.Discovery(c.r.Context())
	if err != nil {
		return err
	}
	return c.resource(d)
}

func (c *call) apiRoot() error {
	a, err := c.session.APIRoot(c.r.Context(), c.root)
	if err != nil {
		return err
	}
	return c.resource(a)
}

func (c *call) collections() error {
	list, err := c.session.Collections(c.r.Context(), c.root)
	if err != nil {
		return err
	}
	return c.resource(taxii.Collections{Collections: list})
}

func (c *call) collection() error {
	one, err := c.session.Collection(c.r.Context(), c.root, c.path[2])
	if err != nil {
		return err
	}
	return c.resource(one)
}

// status answers Get Status (section 4.3).
func (c *call) status() error {
	s, err := c.session.Status(c.r.Context(), c.root, c.path[2])
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, s)
}
