// Package taxiimem is a backend for taxiiserver that keeps everything in memory:
// for tests, and for those who want to see how small a backend can be.
//
// Everything is there at once: a submission is complete when it is answered.
// Objects may be given a date_added of their own, in ascending order.
package taxiimem

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Server is what there is to serve. Set it up before it is used; a Server is not
// to be copied.
type Server struct {
	Discovery taxii.Discovery
	// Roots are the API roots by their path segment.
	Roots map[string]*Root
	// Users are the passwords for HTTP Basic by name. Without any, everybody is
	// let in.
	Users map[string]string

	mu sync.Mutex
}

// Root is an API root.
type Root struct {
	taxii.APIRoot
	// PageSize bounds pages, where it is not 0.
	PageSize    int
	Collections []*Collection
	// Statuses are those of submissions, by id.
	Statuses map[string]*Status
}

// Status is the status of a submission and who made it; "" is everybody.
type Status struct {
	taxii.Status
	By string
}

// Collection is a collection with the rights that everybody has to it, but for
// those to whom Rights gives others.
type Collection struct {
	taxii.Collection
	Rights  map[string]Rights
	objects []*stored
	byID    map[string][]*stored
	changes int
}

// Rights are what one user may do.
type Rights struct{ Read, Write bool }

type stored struct {
	ID, SpecVersion, Version string
	Added                    time.Time
	Raw                      []byte
	typ                      string
	at                       time.Time // the version
}

// Session implements taxiiserver.Backend.
func (s *Server) Session(r *http.Request) (taxiiserver.Session, error) {
	user, password, ok := r.BasicAuth()
	if len(s.Users) == 0 {
		return &session{s: s}, nil
	}
	if want, known := s.Users[user]; !ok || !known || want != password {
		return nil, taxiiserver.ErrUnauthorized
	}
	return &session{s: s, user: user}, nil
}

// Add stores an object with a date_added, which becomes later where it is not
// behind the one before; zero is now.
func (s *Server) Add(c *Collection, raw []byte, added time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h, err := stix.ParseHead(raw)
	if err != nil {
		return err
	}
	_, err = c.add(raw, &h, added)
	return err
}

// add reports whether the object is new.
func (c *Collection) add(raw []byte, h *stix.Head, added time.Time) (bool, error) {
	at, err := h.Version()
	if err != nil {
		return false, err
	}
	o := &stored{typ: h.Type, at: at}
	o.Raw, o.ID, o.SpecVersion, o.Version = slices.Clone(raw), h.ID, h.Spec(), versionText(h)
	if slices.ContainsFunc(c.byID[o.ID], func(x *stored) bool { return x.at.Equal(o.at) && x.SpecVersion == o.SpecVersion }) {
		return false, nil
	}
	if added.IsZero() {
		added = time.Now()
	}
	o.Added = added.UTC().Truncate(time.Microsecond)
	if n := len(c.objects); n > 0 && !o.Added.After(c.objects[n-1].Added) {
		o.Added = c.objects[n-1].Added.Add(time.Microsecond)
	}
	c.keep(append(c.objects, o), o.ID)
	return true, nil
}

// keep makes objects the collection's, which differ from before in one id.
func (c *Collection) keep(objects []*stored, id string) {
	if c.byID == nil {
		c.byID = make(map[string][]*stored)
	}
	if n := len(objects); n > len(c.objects) {
		c.byID[id] = append(c.byID[id], objects[n-1])
	} else {
		c.byID[id] = slices.DeleteFunc(slices.Clone(c.byID[id]), func(o *stored) bool { return !slices.Contains(objects, o) })
	}
	c.objects = objects
	c.changes++
}

func versionText(h *stix.Head) string {
	switch {
	case h.Modified != "":
		return h.Modified
	case h.Created != "":
		return h.Created
	}
	return taxii.NoVersion
}

type session struct {
	s    *Server
	user string
}

func (x *session) Caller() string { return x.user }

func (x *session) Discovery(context.Context) (*taxii.Discovery, error) { return &x.s.Discovery, nil }

func (x *session) root(name string) (*Root, error) {
	if r := x.s.Roots[name]; r != nil {
		return r, nil
	}
	return nil, taxiiserver.ErrNotFound
}

func (x *session) APIRoot(_ context.Context, root string) (*taxii.APIRoot, error) {
	r, err := x.root(root)
	if err != nil {
		return nil, err
	}
	return &r.APIRoot, nil
}

// view is a collection as the caller may use it.
func (x *session) view(c *Collection) taxii.Collection {
	out := c.Collection
	if r, ok := c.Rights[x.user]; ok {
		out.CanRead, out.CanWrite = r.Read, r.Write
	}
	return out
}

