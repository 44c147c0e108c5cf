package api

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// The API roots; MISP needs them right under the server's base. PublicRoot is
// read without credentials.
const (
	Root       = "exchange"
	PublicRoot = "public"
)

// maxContentLength is what the API roots announce, in bytes. MISP fills one
// request up to it.
const maxContentLength = 10 << 20

var roots = map[string]taxii.APIRoot{
	Root: {
		Title: "Tocsin exchange", Description: "Collections by constituency.",
		Versions: []string{taxii.MediaType}, MaxContentLength: maxContentLength,
	},
	PublicRoot: {
		Title: "Tocsin public", Description: "What is for everybody: TLP:CLEAR.",
		Versions: []string{taxii.MediaType}, MaxContentLength: maxContentLength,
	},
}

// backend is the exchange as a TAXII server's backend.
type backend struct{ a *API }

// Session implements taxiiserver.Backend.
func (b backend) Session(r *http.Request) (taxiiserver.Session, error) {
	x := b.a.Access.Load()
	if x == nil {
		return nil, taxiiserver.ErrUnavailable
	}
	who, err := callerOf(x, r)
	if err != nil {
		b.a.failedLogin(x, r)
		return nil, err
	}
	b.a.uses.note(r.Context(), &who)
	// Section 4.1.1: the URL of an API root is HTTPS, or relative.
	base := b.a.PublicURL
	if base == "" && r.TLS != nil {
		base = "https://" + r.Host
	}
	return &session{a: b.a, r: r, x: x, who: who, base: base}, nil
}

// session implements taxiiserver.Session.
type session struct {
	a    *API
	r    *http.Request
	x    *access.Access
	who  exchange.Caller
	base string
}

func (s *session) Caller() string { return s.who.Name() }

func (s *session) Discovery(context.Context) (*taxii.Discovery, error) {
	list := []string{s.base + "/" + PublicRoot + "/"}
	if s.who.Member != exchange.Anybody {
		list = append([]string{s.base + "/" + Root + "/"}, list...)
	}
	return &taxii.Discovery{
		Title: "Tocsin", Description: "Infection data for those who can clean it.", Default: list[0], APIRoots: list,
	}, nil
}

// enter checks that the caller may use an API root.
func (s *session) enter(root string) error {
	switch {
	case root == PublicRoot:
		return nil
	case s.who.Member == exchange.Anybody: // whether there is such a root or not
		return taxiiserver.ErrUnauthorized
	case root != Root:
		return taxiiserver.ErrNotFound
	}
	return nil
}

func (s *session) APIRoot(_ context.Context, root string) (*taxii.APIRoot, error) {
	if err := s.enter(root); err != nil {
		return nil, err
	}
	r := roots[root]
	return &r, nil
}

// reader is who reads under a root: under the public one, anybody.
func (s *session) reader(root string) exchange.Caller {
	if root == PublicRoot {
		return exchange.Caller{}
	}
	return s.who
}

// resource describes a collection as the caller may use it under a root; ok is
// false where the caller may not know of it.
func (s *session) resource(root string, c *exchange.Collection) (_ taxii.Collection, ok bool) {
	// A dot divides root and title where clients name a collection (OpenCTI's connector).
	r := taxii.Collection{ID: c.UUID, Title: strings.ReplaceAll(c.Title, ".", " "), Description: c.Description, Alias: c.ID}
	r.CanRead = policy.MayRead(s.x.Register, s.reader(root), c, exchange.ChannelTAXII)
	r.CanWrite = root != PublicRoot && policy.MayWrite(s.x.Register, s.who, c)
	for _, v := range c.STIX {
		r.MediaTypes = append(r.MediaTypes, "application/stix+json;version="+v)
	}
	return r, r.CanRead || r.CanWrite
}

func (s *session) Collections(_ context.Context, root string) ([]taxii.Collection, error) {
	if err := s.enter(root); err != nil {
		return nil, err
	}
	var list []taxii.Collection
	for i := range s.x.Collections {
		if r, ok := s.resource(root, &s.x.Collections[i]); ok {
			list = append(list, r)
		}
	}
	return list, nil
}

