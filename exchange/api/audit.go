package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// from is the address that a request comes from: the last one that no trusted proxy has.
func (a *API) from(r *http.Request) string {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	at := peer.Addr().Unmap()
	trusted := func(p netip.Prefix) bool { return p.Contains(at.WithZone("")) }
	forwarded := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, text := range slices.Backward(forwarded) {
		text = strings.TrimSpace(text)
		before, err := netip.ParseAddr(text)
		if withPort, e := netip.ParseAddrPort(text); e == nil { // as some proxies write it
			before, err = withPort.Addr(), nil
		}
		if err != nil || !slices.ContainsFunc(a.BehindProxy, trusted) {
			break
		}
		at = before.Unmap()
	}
	return at.String()
}

// tell adds what a caller did to the audit.
func (a *API) tell(r *http.Request, who *exchange.Caller, e exchange.AuditEntry) {
	e = e.By(who)
	e.From = a.from(r)
	a.Journal.Audit(e)
}

// failedLogin adds that a credential was not taken.
func (a *API) failedLogin(x *access.Access, r *http.Request) {
	e := exchange.AuditEntry{Action: exchange.AuditFailedLogin, From: a.from(r)}
	if user, _, ok := r.BasicAuth(); ok && (user == exchange.Admin || x.Register.Member(user) != nil) {
		e.Member = user // any other name could be a token in the wrong place
	}
	a.refused.tell(e, time.Now())
}

// maxAudit is how many entries are answered at a time.
const maxAudit = 10_000

// Audit is some entries of the audit, oldest first; More says that others follow the last.
type Audit struct {
	Entries []exchange.AuditEntry `json:"entries"`
	More    bool                  `json:"more,omitempty"`
}

// audit answers GET /v1/audit?member=&collection=&action=&since=&until=&limit=.
func (a *API) audit(r *request) (any, error) {
	q := r.URL.Query()
	f := exchange.AuditFilter{Member: q.Get("member"), Collection: q.Get("collection"), Action: exchange.AuditAction(q.Get("action"))}
	for name, to := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		var err error
		if *to, err = r.instant(name); err != nil {
			return nil, err
		}
	}
	limit := maxAudit
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fail(http.StatusBadRequest, "Bad parameter", "limit: %.20q is no number from 1 on", s)
		}
		limit = min(n, maxAudit)
	}
	out := &Audit{Entries: []exchange.AuditEntry{}}
	err := a.Journal.EachAudit(r.Context(), f.Since, func(e *exchange.AuditEntry) bool {
		if f.Selects(e) {
			if out.More = len(out.Entries) == limit; out.More {
				return false
			}
			out.Entries = append(out.Entries, *e)
		}
		return true
	})
	return out, err
}

// AuditChain says whether the audit is whole.
type AuditChain struct {
	Records int    `json:"records"`
	Problem string `json:"problem,omitempty"`
}

func (a *API) verifyAudit(r *request) (any, error) {
	n, err := a.Journal.VerifyAudit(r.Context())
	err = errors.Join(err, a.Damaged(exchange.AuditStream))
	out := &AuditChain{Records: n}
	if err != nil {
		out.Problem = err.Error()
	}
	return out, nil
}

// Given says that a host's day entered a collection, or the object of its address, where a member
// has added that; and who has read it since.
type Given struct {
	Feed       string    `json:"feed,omitempty"`
	Day        string    `json:"day"`
	Collection string    `json:"collection"`
	Decided    time.Time `json:"decided"`
	Readers    []Reader  `json:"readers"`

	label tlp.Level // which does not leave by each way; the collection's ceiling where members added it
}

// Reader is somebody who was given what a collection had gained, and when that was first.
type Reader struct {
	Member  string           `json:"member"`
	Person  string           `json:"person,omitempty"`
	Channel exchange.Channel `json:"way"`
	At      time.Time        `json:"at"`
}

