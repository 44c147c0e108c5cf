package constituency_test

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
)

// The keys that fit and do not count, each with why, and what stands before it.
func TestWhatIsShadowedAndWhy(t *testing.T) {
	members := []exchange.Member{
		member("cert", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT"}, Domains: []string{"at"}}),
		member("gov", exchange.CSIRT, exchange.Constituency{Prefixes: prefixes("240.1.0.0/16"), ASNs: []uint32{7}, Countries: []string{"AT"}}),
		member("isp", exchange.NetworkOwner, exchange.Constituency{ASNs: []uint32{7}, Prefixes: prefixes("240.1.0.0/24")}),
		member("out", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT"}}),
		member("pub", exchange.Publisher, exchange.Constituency{Countries: []string{"AT"}}),
		member("reseller", exchange.NetworkOwner, exchange.Constituency{Prefixes: prefixes("240.1.0.128/25"), Domains: []string{"shop.at"}}),
	}
	key := func(kind exchange.KeyKind, value string) exchange.Key { return exchange.Key{Kind: kind, Value: value} }
	const specific, left = "a more specific key counts", "the feed leaves this member out"
	gov, isp := key(exchange.KeyPrefix, "240.1.0.0/16"), key(exchange.KeyPrefix, "240.1.0.0/24")
	for name, c := range map[string]struct {
		feed     exchange.Feed
		address  string
		at       exchange.Location
		hostname string
		want     []exchange.ShadowedMatch
	}{
		"a prefix stands before all": {
			exchange.Feed{Exclude: []string{"out"}, Keys: exchange.KeyKinds()},
			"240.1.0.1",
			exchange.Location{ASN: 7, Country: "AT"},
			"x.at",
			[]exchange.ShadowedMatch{
				{Member: "cert", Key: key(exchange.KeyCountry, "AT"), Reason: specific, By: "gov", ByKey: gov},
				{Member: "cert", Key: key(exchange.KeyDomain, "at"), Reason: specific, By: "gov", ByKey: gov},
				{Member: "gov", Key: key(exchange.KeyASN, "AS7"), Reason: specific, By: "gov", ByKey: gov},
				{Member: "gov", Key: key(exchange.KeyCountry, "AT"), Reason: specific, By: "gov", ByKey: gov},
				{Member: "isp", Key: key(exchange.KeyASN, "AS7"), Reason: specific, By: "isp", ByKey: isp},
				{Member: "out", Key: key(exchange.KeyCountry, "AT"), Reason: left},
			},
		},
		"a longer prefix before a shorter": {
			exchange.Feed{Exclude: []string{"out", "cert", "gov"}},
			"240.1.0.200",
			exchange.Location{},
			"",
			[]exchange.ShadowedMatch{
				{Member: "gov", Key: gov, Reason: left},
				{Member: "isp", Key: isp, Reason: specific, By: "reseller", ByKey: key(exchange.KeyPrefix, "240.1.0.128/25")},
			},
		},
		"kinds that do not count": {
			exchange.Feed{Keys: []exchange.KeyKind{exchange.KeyCountry}},
			"240.1.0.1",
			exchange.Location{ASN: 8, Country: "AT"},
			"a.shop.at",
			[]exchange.ShadowedMatch{
				{Member: "cert", Key: key(exchange.KeyDomain, "at"), Reason: "keys of the kind domain do not count for the feed"},
				{Member: "gov", Key: gov, Reason: "keys of the kind prefix do not count for the feed"},
				{Member: "isp", Key: isp, Reason: "keys of the kind prefix do not count for the feed"},
				{Member: "reseller", Key: key(exchange.KeyDomain, "shop.at"), Reason: "keys of the kind domain do not count for the feed"},
			},
		},
		"a name that nobody verified": {
			exchange.Feed{Exclude: []string{"out"}},
			"240.9.0.1",
			exchange.Location{Country: "AT"},
			"x.at",
			[]exchange.ShadowedMatch{
				{Member: "cert", Key: key(exchange.KeyDomain, "at"), Reason: "a host's name counts only for feeds that name domain among their keys"},
				{Member: "out", Key: key(exchange.KeyCountry, "AT"), Reason: left},
			},
		},
		"nothing fits": {exchange.Feed{}, "240.9.0.1", exchange.Location{ASN: 9, Country: "PL"}, "x.pl", nil},
		"an account is of a domain alone": {
			exchange.Feed{Keys: []exchange.KeyKind{exchange.KeyPrefix}},
			exchange.AccountKey("a@shop.at").String(),
			exchange.Location{ASN: 7, Country: "AT"},
			"shop.at",
			[]exchange.ShadowedMatch{
				{Member: "cert", Key: key(exchange.KeyDomain, "at"), Reason: "keys of the kind domain do not count for the feed"},
				{Member: "reseller", Key: key(exchange.KeyDomain, "shop.at"), Reason: "keys of the kind domain do not count for the feed"},
			},
		},
	} {
		r := constituency.New(members, nil, &c.feed)
		if d := cmp.Diff(c.want, r.ShadowedMatches(netip.MustParseAddr(c.address), c.at, c.hostname)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Publisher and table disagree where both say something and not the same.
func TestWhoseWordCountsAndWhetherTheyDiffer(t *testing.T) {
	networks := constituency.NewNetworks([]exchange.Network{
		{Prefix: netip.MustParsePrefix("240.1.0.0/16"), ASN: 7, Country: "AT"}, {Prefix: netip.MustParsePrefix("240.2.0.0/16"), ASN: 7}, {Prefix: netip.MustParsePrefix("240.3.0.0/16"), Country: "AT"},
	})
	for _, c := range []struct {
		address        string
		asn            uint32
		country        string
		want, tableWin exchange.Location
		differ         bool
	}{
		{"240.1.0.1", 7, "AT", exchange.Location{ASN: 7, Country: "AT", Evidence: "publisher"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, false},
		{"240.1.0.1", 8, "AT", exchange.Location{ASN: 8, Country: "AT", Evidence: "publisher"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, true},
		{"240.1.0.1", 7, "PL", exchange.Location{ASN: 7, Country: "PL", Evidence: "publisher"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, true},
		{"240.1.0.1", 0, "", exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, false},
		{"240.1.0.1", 8, "", exchange.Location{ASN: 8, Country: "AT", Evidence: "publisher+networks"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, true},
		{"240.1.0.1", 0, "PL", exchange.Location{ASN: 7, Country: "PL", Evidence: "publisher+networks"}, exchange.Location{ASN: 7, Country: "AT", Evidence: "networks"}, true},
		{"240.2.0.1", 0, "PL", exchange.Location{ASN: 7, Country: "PL", Evidence: "publisher+networks"}, exchange.Location{ASN: 7, Country: "PL", Evidence: "publisher+networks"}, false},
		{"240.3.0.1", 8, "", exchange.Location{ASN: 8, Country: "AT", Evidence: "publisher+networks"}, exchange.Location{ASN: 8, Country: "AT", Evidence: "publisher+networks"}, false},
		{"240.9.0.1", 8, "PL", exchange.Location{ASN: 8, Country: "PL", Evidence: "publisher"}, exchange.Location{ASN: 8, Country: "PL", Evidence: "publisher"}, false},
		{"240.9.0.1", 0, "", exchange.Location{}, exchange.Location{}, false},
	} {
		e := &exchange.Event{Address: netip.MustParseAddr(c.address), ASN: c.asn, Country: c.country}
		for places, want := range map[exchange.Places]exchange.Location{"": c.tableWin, exchange.PlacesPublisher: c.want, exchange.PlacesNetworks: c.tableWin} {
			r := constituency.New(nil, networks, &exchange.Feed{Places: places})
			if got, differ := r.Locate(e); got != want || differ != c.differ {
				t.Errorf("%s %d %q, %s: %+v %v, want %+v %v", c.address, c.asn, c.country, places, got, differ, want, c.differ)
			}
		}
	}
}

// Feeds that are routed alike share what routes them, and nothing is made anew for a change that routes nothing.
func TestFeedsThatAreRoutedAlikeShareARouter(t *testing.T) {
	register := func() *exchange.Register {
		return &exchange.Register{
			Members: []exchange.Member{
				member("cert", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT"}, ASNs: []uint32{7}, Domains: []string{"at"}, Prefixes: prefixes("240.1.0.0/16")}),
				member("isp", exchange.NetworkOwner, exchange.Constituency{ASNs: []uint32{7}}),
			},
			Feeds: []exchange.Feed{
				{ID: "a"},
				{ID: "b", Repeat: 1},
				{ID: "c", Exclude: []string{"isp"}},
				{ID: "d", Keys: []exchange.KeyKind{exchange.KeyASN}},
				{ID: "e", Places: exchange.PlacesNetworks},
				{ID: "f", Places: exchange.PlacesPublisher},
				{ID: "g", Exclude: []string{"isp"}},
			},
		}
	}
	r := register()
	of := constituency.Routers(r, nil)
	for _, c := range []struct {
		feeds [2]int
		same  bool
	}{{[2]int{0, 1}, true}, {[2]int{0, 4}, true}, {[2]int{2, 6}, true}, {[2]int{0, 2}, false}, {[2]int{0, 3}, false}, {[2]int{0, 5}, false}, {[2]int{2, 3}, false}, {[2]int{3, 5}, false}} {
		a, b := of(&r.Feeds[c.feeds[0]]), of(&r.Feeds[c.feeds[1]])
		if a == nil || b == nil || (a == b) != c.same {
			t.Errorf("feeds %v share: %v", c.feeds, a == b)
		}
	}
	at := exchange.Location{ASN: 7, Country: "PL"}
	for i, want := range map[int]int{0: 2, 2: 1, 3: 2, 6: 1} {
		if got := len(of(&r.Feeds[i]).Route(netip.MustParseAddr("240.9.0.1"), at, "")); got != want {
			t.Errorf("feed %d goes to %d, want %d", i, got, want)
		}
	}
	for name, c := range map[string]struct {
		change func(*exchange.Register)
		same   bool
	}{
		"nothing":             {func(*exchange.Register) {}, true},
		"a name and a window": {func(r *exchange.Register) { r.Members[0].Name = "x"; r.Feeds[0].Repeat = 9; r.Members[0].Clearance = 3 }, true},
		"a member's id":       {func(r *exchange.Register) { r.Members[0].ID = "x" }, false},
		"its kind":            {func(r *exchange.Register) { r.Members[0].Kind = exchange.Peer }, false},
		"its countries":       {func(r *exchange.Register) { r.Members[0].Constituency.Countries = []string{"PL"} }, false},
		"its AS numbers":      {func(r *exchange.Register) { r.Members[0].Constituency.ASNs = nil }, false},
		"its domains":         {func(r *exchange.Register) { r.Members[0].Constituency.Domains = []string{"pl"} }, false},
		"its prefixes":        {func(r *exchange.Register) { r.Members[0].Constituency.Prefixes = prefixes("240.2.0.0/16") }, false},
		"a member less":       {func(r *exchange.Register) { r.Members = r.Members[:1] }, false},
		"a feed's id":         {func(r *exchange.Register) { r.Feeds[0].ID = "x" }, false},
		"its kinds of keys":   {func(r *exchange.Register) { r.Feeds[0].Keys = []exchange.KeyKind{exchange.KeyASN} }, false},
		"whom it leaves out":  {func(r *exchange.Register) { r.Feeds[0].Exclude = []string{"cert"} }, false},
		"whose word counts":   {func(r *exchange.Register) { r.Feeds[0].Places = exchange.PlacesPublisher }, false},
	} {
		next := register()
		c.change(next)
		if got := constituency.SameRouting(register(), next); got != c.same {
			t.Errorf("%s: the same is %v", name, got)
		}
	}
}
