package constituency

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Look is what the networks table says of an address.
func (r *Router) Look(a netip.Addr) exchange.Location { return r.networks.look(a) }

// ShadowedMatches lists the keys that fit an address and do not count for the feed, with
// what each stands behind. It looks at every key of every member: it is for
// explaining, not for routing.
func (r *Router) ShadowedMatches(a netip.Addr, p exchange.Location, hostname string) (list []exchange.ShadowedMatch) {
	won := r.Route(a, p, hostname)
	for i := range r.members {
		m := &r.members[i]
		if !m.Responsible() {
			continue
		}
		for k := range m.Constituency.Keys() {
			if !fits(k, a, p, hostname) || slices.Contains(won, exchange.Match{Member: m.ID, Key: k}) {
				continue
			}
			c := exchange.ShadowedMatch{Member: m.ID, Key: k}
			switch {
			case slices.Contains(r.feed.Exclude, m.ID):
				c.Reason = "the feed leaves this member out"
			case len(r.feed.Keys) == 0 && k.Kind == exchange.KeyDomain && !exchange.IsAccount(a):
				c.Reason = "a host's name counts only for feeds that name domain among their keys"
			case !counts(r.feed, k.Kind, exchange.IsAccount(a)):
				c.Reason = fmt.Sprintf("keys of the kind %s do not count for the feed", k.Kind)
			default:
				c.Reason = "a more specific key counts"
				r.behind(&c, m.Kind, won)
			}
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(x, y exchange.ShadowedMatch) int {
		return cmp.Or(cmp.Compare(x.Member, y.Member), cmp.Compare(x.Key.Kind, y.Key.Kind), cmp.Compare(x.Key.Value, y.Key.Value))
	})
	return list
}

// behind names the more specific key of a member of the kind.
func (r *Router) behind(c *exchange.ShadowedMatch, kind exchange.Kind, won []exchange.Match) {
	for _, w := range won {
		i, ok := slices.BinarySearchFunc(r.members, w.Member, func(m exchange.Member, id string) int { return cmp.Compare(m.ID, id) })
		if ok && r.members[i].Kind == kind && (c.By == "" || w.Member == c.Member) {
			c.By, c.ByKey = w.Member, w.Key
		}
	}
}

// fits reports whether a key alone would claim an address.
func fits(k exchange.Key, a netip.Addr, p exchange.Location, hostname string) bool {
	if exchange.IsAccount(a) && k.Kind != exchange.KeyDomain {
		return false
	}
	switch k.Kind {
	case exchange.KeyPrefix:
		prefix, err := netip.ParsePrefix(k.Value)
		return err == nil && prefix.Contains(a)
	case exchange.KeyASN:
		return p.ASN != 0 && k.Value == "AS"+strconv.FormatUint(uint64(p.ASN), 10)
	case exchange.KeyDomain:
		return hostname == k.Value || strings.HasSuffix(hostname, "."+k.Value)
	case exchange.KeyCountry:
		return p.Country == k.Value
	}
	return false
}