// given answers who has ever been given an address: GET /v1/audit/given?address=…. The journal
// tells into which collections it went and when, the audit who has read them since.
func (a *API) given(r *request) (any, error) {
	var e exchange.Event
	if err := setHost(&e, r.URL.Query().Get("address")); err != nil {
		return nil, fail(http.StatusBadRequest, "Bad parameter", "address: %v", err)
	}
	list := []*Given{}
	for _, f := range r.x.Register.Feeds {
		some, err := a.givenOn(&f, &e)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	// What members have added.
	for i := range r.x.Collections {
		c := &r.x.Collections[i]
		if !c.OfMembers() {
			continue
		}
		at, found, err := a.View.FirstAdded(c.ID, stix.AddressID(e.Address))
		if err != nil {
			return nil, err
		}
		if found {
			list = append(list, &Given{Day: exchange.DayOf(at).String(), Collection: c.ID, Decided: at, Readers: []Reader{}, label: c.Ceiling})
		}
	}
	return list, a.readers(r.Context(), list)
}

// givenOn lists the collections that an address entered on a feed.
func (a *API) givenOn(f *exchange.Feed, e *exchange.Event) (list []*Given, err error) {
	days, err := a.View.HostDays(f.ID, e.Address)
	if err != nil {
		return nil, err
	}
	for _, day := range days {
		of := exchange.HostDay{Address: e.Address, Day: day}
		records, err := a.View.HostRecords(f.ID, of)
		if err != nil {
			return nil, err
		}
		for _, sequence := range records {
			in, err := a.View.Intake(sequence)
			if err != nil {
				return nil, err
			}
			for i := range in.Observations {
				o := &in.Observations[i]
				if o.HostDay != of {
					continue
				}
				entered := []string{exchange.FeedCollection(f.ID)}
				for _, g := range in.Decisions[o.Decision].Grants {
					if g.Allow {
						entered = append(entered, g.Collection)
					}
				}
				for _, c := range entered {
					list = append(list, &Given{Feed: f.ID, Day: day.String(), Collection: c, Decided: in.At, Readers: []Reader{}, label: in.Decisions[o.Decision].Label})
				}
			}
		}
	}
	return list, nil
}

// readers adds who has read each.
func (a *API) readers(ctx context.Context, list []*Given) error {
	if len(list) == 0 {
		return nil
	}
	first := slices.MinFunc(list, func(a, b *Given) int { return a.Decided.Compare(b.Decided) }).Decided
	return a.Journal.EachAudit(ctx, first, func(e *exchange.AuditEntry) bool {
		if e.Action != exchange.AuditRead {
			return true
		}
		for _, g := range list {
			// It was added when it was decided, or a moment later.
			if g.Collection != e.Collection || e.Last.Before(g.Decided) || e.First.After(g.Decided.Add(visibleWait)) {
				continue
			}
			if !policy.Permits(g.label, e.Channel, policy.Recipient{Clearance: tlp.Red, Named: true}) {
				continue
			}
			who := Reader{Member: e.Member, Person: e.Person, Channel: e.Channel, At: e.At}
			if !slices.ContainsFunc(g.Readers, func(o Reader) bool {
				return o.Member == who.Member && o.Person == who.Person && o.Channel == who.Channel
			}) {
				g.Readers = append(g.Readers, who)
			}
		}
		return true
	})
}

// read is the entry of a page that somebody was given.
func read(by exchange.Channel, collection string, p *view.Page) exchange.AuditEntry {
	return exchange.AuditEntry{Action: exchange.AuditRead, Channel: by, Collection: collection, First: p.First, Last: p.Last, Count: int64(p.Count)}
}

// changed is the entry of a change of the register.
func changed(version uint64, format string, args ...any) exchange.AuditEntry {
	return exchange.AuditEntry{Action: exchange.AuditRegister, Detail: fmt.Sprintf("version %d: ", version) + fmt.Sprintf(format, args...)}
}
