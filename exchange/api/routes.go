package api

import (
	"errors"
	"net/http"
	"path"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// maxBody bounds request bodies, in bytes; maxFile those of the operator's files. A publisher's rows
// stream.
const (
	maxBody = 1 << 20
	maxFile = 128 << 20
)

// streams is the bound of a body that has none.
const streams = -1

// Route is an endpoint that is not TAXII's.
type Route struct {
	// Pattern is the method and the path, as http.ServeMux has them.
	Pattern string
	// Scope is what a credential must be good for; "" for any credential.
	Scope exchange.Scope

	handle func(a *API, r *request) (any, error)
	// plain, instead, asks for no credential, or looks at it by itself.
	plain func(a *API, w http.ResponseWriter, r *http.Request)
	body  int64
	// audited says that the audit has who asked: for what tells of others, or of many at once.
	audited bool
}

// Routes lists every endpoint but TAXII's: who may do what is decided by this table and, where a
// path names a thing, by the register.
func Routes() []Route {
	return []Route{
		{Pattern: "POST /v1/feeds/{feed}/events", Scope: exchange.ScopePublish, handle: (*API).publish, body: streams},
		{Pattern: "POST /v1/feeds/{feed}/recall", Scope: exchange.ScopePublish, handle: (*API).publish, body: streams},
		{Pattern: "GET /v1/receipts/{receipt}", Scope: exchange.ScopePublish, handle: (*API).readReceipt},
		{Pattern: "GET /v1/feeds", Scope: exchange.ScopePublish, handle: (*API).feeds},
		{Pattern: "GET /v1/feeds/{feed}", Scope: exchange.ScopePublish, handle: (*API).feed},
		{Pattern: "POST /v1/clean", Scope: exchange.ScopeFeedback, handle: (*API).clean},
		{Pattern: "POST /v1/lint", handle: (*API).lint, body: maxLint},
		{Pattern: "GET /v1/self", handle: (*API).self},
		{Pattern: "GET /v1/explain", Scope: exchange.ScopeRead, handle: (*API).explain, audited: true},
		{Pattern: "GET /v1/members", Scope: exchange.ScopeRead, handle: (*API).members},
		{Pattern: "GET /v1/members/{member}", Scope: exchange.ScopeRead, handle: (*API).member},
		{Pattern: "GET /v1/collections", Scope: exchange.ScopeRead, handle: (*API).listCollections},
		{Pattern: "GET /v1/collections/{collection}", Scope: exchange.ScopeRead, handle: (*API).showCollection},
		{Pattern: "GET /v1/collections/{collection}/verify", Scope: exchange.ScopeRead, handle: (*API).verify},
		{Pattern: "GET /v1/collections/{collection}/withdrawn", Scope: exchange.ScopeRead, handle: (*API).withdrawn},
		{Pattern: "POST /v1/collections/{collection}/subscription", Scope: exchange.ScopeRead, handle: (*API).subscription},
		{Pattern: "DELETE /v1/collections/{collection}/subscription", Scope: exchange.ScopeRead, handle: (*API).removeSubscription},
		{Pattern: "GET /v1/collections/{collection}/events", plain: (*API).events},
		{Pattern: "GET /misp/{collection}/{file}", Scope: exchange.ScopeRead, handle: (*API).misp},
		{Pattern: "GET /v1/webhooks", Scope: exchange.ScopeRead, handle: (*API).webhooks},
		{Pattern: "GET /v1/webhooks/{webhook}", Scope: exchange.ScopeRead, handle: (*API).webhook},
		{Pattern: "POST /v1/webhooks/{webhook}/resend", Scope: exchange.ScopeRead, handle: (*API).resend},
		{Pattern: "POST /v1/webhooks/{webhook}/ping", Scope: exchange.ScopeRead, handle: (*API).ping},
		{Pattern: "GET /v1/members/{member}/webhook-key", Scope: exchange.ScopeRead, handle: (*API).webhookKeys},
		{Pattern: "POST /v1/members/{member}/webhook-key", Scope: exchange.ScopeRead, handle: (*API).newWebhookKey},
		{Pattern: "GET /v1/register", Scope: exchange.ScopeAdmin, handle: (*API).export, audited: true},
		{Pattern: "POST /v1/register", Scope: exchange.ScopeAdmin, handle: (*API).apply, body: maxFile},
		{Pattern: "POST /v1/erase", Scope: exchange.ScopeAdmin, handle: (*API).erase, body: maxFile},
		{Pattern: "GET /v1/backup", Scope: exchange.ScopeAdmin, handle: (*API).backup, audited: true},
		{Pattern: "GET /v1/networks", Scope: exchange.ScopeAdmin, handle: (*API).networks},
		{Pattern: "PUT /v1/networks", Scope: exchange.ScopeAdmin, handle: (*API).setNetworks, body: maxFile},
		{Pattern: "GET /v1/members/{member}/tokens", Scope: exchange.ScopeAdmin, handle: (*API).tokens},
		{Pattern: "POST /v1/members/{member}/tokens", Scope: exchange.ScopeAdmin, handle: (*API).newToken},
		{Pattern: "DELETE /v1/members/{member}/tokens", Scope: exchange.ScopeAdmin, handle: (*API).revokeTokens},
		{Pattern: "DELETE /v1/members/{member}/tokens/{token}", Scope: exchange.ScopeAdmin, handle: (*API).revokeTokens},
		{Pattern: "PUT /v1/members/{member}/hidden", Scope: exchange.ScopeAdmin, handle: (*API).hide},
		{Pattern: "GET /v1/audit", Scope: exchange.ScopeAdmin, handle: (*API).audit},
		{Pattern: "GET /v1/audit/given", Scope: exchange.ScopeAdmin, handle: (*API).given, audited: true},
		{Pattern: "GET /v1/audit/verify", Scope: exchange.ScopeAdmin, handle: (*API).verifyAudit},
		{Pattern: "GET /v1/quarantine", Scope: exchange.ScopeAdmin, handle: (*API).quarantine, audited: true},
		{Pattern: "GET /v1/quarantine/{held}", Scope: exchange.ScopeAdmin, handle: (*API).held, audited: true},
		{Pattern: "POST /v1/quarantine/{held}", Scope: exchange.ScopeAdmin, handle: (*API).decide},
		{Pattern: "GET /v1/quarantine/{held}/object", Scope: exchange.ScopeRead, handle: (*API).heldContent},
		{Pattern: "GET /metrics", Scope: exchange.ScopeAdmin, handle: (*API).metrics},
		{Pattern: "GET /healthz", plain: (*API).healthz},
		{Pattern: "GET /readyz", plain: (*API).readyz},
	}
}

// handler is what answers a route.
func (a *API) handler(route *Route) http.Handler {
	h := http.Handler(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if route.plain != nil {
			route.plain(a, w, req)
			return
		}
		if strings.Contains(route.Pattern, " /v1/") { // a proxy keeps none of it
			w.Header().Set("Cache-Control", "no-store")
		}
		out, err := a.call(route, w, req)
		if err != nil {
			a.fail(w, req, err)
		} else if out != nil {
			writeJSON(w, http.StatusOK, out)
		}
	}))
	switch route.body {
	case 0:
		return http.MaxBytesHandler(h, maxBody)
	case streams:
		return h
	}
	return http.MaxBytesHandler(h, route.body)
}

