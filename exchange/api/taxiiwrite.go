package api

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// writable returns a collection while the caller may write to it.
func (s *session) writable(root, id string) (*exchange.Collection, error) {
	c, r, err := s.now(root, id)
	if err == nil && !r.CanWrite {
		err = taxiiserver.ErrForbidden
	}
	return c, err
}

// rules are what a caller posts to a collection under. It sees
// what the caller's member may read, with any credential; what is RED it sees as the caller's person.
type rules struct {
	a        *API
	x        *access.Access
	who      string
	reader   exchange.Caller
	writable func() (*exchange.Collection, error)
	readable func() []string
}

// request is what a caller posts to a collection with, but for the objects.
func (a *API) request(by exchange.Caller, writable func() (*exchange.Collection, error)) *submission.Request {
	r := &rules{a: a, x: a.Access.Load(), who: by.Member, reader: exchange.Caller{Member: by.Member, Person: by.Person}, writable: writable}
	r.readable = sync.OnceValue(func() (list []string) {
		for i := range r.x.Collections {
			if c := &r.x.Collections[i]; !c.OfMembers() && policy.MayRead(r.x.Register, r.reader, c, exchange.ChannelTAXII) {
				list = append(list, c.ID)
			}
		}
		return list
	})
	return &submission.Request{By: by.Member, Rules: r}
}

// as is what a member would post with: to what waits in quarantine.
func (a *API) as(member, id string) *submission.Request {
	return a.request(exchange.As(member), func() (*exchange.Collection, error) {
		if c := a.Access.Load().Collection(id); c != nil {
			return c, nil
		}
		return nil, fail(http.StatusConflict, "Refused", "Collection %s is no more", id)
	})
}

func (r *rules) Relays() bool                { return r.who == exchange.Admin }
func (r *rules) Speaks(identity string) bool { return policy.Speaks(r.x.Register, r.who, identity) }
func (r *rules) Others(identity string) bool {
	return policy.SpokenByOthers(r.x.Register, r.who, identity)
}

func (r *rules) Derived(id string) bool                    { return r.x.Register.IDs.Made(id) }
func (r *rules) Readable() []string                        { return r.readable() }
func (r *rules) Collection() (*exchange.Collection, error) { return r.writable() }

func (r *rules) Members() []string {
	list := []string{r.who, exchange.Admin}
	for i := range r.x.Register.Members {
		list = append(list, r.x.Register.Members[i].ID)
	}
	return list
}

func (r *rules) Marking(id string) (tlp.Level, bool) { return r.x.Register.Meaning(id) }

func (r *rules) Reads(collection string) bool {
	return r.x.Read(r.reader, collection, exchange.ChannelTAXII) != nil
}

func (r *rules) Ceiling(collection string) tlp.Level {
	if c := r.a.Access.Load().Collection(collection); c != nil {
		return c.Ceiling
	}
	return tlp.None
}

// posted is what is kept of a request that added objects.
type posted struct {
	By     string       `json:"by"`
	Status taxii.Status `json:"status"`
	// Waits are the names in quarantine of what waits for the definition of a marking, as Status.Pendings has it.
	Waits []string `json:"waits,omitempty"`
	// Block is the sequence of the last block with objects of it.
	Block uint64 `json:"block,omitempty"`
}

