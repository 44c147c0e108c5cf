package access

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
)

// Login is what a member's NATS connection rests on: its credentials, and what it may read there.
type Login struct {
	tokens []string
	Reads  []policy.Read // by collection
}

// Equal tells whether a connection that rests on one may go on with the other.
func (l Login) Equal(o Login) bool {
	return slices.Equal(l.tokens, o.tokens) && slices.EqualFunc(l.Reads, o.Reads, func(a, b policy.Read) bool { return a.Collection().ID == b.Collection().ID })
}

// Logins are those of all members, by id.
type Logins map[string]Login

// Logins returns who may log in over NATS at an instant, and when the next credential ends after it, zero for never.
func (a *Access) Logins(now time.Time) (all Logins, ends time.Time) {
	all = make(Logins, len(a.Register.Members))
	for _, m := range a.Register.Members {
		var l Login
		for _, t := range a.Register.Tokens[m.ID] {
			if !t.Expired(now) {
				l.tokens = append(l.tokens, t.SHA256)
			}
		}
		all[m.ID] = l
	}
	for i := range a.Collections {
		c := &a.Collections[i]
		// Most collections are of one member; to ask about each would be asking
		// members times collections.
		may := append([]string{c.Owner}, c.Readers...)
		if c.Everybody {
			may = slices.Collect(maps.Keys(all))
		}
		slices.Sort(may)
		for _, id := range slices.Compact(may) {
			if right := policy.OnNATS(a.Register, id, c); right != nil {
				l := all[id]
				l.Reads = append(l.Reads, right)
				all[id] = l
			}
		}
	}
	for _, l := range all {
		slices.SortFunc(l.Reads, func(x, y policy.Read) int { return cmp.Compare(x.Collection().ID, y.Collection().ID) })
	}
	for _, list := range a.Register.Tokens {
		for _, t := range list {
			if !t.Expires.IsZero() && !t.Expired(now) && (ends.IsZero() || t.Expires.Before(ends)) {
				ends = t.Expires
			}
		}
	}
	return all, ends
}
