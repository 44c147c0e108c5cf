package policy

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MayRead reports whether the caller may read the collection by a channel: its credential is good
// for it, it is one of the collection's readers, and all that can be in there may leave to it
// in this channel.
func MayRead(r *exchange.Register, who exchange.Caller, c *exchange.Collection, by exchange.Channel) bool {
	to := Recipient{Named: slices.Contains(c.Persons, who.Name()) && who.Person != ""}
	reader := c.Everybody || c.Owner == who.Member || slices.Contains(c.Readers, who.Member)
	switch m := r.Member(who.Member); {
	case who.Member == exchange.Admin:
		reader, to.Clearance = true, tlp.Red
	case who.Member == exchange.Anybody:
		reader, to.Clearance = c.Public, tlp.Clear
	case m == nil:
		return false
	default:
		to.Clearance = m.Clearance
	}
	return who.May(exchange.ScopeRead) && (reader || to.Named) && Permits(c.Ceiling, by, to)
}

// MayTake reports whether the caller may be given those objects of the collection whose label a channel permits: who may
// read the collection as over TAXII. The channel's own level is looked at object by object (Permits). A collection of RED
// is for persons alone, so nothing of it is taken so.
func MayTake(r *exchange.Register, who exchange.Caller, c *exchange.Collection) bool {
	return c.Ceiling < tlp.Red && MayRead(r, who, c, exchange.ChannelTAXII)
}

// MayWrite reports whether the caller may add objects to the collection.
func MayWrite(r *exchange.Register, who exchange.Caller, c *exchange.Collection) bool {
	switch {
	case len(c.Writers) == 0 || !who.May(exchange.ScopePublish):
		return false
	case who.Member == exchange.Admin:
		return true
	}
	return r.Member(who.Member) != nil && (slices.Contains(c.Writers, "all") || slices.Contains(c.Writers, who.Member))
}

// MayPublish reports whether the caller may publish on the feed.
func MayPublish(r *exchange.Register, who exchange.Caller, f *exchange.Feed) bool {
	return who.May(exchange.ScopePublish) && (who.Member == exchange.Admin || who.Member == f.Publisher)
}

// Hides tells whether a member's name is kept from another.
func Hides(r *exchange.Register, member, from string) bool {
	m := r.Member(member)
	return m != nil && m.Hidden && from != member && from != exchange.Admin
}

// Shown is a receipt as somebody may see it: what hidden members got has no name.
func Shown(r *exchange.Register, x *exchange.Receipt, to string) *exchange.Receipt {
	out := *x
	out.Collections = make(map[string]int64, len(x.Collections))
	for c, n := range x.Collections {
		if Hides(r, c, to) {
			c = exchange.HiddenName
		}
		out.Collections[c] += n
	}
	return &out
}

// SpokenByOthers reports whether an identity is of other members who are not hidden, and not of this one.
func SpokenByOthers(r *exchange.Register, member, identity string) bool {
	return !Speaks(r, member, identity) && slices.ContainsFunc(r.Members, func(m exchange.Member) bool { return !m.Hidden && Speaks(r, m.ID, identity) })
}

// Speaks reports whether a member speaks for an identity: its own, or one that the register
// names. The operator speaks for nobody.
func Speaks(r *exchange.Register, member, identity string) bool {
	m := r.Member(member)
	return m != nil && (identity == r.IdentityID(member) || slices.Contains(m.Identities, identity))
}