func (s *session) Add(ctx context.Context, root, id string, objects [][]byte) (*taxii.Status, error) {
	c, r, err := s.find(root, id)
	if err != nil {
		return nil, err
	}
	if err := s.a.quotas.may(ctx, s.who.Member, time.Now()); err != nil {
		return nil, s.a.closing(err)
	}
	size := 0
	for _, o := range objects {
		size += len(o)
	}
	s.a.quotas.sent(s.who.Member, int64(size), time.Now())
	sub := posted{By: s.who.Name(), Status: taxii.Status{
		ID: uuid.NewString(), RequestTimestamp: taxii.FormatTime(time.Now()), TotalCount: len(objects),
	}}
	add := s.a.request(s.who, func() (*exchange.Collection, error) { return s.writable(root, id) })
	add.SpecVersions, add.Objects = c.STIX, objects
	results, last, err := s.a.Poster.Add(ctx, add)
	if err != nil {
		return nil, s.a.closing(err)
	}
	sub.Block = last
	defines := false
	for i, o := range results {
		defines = defines || o.Defines
		d := taxii.StatusDetails{ID: clip(cmp.Or(o.ID, "objects["+strconv.Itoa(i)+"]")), Version: clip(cmp.Or(o.Version, taxii.NoVersion))}
		switch {
		case o.Waits != "":
			d.Message = clip(o.Problem)
			sub.Status.Pendings = append(sub.Status.Pendings, d)
			sub.Status.PendingCount++
			sub.Waits = append(sub.Waits, o.Waits)
			continue
		case o.Problem != "":
			d.Message = clip(o.Problem)
			sub.Status.Failures = append(sub.Status.Failures, d)
			sub.Status.FailureCount++
			continue
		case o.Already && r.CanRead:
			d.Message = "was there already"
		}
		sub.Status.Successes = append(sub.Status.Successes, d)
		sub.Status.SuccessCount++
	}
	s.a.tell(s.r, &s.who, exchange.AuditEntry{
		Action: exchange.AuditPosted, Channel: exchange.ChannelTAXII, Collection: c.ID, Count: int64(sub.Status.SuccessCount),
		Detail: fmt.Sprintf("status %s, %d refused", sub.Status.ID, sub.Status.FailureCount),
	})
	if defines {
		if err := s.a.Poster.Reconsider(ctx, s.who.Member, s.a.as); err != nil {
			return nil, s.a.closing(err)
		}
	}
	text, err := json.Marshal(&sub)
	if err != nil {
		return nil, err
	}
	if err := s.a.Journal.SetStatus(ctx, sub.Status.ID, text); err != nil {
		return nil, err
	}
	return s.status(ctx, &sub)
}

// clip bounds what a hostile object puts into a status.
func clip(s string) string { return s[:min(len(s), 300)] }

// closing makes an exchange that stops, or whose view does not keep up, a server
// that is unavailable, and a full disk one that has no room.
func (a *API) closing(err error) error {
	var much *limited
	switch {
	case errors.As(err, &much):
		return much.taxii()
	case err == nil, errors.Is(err, taxiiserver.ErrNotFound), errors.Is(err, taxiiserver.ErrForbidden), errors.Is(err, taxiiserver.ErrUnauthorized):
		return err
	}
	if no := a.takesNothing(err); no != nil {
		e := taxii.NewError(no.status, no.Title, "%s", no.Description)
		e.RetryAfter = retryWrite
		return e
	}
	switch {
	case errors.Is(err, exchange.ErrClosed), errors.Is(err, view.ErrBroken), errors.Is(err, context.DeadlineExceeded):
		return taxiiserver.ErrUnavailable
	}
	return err
}

func (s *session) Status(ctx context.Context, root, id string) (*taxii.Status, error) {
	if err := s.enter(root); err != nil {
		return nil, err
	}
	if u, err := uuid.Parse(id); err != nil || u.String() != id || root != Root {
		return nil, taxiiserver.ErrNotFound
	}
	text, found, err := s.a.Journal.Status(ctx, id)
	if err != nil {
		return nil, err
	}
	var sub posted
	if found {
		if err := json.Unmarshal(text, &sub); err != nil {
			return nil, err
		}
	}
	if !found || sub.By != s.who.Name() {
		return nil, taxiiserver.ErrNotFound
	}
	return s.status(ctx, &sub)
}

