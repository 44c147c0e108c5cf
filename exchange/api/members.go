package api

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Member is a member as its own and the operator see it.
type Member struct {
	exchange.Member
	Collections []string `json:"collections"`
	Tokens      int      `json:"tokens"`
}

func (x *access) describe(m *exchange.Member) Member {
	out := Member{Member: *m, Collections: []string{}, Tokens: len(x.register.Tokens[m.ID])}
	for i := range x.collections {
		if x.register.MayRead(exchange.As(m.ID), &x.collections[i], exchange.WayTAXII) {
			out.Collections = append(out.Collections, x.collections[i].ID)
		}
	}
	slices.Sort(out.Collections)
	return out
}

// members lists the members: all to the operator, itself to a member.
func (a *API) members(r *request) (any, error) {
	list := []Member{}
	for i := range r.x.register.Members {
		if m := &r.x.register.Members[i]; r.caller.Member == exchange.Admin || r.caller.Member == m.ID {
			list = append(list, r.x.describe(m))
		}
	}
	return list, nil
}

// hide keeps a member's name from all others, or with ?show no longer: PUT
// /v1/members/{member}/hidden.
func (a *API) hide(r *request) (any, error) {
	id, hidden := r.PathValue("member"), !r.flag("show")
	if r.x.register.Member(id) == nil {
		return nil, taxiiserver.ErrNotFound
	}
	next, err := a.Register.Change(r.Context(), r.caller.Name(), func(reg *exchange.Register) error {
		if m := reg.Member(id); m != nil {
			m.Hidden = hidden
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.tell(r.Request, &r.caller, changed(next.Version, "member %s: hidden %v", id, hidden))
	return a.access.Load().describe(next.Member(id)), nil
}

func (a *API) member(r *request) (any, error) {
	m := r.x.register.Member(r.PathValue("member"))
	if m == nil || r.caller.Member != exchange.Admin && r.caller.Member != m.ID {
		return nil, taxiiserver.ErrNotFound
	}
	return r.x.describe(m), nil
}
