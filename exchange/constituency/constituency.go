// Package constituency tells who answers for an address: by prefix (longest
// match), AS number, domain suffix or country, in that order of specificity.
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

// Router answers for one version of the register and of the networks table. It
// is safe for concurrent use.
type Router struct {
	kinds    []*table
	networks *Networks
}

var _ exchange.Router = (*Router)(nil)

// table holds the claims of one kind of member.
type table struct {
	prefixes  bart.Table[[]exchange.Match]
	asns      map[uint32][]exchange.Match
	domains   map[string][]exchange.Match // suffix without its dot
	countries map[string][]exchange.Match
}

// New builds the table. networks may be nil: then only what the publisher says
// places an address.
func New(members []exchange.Member, networks *Networks) *Router {
	byKind := make(map[exchange.Kind]*table)
	r := &Router{networks: networks}
	sorted := slices.SortedFunc(slices.Values(members), func(a, b exchange.Member) int { return cmp.Compare(a.ID, b.ID) })
	for i := range sorted {
		m := &sorted[i]
		if m.Kind != exchange.CSIRT && m.Kind != exchange.NetworkOwner {
			continue
		}
		t := byKind[m.Kind]
		if t == nil {
			t = &table{
				asns:      make(map[uint32][]exchange.Match),
				domains:   make(map[string][]exchange.Match),
				countries: make(map[string][]exchange.Match),
			}
			byKind[m.Kind] = t
			r.kinds = append(r.kinds, t)
		}
		t.add(m)
	}
	return r
}

func (t *table) add(m *exchange.Member) {
	match := func(kind exchange.KeyKind, value string) exchange.Match {
		return exchange.Match{Member: m.ID, Key: exchange.Key{Kind: kind, Value: value}}
	}
	for _, p := range m.Constituency.Prefixes {
		p = p.Masked()
		have, _ := t.prefixes.Get(p)
		t.prefixes.Insert(p, append(have, match(exchange.KeyPrefix, p.String())))
	}
	for _, n := range m.Constituency.ASNs {
		t.asns[n] = append(t.asns[n], match(exchange.KeyASN, exchange.FormatASN(n)))
	}
	for _, d := range m.Constituency.Domains {
		suffix := strings.Trim(strings.ToLower(d), ".")
		t.domains[suffix] = append(t.domains[suffix], match(exchange.KeyDomain, suffix))
	}
	for _, c := range m.Constituency.Countries {
		t.countries[c] = append(t.countries[c], match(exchange.KeyCountry, c))
	}
}

// find returns the most specific claims.
func (t *table) find(a netip.Addr, p exchange.Place, hostname string) []exchange.Match {
	if list, ok := t.prefixes.Lookup(a); ok {
		return list
	}
	if p.ASN != 0 {
		if list := t.asns[p.ASN]; len(list) > 0 {
			return list
		}
	}
	for suffix := hostname; suffix != "" && len(t.domains) > 0; {
		if list := t.domains[suffix]; len(list) > 0 {
			return list
		}
		_, suffix, _ = strings.Cut(suffix, ".")
	}
	if p.Country == "" {
		return nil
	}
	return t.countries[p.Country]
}

// Route lists the members that answer for the address, sorted by id.
func (r *Router) Route(a netip.Addr, p exchange.Place, hostname string) []exchange.Match {
	var all []exchange.Match
	for _, t := range r.kinds {
		all = append(all, t.find(a, p, hostname)...)
	}
	slices.SortFunc(all, func(a, b exchange.Match) int { return cmp.Compare(a.Member, b.Member) })
	return slices.CompactFunc(all, func(a, b exchange.Match) bool { return a.Member == b.Member })
}

// Place completes what the publisher said of the address with the networks
// table: the publisher's word wins, the table fills what is missing.
func (r *Router) Place(e *exchange.Event) exchange.Place {
	p := exchange.Place{ASN: e.ASN, Country: e.Country}
	said := p.ASN != 0 || p.Country != ""
	if said {
		p.Evidence = "publisher"
	}
	if r.networks == nil || p.ASN != 0 && p.Country != "" {
		return p
	}
	n, ok := r.networks.table.Lookup(e.Address)
	if !ok || (p.ASN != 0 || n.asn == 0) && (p.Country != "" || n.country == "") {
		return p
	}
	if p.ASN == 0 {
		p.ASN = n.asn
	}
	if p.Country == "" {
		p.Country = n.country
	}
	p.Evidence = "networks"
	if said {
		p.Evidence = "publisher+networks"
	}
	return p
}

// Networks is an immutable table of where prefixes are.
type Networks struct {
	table bart.Table[network]
}

type network struct {
	asn     uint32
	country string
}

// NewNetworks builds the table; of two rows for one prefix the later counts.
func NewNetworks(rows []exchange.Network) *Networks {
	n := new(Networks)
	for _, row := range rows {
		n.table.Insert(row.Prefix.Masked(), network{row.ASN, row.Country})
	}
	return n
}

// Len returns how many prefixes the table has.
func (n *Networks) Len() int { return n.table.Size() }