// status is complete once everything of the submission can be read here, and nothing of it waits.
func (s *session) status(ctx context.Context, sub *posted) (*taxii.Status, error) {
	st := sub.Status
	waiting := st.Pendings
	st.Pendings, st.PendingCount = nil, 0
	for i, d := range waiting {
		h, err := s.a.Poster.Quarantined(ctx, sub.Waits[i])
		if err != nil && !errors.Is(err, submission.ErrNotHeld) {
			return nil, err
		}
		switch {
		case h != nil && h.Waits():
			st.Pendings = append(st.Pendings, d)
		case h != nil && h.Decision == submission.Released:
			d.Message = ""
			st.Successes = append(slices.Clip(st.Successes), d)
		default:
			d.Message = "it waits in quarantine for the operator to decide"
			if h == nil || h.Decision == submission.Rejected {
				d.Message = "it was in quarantine and was rejected"
			}
			st.Failures = append(slices.Clip(st.Failures), d)
		}
	}
	st.Status = taxii.StatusComplete
	if s.a.View.AppliedBlocks() < sub.Block {
		st.Pendings, st.Successes = append(st.Pendings, st.Successes...), nil
	}
	st.SuccessCount, st.FailureCount, st.PendingCount = len(st.Successes), len(st.Failures), len(st.Pendings)
	if st.PendingCount > 0 {
		st.Status = taxii.StatusPending
	}
	return &st, nil
}

func (s *session) Delete(ctx context.Context, root, id, object string, sel taxiiserver.Selection) error {
	name := ""
	del := s.a.request(s.who, func() (*exchange.Collection, error) {
		c, r, err := s.now(root, id)
		if c != nil {
			name = c.ID
		}
		if err == nil && !(r.CanRead && r.CanWrite) {
			err = taxiiserver.ErrForbidden
		}
		return c, err
	})
	_, err := s.a.Poster.Delete(ctx, del, object, func(all []record.Version) []record.Version { return selected(all, &sel) })
	switch {
	case errors.Is(err, submission.ErrNoVersion):
		return taxiiserver.ErrNotFound
	case errors.Is(err, submission.ErrNotOwn):
		s.a.tell(s.r, &s.who, exchange.AuditEntry{Action: exchange.AuditRefused, Channel: exchange.ChannelTAXII, Collection: name, Detail: "delete what is another member's"})
		return taxii.NewError(http.StatusForbidden, "Forbidden", "This object is another member's: its owner and the operator delete it")
	}
	if err == nil {
		s.a.quotas.sent(s.who.Member, removalBytes, time.Now())
		typ, _, _ := strings.Cut(object, "--") // the rest of an id can tell an address
		s.a.tell(s.r, &s.who, exchange.AuditEntry{Action: exchange.AuditDeleted, Channel: exchange.ChannelTAXII, Collection: name, Detail: typ})
	}
	return s.a.closing(err)
}

// selected lists the versions that a deletion is after: all of them, or those
// that it names.
func selected(all []record.Version, sel *taxiiserver.Selection) (list []record.Version) {
	var of []record.Version
	for _, v := range all {
		if len(sel.SpecVersions) == 0 || slices.Contains(sel.SpecVersions, v.SpecVersion) {
			of = append(of, v)
		}
	}
	if len(sel.Versions) == 0 || len(of) == 0 {
		return of
	}
	first, last := of[0].Version, of[0].Version
	for _, v := range of {
		if v.Version.Before(first) {
			first = v.Version
		}
		if v.Version.After(last) {
			last = v.Version
		}
	}
	for _, v := range of {
		if slices.ContainsFunc(sel.Versions, func(want taxii.VersionFilter) bool {
			return want.Keyword == "all" || want.Keyword == "first" && v.Version.Equal(first) || want.Keyword == "last" && v.Version.Equal(last) ||
				want.Keyword == "" && want.At.Equal(v.Version)
		}) {
			list = append(list, v)
		}
	}
	return list
}

// FinishRaised ends what was cut short when the exchange stopped: what was taken out to be marked anew is added again.
func (a *API) FinishRaised(ctx context.Context) error {
	var ids []string
	for i := range a.Access.Load().Collections {
		ids = append(ids, a.Access.Load().Collections[i].ID)
	}
	return a.Poster.Finish(ctx, ids)
}
