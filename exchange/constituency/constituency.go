// Package constituency tells who is responsible for an address: by prefix (longest
// match), AS number or country, in that order of specificity; and for an account, by the
// suffix of its domain.
//
// A Router is an immutable table; a new register makes a new one. Within a kind
// of member the most specific key wins: an owner's /24 beats the /16 around it,
// and any prefix beats an AS number. Kinds do not take from each other: a
// network owner and the national CSIRT above it both answer. Equal claims all
// count. The answer does not depend on the order of the register.
package constituency

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Router is of one version of the register and of the networks table. It
// is safe for concurrent use.
type Router struct {
	kinds    []*table
	networks *Networks
	// publisherWins lets the publisher have the last word on where an address is.
	publisherWins bool

	members []exchange.Member // sorted by id
	feed    *exchange.Feed
}

var _ exchange.Tables = (*Router)(nil)

// table holds the claims of one kind of member.
type table struct {
	prefixes  bart.Fast[[]exchange.Match]
	asns      map[uint32][]exchange.Match
	domains   map[string][]exchange.Match // suffix without its dot
	countries map[string][]exchange.Match
	// hostNames tells that domains count for hosts too, not for accounts alone.
	hostNames bool
}

// New builds the table for a feed: of the members that it does not leave out,
// and the kinds of keys that count for it. networks may be nil: then only what the
// publisher says places an address.
func New(members []exchange.Member, networks *Networks, feed *exchange.Feed) *Router {
	byKind := make(map[exchange.Kind]*table)
	r := &Router{networks: networks, publisherWins: feed.Places == exchange.PlacesPublisher, feed: feed}
	r.members = slices.SortedFunc(slices.Values(members), func(a, b exchange.Member) int { return cmp.Compare(a.ID, b.ID) })
	for i := range r.members {
		m := &r.members[i]
		if !m.Responsible() || slices.Contains(feed.Exclude, m.ID) {
			continue
		}
		t := byKind[m.Kind]
		if t == nil {
			t = &table{
				asns:      make(map[uint32][]exchange.Match),
				domains:   make(map[string][]exchange.Match),
				countries: make(map[string][]exchange.Match),
				hostNames: counts(feed, exchange.KeyDomain, false),
			}
			byKind[m.Kind] = t
			r.kinds = append(r.kinds, t)
		}
		t.add(m, feed)
	}
	return r
}

// Same reports whether two feeds are routed by the same table.
func Same(a, b *exchange.Feed) bool {
	return slices.Equal(a.Keys, b.Keys) && slices.Equal(a.Exclude, b.Exclude) && (a.Places == exchange.PlacesPublisher) == (b.Places == exchange.PlacesPublisher)
}

// SameMembers reports whether the tables of two lists of members are the same.
func SameMembers(a, b []exchange.Member) bool {
	return slices.EqualFunc(a, b, func(x, y exchange.Member) bool {
		c, d := &x.Constituency, &y.Constituency
		return x.ID == y.ID && x.Kind == y.Kind && slices.Equal(c.Prefixes, d.Prefixes) && slices.Equal(c.ASNs, d.ASNs) &&
			slices.Equal(c.Countries, d.Countries) && slices.Equal(c.Domains, d.Domains)
	})
}

// counts reports whether a kind of key counts for the feed's accounts, or for its hosts.
func counts(feed *exchange.Feed, kind exchange.KeyKind, account bool) bool {
	if len(feed.Keys) == 0 {
		return kind != exchange.KeyDomain || account
	}
	return slices.Contains(feed.Keys, kind)
}

func (t *table) add(m *exchange.Member, feed *exchange.Feed) {
	var c exchange.Constituency
	if counts(feed, exchange.KeyPrefix, false) {
		c.Prefixes = m.Constituency.Prefixes
	}
	if counts(feed, exchange.KeyASN, false) {
		c.ASNs = m.Constituency.ASNs
	}
	if counts(feed, exchange.KeyDomain, true) {
		c.Domains = m.Constituency.Domains
	}
	if counts(feed, exchange.KeyCountry, false) {
		c.Countries = m.Constituency.Countries
	}
	match := func(kind exchange.KeyKind, value string) exchange.Match {
		return exchange.Match{Member: m.ID, Key: exchange.Key{Kind: kind, Value: value}}
	}
	for _, p := range c.Prefixes {
		p = p.Masked()
		have, _ := t.prefixes.Get(p)
		t.prefixes.Insert(p, claim(have, match(exchange.KeyPrefix, p.String())))
	}
	for _, n := range c.ASNs {
		t.asns[n] = claim(t.asns[n], match(exchange.KeyASN, exchange.FormatASN(n)))
	}
	for _, d := range c.Domains {
		suffix := exchange.Suffix(d)
		t.domains[suffix] = claim(t.domains[suffix], match(exchange.KeyDomain, suffix))
	}
	for _, x := range c.Countries {
		t.countries[x] = claim(t.countries[x], match(exchange.KeyCountry, x))
	}
}

// find returns the most specific claims.
func (t *table) find(a netip.Addr, p exchange.Location, hostname string) []exchange.Match {
	if exchange.IsAccount(a) { // its domain says whose it is, not where it was seen
		return t.domain(hostname)
	}
	if list, ok := t.prefixes.Lookup(a); ok {
		return list
	}
	if p.ASN != 0 {
		if list := t.asns[p.ASN]; len(list) > 0 {
			return list
		}
	}
	country := t.countries[p.Country]
	if !t.hostNames {
		return country
	}
	return inOrder(t.domain(hostname), country)
}

