package api

import (
	"context"
	"net/http"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Root is the API root; MISP needs it right under the server's base.
const Root = "exchange"

// maxContentLength is what the API root announces, in bytes.
const maxContentLength = 10 << 20

// backend is the exchange as a TAXII server's backend.
type backend struct{ a *API }

// Session implements taxiiserver.Backend.
func (b backend) Session(r *http.Request) (taxiiserver.Session, error) {
	x := b.a.access.Load()
	if x == nil {
		return nil, taxiiserver.ErrUnavailable
	}
	who, err := x.caller(r)
	if err != nil {
		return nil, err
	}
	base := b.a.PublicURL
	switch {
	case base != "":
	case r.TLS != nil:
		base = "https://" + r.Host
	default:
		base = "http://" + r.Host
	}
	return &session{a: b.a, x: x, who: who, base: base}, nil
}

// session implements taxiiserver.Session.
type session struct {
	a         *API
	x         *access
	who, base string
}

func (s *session) Caller() string { return s.who }

func (s *session) Discovery(context.Context) (*taxii.Discovery, error) {
	root := s.base + "/" + Root + "/"
	return &taxii.Discovery{
		Title: "Tocsin", Description: "Infection data for those who can clean it.",
		Default: root, APIRoots: []string{root},
	}, nil
}

func (s *session) APIRoot(_ context.Context, root string) (*taxii.APIRoot, error) {
	if root != Root {
		return nil, taxiiserver.ErrNotFound
	}
	return &taxii.APIRoot{
		Title: "Tocsin exchange", Description: "Collections by constituency.",
		Versions: []string{taxii.MediaType}, MaxContentLength: maxContentLength,
	}, nil
}

func (s *session) Collections(_ context.Context, root string) ([]taxii.Collection, error) {
	if root != Root {
		return nil, taxiiserver.ErrNotFound
	}
	var list []taxii.Collection
	for i := range s.x.collections {
		if c := &s.x.collections[i]; s.x.register.MayRead(s.who, c) {
			list = append(list, resource(c))
		}
	}
	return list, nil
}

func resource(c *exchange.Collection) taxii.Collection {
	return taxii.Collection{
		ID: c.UUID, Title: c.Title, Description: c.Description, Alias: c.ID,
		CanRead: true, MediaTypes: []string{taxii.STIXMediaType},
	}
}

// find returns a collection that the caller may read.
func (s *session) find(root, id string) (*exchange.Collection, error) {
	c := s.x.byName[id]
	if root != Root || c == nil || !s.x.register.MayRead(s.who, c) {
		return nil, taxiiserver.ErrNotFound
	}
	return c, nil
}

func (s *session) Collection(_ context.Context, root, id string) (*taxii.Collection, error) {
	c, err := s.find(root, id)
	if err != nil {
		return nil, err
	}
	r := resource(c)
	return &r, nil
}

var versionKinds = map[string]view.VersionKind{"first": view.First, "last": view.Last, "all": view.All, "": view.Exactly}

func (s *session) Objects(ctx context.Context, root, id string, q taxiiserver.Query) (*taxiiserver.Page, error) {
	c, err := s.find(root, id)
	if err != nil {
		return nil, err
	}
	vq := view.Query{After: q.After, Limit: q.Limit, IDs: q.IDs, Types: q.Types, SpecVersions: q.SpecVersions}
	for _, v := range q.Versions {
		vq.Versions = append(vq.Versions, view.VersionMatch{Kind: versionKinds[v.Keyword], At: v.At})
	}
	objects, more, err := s.a.View.Page(ctx, c.ID, vq)
	if err != nil {
		return nil, err
	}
	p := &taxiiserver.Page{Objects: make([]taxiiserver.Object, len(objects)), More: more}
	for i, o := range objects {
		p.Objects[i] = taxiiserver.Object(o)
	}
	return p, nil
}