// find returns a collection that the caller may know of.
func (s *session) find(root, id string) (*exchange.Collection, taxii.Collection, error) {
	if err := s.enter(root); err != nil {
		return nil, taxii.Collection{}, err
	}
	if c := s.x.Collection(strings.ToLower(id)); c != nil { // a UUID may be in either case
		if r, ok := s.resource(root, c); ok {
			return c, r, nil
		}
		s.a.tell(s.r, &s.who, exchange.AuditEntry{Action: exchange.AuditRefused, Channel: exchange.ChannelTAXII, Collection: c.ID})
	}
	return nil, taxii.Collection{}, taxiiserver.ErrNotFound
}

func (s *session) Collection(_ context.Context, root, id string) (*taxii.Collection, error) {
	_, r, err := s.find(root, id)
	return &r, err
}

func (s *session) State(_ context.Context, root, id string) (string, error) {
	c, _, err := s.find(root, id)
	if err != nil {
		return "", err
	}
	if c.Ceiling == tlp.Red { // nothing of it is kept, so nothing is compared
		return "", nil
	}
	return s.a.View.State(c.ID), nil
}

var versionKinds = map[string]view.VersionKind{"first": view.First, "last": view.Last, "all": view.All, "": view.Exactly}

func (s *session) Objects(ctx context.Context, root, id string, q taxiiserver.Query) (*taxiiserver.Page, error) {
	c, r, err := s.find(root, id)
	if err != nil {
		return nil, err
	}
	if !r.CanRead {
		return nil, taxiiserver.ErrForbidden
	}
	if point, at, lost := s.a.takenBack(c.ID, q.After); q.Resumed && lost {
		return nil, taxii.NewError(http.StatusConflict, restoredTitle, restoredText, at, point, point)
	}
	vq := view.Query{After: q.After, Limit: q.Limit, IDs: q.IDs, Types: q.Types, SpecVersions: q.SpecVersions, Facts: q.Facts}
	if vq.Match, err = stix.ParseMatch(q.Match); err != nil {
		return nil, taxii.NewError(http.StatusBadRequest, "Bad parameter", "%v", err)
	}
	for _, v := range q.Versions {
		vq.Versions = append(vq.Versions, view.VersionMatch{Kind: versionKinds[v.Keyword], At: v.At})
	}
	got, err := s.a.View.Page(ctx, policy.ToRead(s.x.Register, s.reader(root), c, exchange.ChannelTAXII), vq)
	if errors.Is(s.a.View.Note(err), view.ErrDamaged) { // which is in the log, once
		return nil, taxii.NewError(http.StatusInternalServerError, damagedTitle, damagedDetail)
	}
	if err != nil {
		return nil, err
	}
	// Behind the read, so that nothing goes out that came in after the right had
	// ended.
	if _, r, err = s.now(root, id); err != nil {
		return nil, err
	}
	if !r.CanRead {
		return nil, taxiiserver.ErrForbidden
	}
	needs(s.r, func(x *access.Access) bool {
		now := x.Collection(c.ID)
		return now != nil && now.UUID == c.UUID && (root == PublicRoot && now.Public || policy.MayRead(x.Register, s.who, now, exchange.ChannelTAXII))
	})
	if got.Count > 0 && s.r.Method != http.MethodHead {
		s.a.tell(s.r, &s.who, read(exchange.ChannelTAXII, c.ID, got))
	}
	p := &taxiiserver.Page{Count: got.Count, First: got.First, Last: got.Last, More: got.More, Reached: got.Reached, NoStore: c.Ceiling == tlp.Red}
	if q.Facts {
		p.Facts = facts(got)
	} else {
		p.Objects = got
	}
	return p, nil
}

// facts are those of a page, with TAXII's type.
func facts(p *view.Page) iter.Seq2[*taxiiserver.Fact, error] {
	return func(yield func(*taxiiserver.Fact, error) bool) {
		for f, err := range p.Facts() {
			if !yield((*taxiiserver.Fact)(f), err) {
				return
			}
		}
	}
}

// now finds a collection under the register that is in force now, for the same
// caller: a request can take its time.
func (s *session) now(root, id string) (*exchange.Collection, taxii.Collection, error) {
	now := *s
	now.x = s.a.Access.Load()
	who, err := callerOf(now.x, s.r)
	if err == nil && !who.Is(&s.who) {
		err = taxiiserver.ErrUnauthorized
	}
	if err != nil {
		return nil, taxii.Collection{}, err
	}
	return now.find(root, id)
}