func (x *session) Collections(_ context.Context, root string) (list []taxii.Collection, err error) {
	r, err := x.root(root)
	if err != nil {
		return nil, err
	}
	for _, c := range r.Collections {
		if v := x.view(c); v.CanRead || v.CanWrite {
			list = append(list, v)
		}
	}
	slices.SortFunc(list, func(a, b taxii.Collection) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

func (x *session) find(root, id string) (*Root, *Collection, error) {
	r, err := x.root(root)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range r.Collections {
		if v := x.view(c); (c.ID == id || c.Alias != "" && c.Alias == id) && (v.CanRead || v.CanWrite) {
			return r, c, nil
		}
	}
	return nil, nil, taxiiserver.ErrNotFound
}

func (x *session) Collection(_ context.Context, root, id string) (*taxii.Collection, error) {
	_, c, err := x.find(root, id)
	if err != nil {
		return nil, err
	}
	v := x.view(c)
	return &v, nil
}

func (x *session) State(_ context.Context, root, id string) (string, error) {
	_, c, err := x.find(root, id)
	if err != nil {
		return "", err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	return strconv.Itoa(c.changes), nil
}

func (x *session) Objects(_ context.Context, root, id string, q taxiiserver.Query) (*taxiiserver.Page, error) {
	r, c, err := x.find(root, id)
	if err != nil {
		return nil, err
	}
	m, err := stix.ParseMatch(q.Match)
	if err != nil {
		return nil, taxii.NewError(http.StatusBadRequest, "Bad parameter", "%v", err)
	}
	if r.PageSize > 0 {
		q.Limit = min(q.Limit, r.PageSize)
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	p := new(taxiiserver.Page)
	var raws [][]byte
	var list []*stored
	p.Facts = func(yield func(*taxiiserver.Fact, error) bool) {
		for _, o := range list {
			if !yield(&taxiiserver.Fact{Text: []byte(o.ID), Version: []byte(o.Version), SpecVersion: o.SpecVersion, Added: o.Added}, nil) {
				return
			}
		}
	}
	for _, o := range c.objects {
		if p.More {
			break
		}
		switch {
		case !q.After.IsZero() && !o.Added.After(q.After):
		case !c.selected(o, &q.Selection, "last"), !m.Object(o.Raw):
		case p.Count == q.Limit:
			p.More = true
		default:
			if p.Count == 0 {
				p.First = o.Added
			}
			raws, list, p.Count, p.Last = append(raws, o.Raw), append(list, o), p.Count+1, o.Added
		}
	}
	p.Objects = bytes.NewReader(bytes.Join(raws, []byte(",")))
	return p, nil
}

// selected reports whether an object is one that s is after; without is the
// version where s names none.
func (c *Collection) selected(o *stored, s *taxiiserver.Selection, without string) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	if !in(s.IDs, o.ID) || !in(s.Types, o.typ) || !in(s.SpecVersions, o.SpecVersion) {
		return false
	}
	oldest, newest := o.at, o.at
	for _, other := range c.byID[o.ID] {
		switch {
		case !in(s.SpecVersions, other.SpecVersion):
		case len(s.SpecVersions) == 0 && other.SpecVersion > o.SpecVersion:
			return false
		case len(s.SpecVersions) == 0 && other.SpecVersion < o.SpecVersion:
		case other.at.Before(oldest):
			oldest = other.at
		case other.at.After(newest):
			newest = other.at
		}
	}
	wanted := s.Versions
	if len(wanted) == 0 {
		wanted = []taxii.VersionFilter{{Keyword: without}}
	}
	return slices.ContainsFunc(wanted, func(v taxii.VersionFilter) bool {
		return v.Keyword == "all" || v.Keyword == "last" && o.at.Equal(newest) || v.Keyword == "first" && o.at.Equal(oldest) ||
			v.Keyword == "" && o.at.Equal(v.At)
	})
}

func (x *session) Add(_ context.Context, root, id string, objects [][]byte) (*taxii.Status, error) {
	r, c, err := x.find(root, id)
	if err != nil {
		return nil, err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	st := &Status{By: x.user, Status: taxii.Status{
		ID: uuid.NewString(), Status: taxii.StatusComplete, RequestTimestamp: taxii.FormatTime(time.Now()), TotalCount: len(objects),
	}}
	for i, raw := range objects {
		h, err := stix.ParseHead(raw)
		if err == nil && h.Type == "bundle" {
			err = errors.New("a bundle is no object: send the objects that are in it")
		}
		if media := "application/stix+json;version=" + h.Spec(); err == nil && len(c.MediaTypes) > 0 && !slices.Contains(c.MediaTypes, media) {
			err = errors.New("the collection does not take " + media)
		}
		fresh := false
		if err == nil {
			fresh, err = c.add(raw, &h, time.Time{})
		}
		d := taxii.StatusDetails{ID: h.ID, Version: versionText(&h)}
		if d.ID == "" {
			d.ID = "objects[" + strconv.Itoa(i) + "]"
		}
		switch {
		case err != nil:
			d.Message = err.Error()
			st.Failures = append(st.Failures, d)
			st.FailureCount++
		default:
			if !fresh && x.view(c).CanRead {
				d.Message = "was there already"
			}
			st.Successes = append(st.Successes, d)
			st.SuccessCount++
		}
	}
	if r.Statuses == nil {
		r.Statuses = make(map[string]*Status)
	}
	r.Statuses[st.ID] = st
	return &st.Status, nil
}

func (x *session) Delete(_ context.Context, root, id, object string, s taxiiserver.Selection) error {
	_, c, err := x.find(root, id)
	if err != nil {
		return err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	s.IDs = []string{object}
	if len(s.SpecVersions) == 0 { // what is deleted is gone in every version of STIX
		s.SpecVersions = []string{"2.0", "2.1"}
	}
	kept := slices.DeleteFunc(slices.Clone(c.objects), func(o *stored) bool { return c.selected(o, &s, "all") })
	if len(kept) == len(c.objects) {
		return taxiiserver.ErrNotFound
	}
	c.keep(kept, object)
	return nil
}

func (x *session) Status(_ context.Context, root, id string) (*taxii.Status, error) {
	r, err := x.root(root)
	if err != nil {
		return nil, err
	}
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	s := r.Statuses[id]
	if s == nil || s.By != "" && s.By != x.user {
		return nil, taxiiserver.ErrNotFound
	}
	return &s.Status, nil
}
