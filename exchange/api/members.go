package api

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Member is a member as its own and the operator see it.
type Member struct {
	exchange.Member
	Collections []string `json:"collections"`
	// MISP are those that it can fetch as MISP feeds, Writes those that it may add to.
	MISP   []string `json:"misp,omitempty"`
	Writes []string `json:"writes,omitempty"`
	Tokens int      `json:"tokens"`
}

func memberOf(x *access.Access, m *exchange.Member) Member {
	out := Member{Member: *m, Collections: []string{}, Tokens: len(x.Register.Tokens[m.ID])}
	who := exchange.As(m.ID)
	for i := range x.Collections {
		c := &x.Collections[i]
		if policy.MayRead(x.Register, who, c, exchange.ChannelTAXII) {
			out.Collections = append(out.Collections, c.ID)
		}
		if policy.MayTake(x.Register, who, c) {
			out.MISP = append(out.MISP, c.ID)
		}
		if policy.MayWrite(x.Register, who, c) {
			out.Writes = append(out.Writes, c.ID)
		}
	}
	for _, list := range [][]string{out.Collections, out.MISP, out.Writes} {
		slices.Sort(list)
	}
	return out
}

// members lists the members: all to the operator, itself to a member.
func (a *API) members(r *request) (any, error) {
	list := []Member{}
	for i := range r.x.Register.Members {
		if m := &r.x.Register.Members[i]; r.mine(m.ID) {
			list = append(list, memberOf(r.x, m))
		}
	}
	return list, nil
}

// hide keeps a member's name from all others, or with ?show no longer: PUT
// /v1/members/{member}/hidden.
func (a *API) hide(r *request) (any, error) {
	id, hidden := r.PathValue("member"), !r.flag("show")
	if r.x.Register.Member(id) == nil {
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
	return memberOf(a.Access.Load(), next.Member(id)), nil
}

func (a *API) member(r *request) (any, error) {
	m := r.x.Register.Member(r.PathValue("member"))
	if m == nil || !r.mine(m.ID) {
		return nil, taxiiserver.ErrNotFound
	}
	return memberOf(r.x, m), nil
}