// call has a route answer what it returns as JSON, or by itself where that is nil.
func (a *API) call(route *Route, w http.ResponseWriter, req *http.Request) (any, error) {
	x := a.Access.Load()
	if x == nil {
		return nil, taxiiserver.ErrUnavailable
	}
	who, err := callerOf(x, req)
	if err != nil {
		a.failedLogin(x, req)
		return nil, err
	}
	if who.Member == exchange.Anybody {
		return nil, taxiiserver.ErrUnauthorized
	}
	if route.Scope != "" && !who.May(route.Scope) {
		a.tell(req, &who, exchange.AuditEntry{Action: exchange.AuditRefused, Detail: route.Pattern})
		if route.Scope == exchange.ScopeAdmin && who.Member != exchange.Admin {
			return nil, fail(http.StatusForbidden, "Forbidden", "This is for the operator of the exchange")
		}
		return nil, fail(http.StatusForbidden, "Forbidden", "This credential is not good for %s", route.Scope)
	}
	a.uses.note(req.Context(), &who)
	out, err := route.handle(a, &request{Request: req, w: w, x: x, caller: who})
	if route.audited && err == nil {
		a.tell(req, &who, exchange.AuditEntry{Action: exchange.AuditAsked, Detail: route.Pattern})
	}
	return out, err
}

// newMux makes what answers the routes.
func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, route := range Routes() {
		mux.Handle(route.Pattern, a.handler(&route))
	}
	unknown := Route{handle: func(*API, *request) (any, error) { return nil, taxiiserver.ErrNotFound }}
	mux.Handle("/v1/", a.handler(&unknown))
	mux.Handle("/misp/", a.handler(&unknown))
	return mux
}

// Handler returns everything that the exchange answers over HTTP.
func (a *API) Handler() http.Handler {
	return a.Metrics.count(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.hygiene(w, r)
		r = single(r)
		mine := own(r.URL.Path)
		who, end, err := a.enter(r)
		if err != nil {
			a.refuse(w, r, mine, err)
			return
		}
		u, w, r := a.open.begin(w, r, who, a.limits.Pace)
		defer func() {
			a.open.end(u)
			end(u)
		}()
		switch {
		case !a.opened() && r.URL.Path == "/readyz":
			a.notReady(w)
		case !a.opened() && r.URL.Path != "/healthz":
			a.refuse(w, r, mine, taxiiserver.ErrUnavailable)
		case mine:
			a.mux.ServeHTTP(w, r)
		default:
			a.taxii.ServeHTTP(w, r)
		}
	}), a.mux)
}

// refuse answers a request that goes no further, in the form of who would have answered it.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, mine bool, err error) {
	var l *limited
	switch {
	case mine:
		a.fail(w, r, err)
	case errors.As(err, &l):
		a.taxii.Error(w, r, l.taxii())
	default:
		a.taxii.Error(w, r, err)
	}
}

// hygiene sets the headers that every answer has. There is no CORS: no page of another
// site reads anything here.
func (a *API) hygiene(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if r.TLS != nil || strings.HasPrefix(a.PublicURL, "https://") {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// single is a request of MISP with single slashes: where the URL of a feed ends with one, it writes two,
// and it follows no redirection.
func single(r *http.Request) *http.Request {
	clean := path.Clean(r.URL.Path)
	if !strings.HasPrefix(clean, "/misp/") || clean == r.URL.Path {
		return r
	}
	out := new(http.Request)
	*out = *r
	at := *r.URL
	at.Path, at.RawPath, out.URL = clean, "", &at
	return out
}

// own reports whether a path is one of ours and not TAXII's, which takes any
// number of slashes and answers every unknown path.
func own(path string) bool {
	return strings.HasPrefix(path, "/v1/") || strings.HasPrefix(path, "/misp/") || path == "/healthz" || path == "/readyz" || path == "/metrics"
}
