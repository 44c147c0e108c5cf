package api

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// explain says who gets what and why: GET /v1/explain.
//
//   - ?address=…, with asn, country, hostname, tlp and feed as a row would say them:
//     what would happen now, on each feed or the one;
//   - ?address=…&day=2026-03-19: what did happen to that host's events;
//   - ?event=…: what did happen to an event, or to the host that a STIX object is about.
//
// The operator is told all, the publisher of a feed who gets what is on it and by which key, and a
// member what is its own.
func (a *API) explain(r *request) (any, error) {
	q := r.URL.Query()
	list := []*admission.Explanation{}
	all, err := a.explanations(r, q)
	// Whether there is a feed or an event that is not theirs, members do not learn.
	missing := errors.Is(err, exchange.ErrNoFeed) || errors.Is(err, taxiiserver.ErrNotFound)
	if err != nil && (!missing || r.caller.Member == exchange.Admin) {
		return nil, err
	}
	for i := range all {
		x := &all[i]
		f := r.x.Register.Feed(x.Feed)
		if r.caller.Member == exchange.Admin {
			list = append(list, x)
		} else if f != nil && f.Publisher == r.caller.Member {
			x.Shadowed = nil // members' keys that decide nothing are no business of its
			x.Unnumbered()
			r.unname(x)
			list = append(list, x)
		} else if own := x.For(r.x.Register.Member(r.caller.Member), f); own != nil {
			list = append(list, own)
		}
	}
	if len(list) == 0 && q.Has("event") {
		return nil, taxiiserver.ErrNotFound
	}
	return list, nil
}

// unname takes the names of hidden members out of an explanation.
func (r *request) unname(x *admission.Explanation) {
	for _, grants := range []*[]exchange.Grant{&x.Grants, &x.Host} {
		list := slices.Clone(*grants) // they are the record's
		for i := range list {
			if policy.Hides(r.x.Register, list[i].Collection, r.caller.Member) {
				list[i].Collection, list[i].Key = exchange.HiddenName, exchange.Key{}
			}
		}
		*grants = list
	}
}

func (a *API) explanations(r *request, q url.Values) ([]admission.Explanation, error) {
	bad := func(format string, args ...any) error {
		return fail(http.StatusBadRequest, "Bad parameter", format, args...)
	}
	if event := q.Get("event"); event != "" {
		if _, _, isID := strings.Cut(event, "--"); isID {
			return a.aboutObject(r, event)
		}
		feed, of, id, err := admission.ParseEventName(event)
		if err != nil {
			return nil, bad("event: %v", err)
		}
		sequence, err := a.View.EventRecord(feed, of, id)
		if err != nil || sequence == 0 {
			return nil, orMissing(err)
		}
		list, err := a.happened(of, sequence)
		for i := range list {
			if list[i].Event == event {
				return list[i : i+1], err
			}
		}
		return nil, orMissing(err)
	}
	e := exchange.Event{Country: strings.ToUpper(q.Get("country")), Hostname: strings.ToLower(strings.TrimSuffix(q.Get("hostname"), "."))}
	if err := setHost(&e, q.Get("address")); err != nil {
		return nil, bad("address: %v", err)
	}
	if e.Country != "" && !exchange.ValidCountry(e.Country) {
		return nil, bad("country: %.20q is not two letters (ISO 3166-1)", e.Country)
	}
	if s := q.Get("asn"); s != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToUpper(s), "AS"), 10, 32)
		if err != nil {
			return nil, bad("asn: %.20q is not an AS number", s)
		}
		e.ASN = uint32(n)
	}
	if err := e.Label.UnmarshalText([]byte(q.Get("tlp"))); err != nil {
		return nil, bad("tlp: %v", err)
	}
	if s := q.Get("day"); s != "" {
		day, err := time.Parse(time.DateOnly, s)
		if err != nil {
			return nil, bad("day: %.20q is not a day such as 2026-03-19 (UTC)", s)
		}
		return a.ofHost(r, exchange.HostDay{Address: e.Address, Day: exchange.DayOf(day)}, q.Get("feed"))
	}
	var list []admission.Explanation
	for _, f := range r.x.Register.Feeds {
		if want := q.Get("feed"); want != "" && want != f.ID {
			continue
		}
		x, err := a.Admission.Explain(f.ID, &e)
		if err != nil {
			return nil, err
		}
		list = append(list, *x)
	}
	if len(list) == 0 {
		return nil, exchange.ErrNoFeed
	}
	return list, nil
}

func orMissing(err error) error {
	if err == nil {
		err = taxiiserver.ErrNotFound
	}
	return err
}

// happened reads what did happen to a host's events from one record.
func (a *API) happened(of exchange.HostDay, sequence uint64) ([]admission.Explanation, error) {
	in, err := a.View.Intake(sequence)
	if err != nil {
		return nil, err
	}
	return admission.Happened(in, of, sequence), nil
}

// ofHost reads what did happen to a host's events, on one feed or all.
func (a *API) ofHost(r *request, of exchange.HostDay, feed string) (list []admission.Explanation, err error) {
	for _, f := range r.x.Register.Feeds {
		if feed != "" && feed != f.ID {
			continue
		}
		records, err := a.View.HostRecords(f.ID, of)
		if err != nil {
			return nil, err
		}
		for _, sequence := range records {
			some, err := a.happened(of, sequence)
			if err != nil {
				return nil, err
			}
			list = append(list, some...)
		}
	}
	return list, nil
}

// aboutObject reads what did happen to the host that an object is about: one that the
// caller may read, and that we made.
func (a *API) aboutObject(r *request, id string) ([]admission.Explanation, error) {
	for i := range r.x.Collections {
		c := &r.x.Collections[i]
		right := policy.ToRead(r.x.Register, r.caller, c, exchange.ChannelExplain)
		if right == nil {
			continue
		}
		of, found, err := a.hostOf(r, right, id)
		if err != nil {
			return nil, err
		}
		if found {
			return a.ofHost(r, of, "")
		}
	}
	return nil, taxiiserver.ErrNotFound
}

// hostOf finds the host and day that an object of a collection is about.
func (a *API) hostOf(r *request, right policy.Read, id string) (of exchange.HostDay, found bool, err error) {
	var day exchange.Day
	// From a relationship or sighting to what it refers to, and on to the address.
	for range 4 {
		p, err := a.View.Page(r.Context(), right, view.Query{IDs: []string{id}, Limit: 1})
		if err != nil || p.Count == 0 {
			return of, false, err
		}
		raw, err := p.Objects()
		if err != nil {
			return of, false, err
		}
		about, err := stix.ParseHost(raw[0])
		if err != nil {
			return of, false, err
		}
		if !about.Created.IsZero() {
			day = exchange.DayOf(about.Created)
		}
		if about.Account != "" {
			about.Address = exchange.AccountKey(about.Account)
		}
		if about.Address.IsValid() {
			return exchange.HostDay{Address: about.Address, Day: day}, day != 0, nil
		}
		if about.Ref == "" {
			return of, false, nil
		}
		id = about.Ref
	}
	return of, false, nil
}