// domain returns the claims to the longest suffix of a name.
func (t *table) domain(hostname string) []exchange.Match {
	for suffix := hostname; suffix != "" && len(t.domains) > 0; {
		if list := t.domains[suffix]; len(list) > 0 {
			return list
		}
		_, suffix, _ = strings.Cut(suffix, ".")
	}
	return nil
}

// Route lists the members that are responsible for the address, sorted by id. The list is not
// to be changed.
func (r *Router) Route(a netip.Addr, p exchange.Location, hostname string) []exchange.Match {
	var all []exchange.Match
	for _, t := range r.kinds {
		all = inOrder(all, t.find(a, p, hostname))
	}
	return all
}

// inOrder merges two lists, each sorted by member. Of a member that is in both, the first counts.
func inOrder(a, b []exchange.Match) []exchange.Match {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := make([]exchange.Match, 0, len(a)+len(b))
	for len(a) > 0 && len(b) > 0 {
		switch order := cmp.Compare(a[0].Member, b[0].Member); {
		case order <= 0:
			if all, a = append(all, a[0]), a[1:]; order == 0 {
				b = b[1:]
			}
		default:
			all, b = append(all, b[0]), b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// claim adds a match to those of a key, which one member has once.
func claim(have []exchange.Match, m exchange.Match) []exchange.Match {
	if n := len(have); n > 0 && have[n-1].Member == m.Member {
		return have
	}
	return append(have, m)
}

// Locate completes what the publisher said of the address with the networks
// table. Where both know, the table decides, or the publisher where the feed says
// so; differ tells that they do not say the same.
func (r *Router) Locate(e *exchange.Event) (p exchange.Location, differ bool) {
	said := exchange.Location{ASN: e.ASN, Country: e.Country, Evidence: "publisher"}
	looked := r.networks.look(e.Address)
	looked.Evidence = "networks"
	differ = said.ASN != 0 && looked.ASN != 0 && said.ASN != looked.ASN ||
		said.Country != "" && looked.Country != "" && said.Country != looked.Country
	if r.publisherWins {
		return merged(said, looked), differ
	}
	return merged(looked, said), differ
}

// merged is what the first says, completed with what the second does.
func merged(first, second exchange.Location) exchange.Location {
	p := exchange.Location{ASN: cmp.Or(first.ASN, second.ASN), Country: cmp.Or(first.Country, second.Country)}
	one := first.ASN != 0 || first.Country != ""
	two := first.ASN == 0 && second.ASN != 0 || first.Country == "" && second.Country != ""
	switch {
	case one && two:
		p.Evidence = "publisher+networks"
	case one:
		p.Evidence = first.Evidence
	case two:
		p.Evidence = second.Evidence
	}
	return p
}

// Networks is an immutable table of where prefixes are. AS number and country are
// looked up apart: each by the longest prefix of which it is told.
type Networks struct {
	asns      bart.Fast[uint32]
	countries bart.Fast[string]
	prefixes  int
}

// NewNetworks builds the table; of two rows for one prefix the later counts for what it
// says.
func NewNetworks(rows []exchange.Network) *Networks {
	n := new(Networks)
	codes := make(map[string]string) // each once
	for _, row := range joined(rows) {
		n.prefixes++
		if row.ASN != 0 || row.NoASN {
			n.asns.Insert(row.Prefix.Masked(), row.ASN)
		}
		if row.Country != "" {
			if codes[row.Country] == "" {
				codes[row.Country] = strings.Clone(row.Country)
			}
			n.countries.Insert(row.Prefix.Masked(), codes[row.Country])
		}
	}
	return n
}

// look returns what is told of an address.
func (n *Networks) look(a netip.Addr) (p exchange.Location) {
	if n != nil && !exchange.IsAccount(a) {
		p.ASN, _ = n.asns.Lookup(a)
		p.Country, _ = n.countries.Lookup(a)
	}
	return p
}

// Len returns how many prefixes the table has.
func (n *Networks) Len() int { return n.prefixes }

// SameRouting tells whether two versions of the register route all feeds alike, with the same networks.
func SameRouting(a, b *exchange.Register) bool {
	return SameMembers(a.Members, b.Members) && slices.EqualFunc(a.Feeds, b.Feeds, func(x, y exchange.Feed) bool { return x.ID == y.ID && Same(&x, &y) })
}

// Routers makes what routes the feeds of a register. Most feeds share one.
func Routers(r *exchange.Register, networks *Networks) func(*exchange.Feed) *Router {
	var of []*exchange.Feed
	var made []*Router
	byFeed := make(map[string]*Router, len(r.Feeds))
	for i := range r.Feeds {
		f := &r.Feeds[i]
		at := slices.IndexFunc(of, func(o *exchange.Feed) bool { return Same(o, f) })
		if at < 0 {
			at = len(of)
			of, made = append(of, f), append(made, New(r.Members, networks, f))
		}
		byFeed[f.ID] = made[at]
	}
	return func(f *exchange.Feed) *Router { return byFeed[f.ID] }
}
