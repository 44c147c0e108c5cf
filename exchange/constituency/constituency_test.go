package constituency_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
)

func member(id string, kind exchange.Kind, c exchange.Constituency) exchange.Member {
	return exchange.Member{ID: id, Kind: kind, Constituency: c}
}

func prefixes(list ...string) (out []netip.Prefix) {
	for _, p := range list {
		out = append(out, netip.MustParsePrefix(p))
	}
	return out
}

func routed(r *constituency.Router, addr string, p exchange.Location, host string) (out []string) {
	for _, m := range r.Route(netip.MustParseAddr(addr), p, host) {
		out = append(out, m.Member+" "+string(m.Key.Kind)+" "+m.Key.Value)
	}
	return out
}

func TestMostSpecificWinsWithinAKind(t *testing.T) {
	members := []exchange.Member{
		member("cert-at", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT"}, Domains: []string{".at"}}),
		member("cert-eu", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT", "DE"}}),
		member("big", exchange.NetworkOwner, exchange.Constituency{Prefixes: prefixes("240.1.0.0/16", "2001:db8::/32")}),
		member("small", exchange.NetworkOwner, exchange.Constituency{Prefixes: prefixes("240.1.2.0/24", "2001:db8:1::/48"), ASNs: []uint32{7}}),
		member("twin", exchange.NetworkOwner, exchange.Constituency{Prefixes: prefixes("240.1.2.0/24")}),
		member("as", exchange.NetworkOwner, exchange.Constituency{ASNs: []uint32{7}}),
		member("dcu", exchange.Publisher, exchange.Constituency{Countries: []string{"AT"}}),
	}
	at, account := exchange.Location{Country: "AT", ASN: 7}, exchange.AccountKey("a@example.at").String()
	named := exchange.KeyKinds()
	for _, c := range []struct {
		addr  string
		place exchange.Location
		host  string
		keys  []exchange.KeyKind
		want  []string
	}{
		{"240.1.2.3", at, "", nil, []string{"cert-at country AT", "cert-eu country AT", "small prefix 240.1.2.0/24", "twin prefix 240.1.2.0/24"}},
		{"240.1.3.3", at, "", nil, []string{"big prefix 240.1.0.0/16", "cert-at country AT", "cert-eu country AT"}},
		{"240.9.0.1", at, "", nil, []string{"as asn AS7", "cert-at country AT", "cert-eu country AT", "small asn AS7"}},
		{"240.9.0.1", exchange.Location{Country: "DE"}, "a.host.at", named, []string{"cert-at domain at", "cert-eu country DE"}},
		// The holder of the address writes its name.
		{"240.9.0.1", exchange.Location{Country: "DE"}, "a.host.at", nil, []string{"cert-eu country DE"}},
		{"240.9.0.1", exchange.Location{}, "a.host.at", nil, nil},
		{"240.9.0.1", exchange.Location{}, "a.host.at", named, []string{"cert-at domain at"}},
		{"240.9.0.1", exchange.Location{Country: "AT"}, "a.host.at", named, []string{"cert-at domain at", "cert-eu country AT"}},
		{"240.1.2.3", exchange.Location{}, "a.host.at", named, []string{"cert-at domain at", "small prefix 240.1.2.0/24", "twin prefix 240.1.2.0/24"}},
		{"2001:db8:1::1", exchange.Location{}, "", nil, []string{"small prefix 2001:db8:1::/48"}},
		{"2001:db8:2::1", exchange.Location{}, "", nil, []string{"big prefix 2001:db8::/32"}},
		{"240.9.0.1", exchange.Location{Country: "FR", ASN: 8}, "host.fat", named, nil},
		{"240.9.0.1", exchange.Location{}, "", nil, nil},
		{account, at, "mail.example.at", nil, []string{"cert-at domain at"}},
		{account, at, "example.org", nil, nil}, // it was seen in AT, and is nobody's there
	} {
		if d := cmp.Diff(c.want, routed(constituency.New(members, nil, &exchange.Feed{Keys: c.keys}), c.addr, c.place, c.host)); d != "" {
			t.Errorf("%s %+v %s %v: %s", c.addr, c.place, c.host, c.keys, d)
		}
	}
}

func TestNetworksFillWhatThePublisherLeftOut(t *testing.T) {
	r := constituency.New(nil, constituency.NewNetworks([]exchange.Network{
		{Prefix: netip.MustParsePrefix("240.0.0.0/8"), ASN: 1, Country: "AT"},
		{Prefix: netip.MustParsePrefix("240.1.0.0/16"), ASN: 2},
		{Prefix: netip.MustParsePrefix("2001:db8::/32"), ASN: 3, Country: "DE"},
	}), &exchange.Feed{Places: exchange.PlacesPublisher})
	for _, c := range []struct {
		addr string
		asn  uint32
		cc   string
		want exchange.Location
	}{
		{"240.2.0.1", 0, "", exchange.Location{ASN: 1, Country: "AT", Evidence: "networks"}},
		{"240.2.0.1", 9, "", exchange.Location{ASN: 9, Country: "AT", Evidence: "publisher+networks"}},
		{"240.2.0.1", 9, "FR", exchange.Location{ASN: 9, Country: "FR", Evidence: "publisher"}},
		{"240.1.0.1", 0, "", exchange.Location{ASN: 2, Country: "AT", Evidence: "networks"}},
		{"240.1.0.1", 9, "", exchange.Location{ASN: 9, Country: "AT", Evidence: "publisher+networks"}},
		{"2001:db8::1", 0, "FR", exchange.Location{ASN: 3, Country: "FR", Evidence: "publisher+networks"}},
		{"241.0.0.1", 0, "", exchange.Location{}},
	} {
		e := exchange.Event{Address: netip.MustParseAddr(c.addr), ASN: c.asn, Country: c.cc}
		if got, _ := r.Locate(&e); got != c.want {
			t.Errorf("%s %d %s: got %+v, want %+v", c.addr, c.asn, c.cc, got, c.want)
		}
	}
}

// A prefix of a member counts as the network that it is in, also where one of its hosts was written.
func TestAPrefixIsItsNetwork(t *testing.T) {
	r := constituency.New([]exchange.Member{member("a", exchange.CSIRT, exchange.Constituency{Prefixes: prefixes("240.1.2.3/16")})}, nil, &exchange.Feed{})
	if got := routed(r, "240.1.9.9", exchange.Location{}, ""); !slices.Equal(got, []string{"a prefix 240.1.0.0/16"}) {
		t.Error(got)
	}
}

// genMembers draws members over a small world, so that claims collide.
func genMembers(t *rapid.T) []exchange.Member {
	n := rapid.IntRange(0, 12).Draw(t, "members")
	var out []exchange.Member
	for i := range n {
		kind := rapid.SampledFrom([]exchange.Kind{exchange.CSIRT, exchange.NetworkOwner, exchange.Publisher, exchange.Peer}).Draw(t, "kind")
		var c exchange.Constituency
		for range rapid.IntRange(0, 3).Draw(t, "prefixes") {
			c.Prefixes = append(c.Prefixes, genPrefix(t))
		}
		c.ASNs = rapid.SliceOfNDistinct(rapid.Uint32Range(1, 4), 0, 2, rapid.ID).Draw(t, "asns")
		c.Countries = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"AT", "DE", "FR"}), 0, 2, rapid.ID).Draw(t, "countries")
		c.Domains = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{".at", "host.at", "example"}), 0, 2, rapid.ID).Draw(t, "domains")
		out = append(out, member(fmt.Sprintf("m%02d", i), kind, c))
	}
	return out
}

func genAddr(t *rapid.T) netip.Addr {
	low := byte(rapid.IntRange(0, 255).Draw(t, "low"))
	if rapid.Bool().Draw(t, "v6") {
		return netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: low})
	}
	return netip.AddrFrom4([4]byte{240, 0, 0, low})
}

func genPrefix(t *rapid.T) netip.Prefix {
	a := genAddr(t)
	p, err := a.Prefix(a.BitLen() - rapid.IntRange(0, 9).Draw(t, "host bits"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// genFeed draws what a feed counts and leaves out.
func genFeed(t *rapid.T) *exchange.Feed {
	return &exchange.Feed{
		Keys:    rapid.SliceOfNDistinct(rapid.SampledFrom(exchange.KeyKinds()), 0, 3, rapid.ID).Draw(t, "keys"),
		Exclude: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"m00", "m01", "m02", "m03"}), 0, 2, rapid.ID).Draw(t, "exclude"),
	}
}

// oracle is the rule written down plainly: over all entries of all members.
func oracle(all []exchange.Member, f *exchange.Feed, a netip.Addr, p exchange.Location, host string) []string {
	var out []string
	var members []exchange.Member
	for _, m := range all {
		if len(f.Keys) > 0 {
			if !slices.Contains(f.Keys, exchange.KeyPrefix) {
				m.Constituency.Prefixes = nil
			}
			if !slices.Contains(f.Keys, exchange.KeyASN) {
				m.Constituency.ASNs = nil
			}
			if !slices.Contains(f.Keys, exchange.KeyDomain) {
				m.Constituency.Domains = nil
			}
			if !slices.Contains(f.Keys, exchange.KeyCountry) {
				m.Constituency.Countries = nil
			}
		}
		if !slices.Contains(f.Exclude, m.ID) {
			members = append(members, m)
		}
	}
	account, names := exchange.IsAccount(a), slices.Contains(f.Keys, exchange.KeyDomain)
	for _, kind := range []exchange.Kind{exchange.CSIRT, exchange.NetworkOwner} {
		longest := -1
		rank := map[exchange.KeyKind][]string{}
		for _, m := range members {
			if m.Kind != kind || account {
				continue
			}
			for _, x := range m.Constituency.Prefixes {
				if !x.Contains(a) || x.Bits() < longest {
					continue
				}
				if x.Bits() > longest {
					longest, rank[exchange.KeyPrefix] = x.Bits(), nil
				}
				rank[exchange.KeyPrefix] = append(rank[exchange.KeyPrefix], m.ID+" prefix "+x.Masked().String())
			}
			if p.ASN != 0 && slices.Contains(m.Constituency.ASNs, p.ASN) {
				rank[exchange.KeyASN] = append(rank[exchange.KeyASN], fmt.Sprintf("%s asn AS%d", m.ID, p.ASN))
			}
			if slices.Contains(m.Constituency.Countries, p.Country) {
				rank[exchange.KeyCountry] = append(rank[exchange.KeyCountry], m.ID+" country "+p.Country)
			}
		}
		best := -1
		for _, m := range members {
			for _, d := range m.Constituency.Domains {
				d = strings.Trim(d, ".")
				if m.Kind != kind || !account && !names || host != d && !strings.HasSuffix(host, "."+d) || len(d) < best {
					continue
				}
				if len(d) > best {
					best, rank[exchange.KeyDomain] = len(d), nil
				}
				rank[exchange.KeyDomain] = append(rank[exchange.KeyDomain], m.ID+" domain "+d)
			}
		}
		// A name takes nothing from the country's team; of a member with both, the name is told.
		for _, line := range rank[exchange.KeyCountry] {
			id, _, _ := strings.Cut(line, " ")
			if !slices.ContainsFunc(rank[exchange.KeyDomain], func(have string) bool { return strings.HasPrefix(have, id+" ") }) {
				rank[exchange.KeyDomain] = append(rank[exchange.KeyDomain], line)
			}
		}
		for _, k := range []exchange.KeyKind{exchange.KeyPrefix, exchange.KeyASN, exchange.KeyDomain} {
			if len(rank[k]) > 0 {
				out = append(out, rank[k]...)
				break
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestEqualsBruteForceInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := genMembers(t)
		shuffled := slices.Clone(members)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		f := genFeed(t)
		r, r2 := constituency.New(members, nil, f), constituency.New(shuffled, nil, f)
		for range 8 {
			a := genAddr(t)
			if rapid.IntRange(0, 3).Draw(t, "account") == 0 {
				a = exchange.AccountKey("a@b.at")
			}
			p := exchange.Location{ASN: rapid.Uint32Range(0, 5).Draw(t, "asn"), Country: rapid.SampledFrom([]string{"", "AT", "DE", "IT"}).Draw(t, "cc")}
			host := rapid.SampledFrom([]string{"", "a.host.at", "b.at", "host.at", "x.example", "notat"}).Draw(t, "host")
			got := routed(r, a.String(), p, host)
			if d := cmp.Diff(oracle(members, f, a, p, host), append([]string(nil), got...)); d != "" {
				t.Fatal(d)
			}
			if d := cmp.Diff(got, routed(r2, a.String(), p, host)); d != "" {
				t.Fatalf("order matters: %s", d)
			}
		}
	})
}

func TestAMemberTakesNothingFromAnotherKind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := genMembers(t)
		added := member("new", exchange.NetworkOwner, exchange.Constituency{Prefixes: []netip.Prefix{genPrefix(t)}, ASNs: []uint32{2}})
		before, after := constituency.New(members, nil, &exchange.Feed{}), constituency.New(append(slices.Clone(members), added), nil, &exchange.Feed{})
		a, p := genAddr(t), exchange.Location{ASN: 2, Country: "AT"}
		got := after.Route(a, p, "")
		for _, m := range before.Route(a, p, "") {
			i := slices.IndexFunc(members, func(x exchange.Member) bool { return x.ID == m.Member })
			if members[i].Kind == exchange.CSIRT && !slices.Contains(got, m) {
				t.Fatalf("%v lost %v to a network owner", m, a)
			}
		}
	})
}

func BenchmarkRoute(b *testing.B) {
	var members []exchange.Member
	for i := range 5000 {
		members = append(members, member(fmt.Sprint("o", i), exchange.NetworkOwner, exchange.Constituency{
			Prefixes: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{240, byte(i >> 8), byte(i), 0}), 24)},
		}))
	}
	members = append(members, member("cert", exchange.CSIRT, exchange.Constituency{Countries: []string{"AT"}}))
	r := constituency.New(members, nil, &exchange.Feed{})
	p := exchange.Location{ASN: 7, Country: "AT"}
	i := 0
	for b.Loop() {
		i++
		if len(r.Route(netip.AddrFrom4([4]byte{240, byte(i >> 8 & 15), byte(i), 1}), p, "")) != 2 {
			b.Fatal("lost one")
		}
	}
}

// BenchmarkTable is the table of 10,000 owners and 200 CSIRTs over 700,000 prefixes:
// how long it takes to make, how much memory it holds, and a look-up in it.
func BenchmarkTable(b *testing.B) {
	const owners, csirts, each = 10_000, 200, 70
	random := rand.New(rand.NewPCG(1, 2))
	var members []exchange.Member
	var some []netip.Addr
	for i := range owners {
		var c exchange.Constituency
		for range each {
			v := random.Uint32()
			a := netip.AddrFrom4([4]byte{byte(1 + v>>24%220), byte(v >> 16), byte(v >> 8), 0})
			c.Prefixes = append(c.Prefixes, netip.PrefixFrom(a, 18+random.IntN(7)))
			some = append(some, a.Next())
		}
		members = append(members, member(fmt.Sprintf("owner-%05d", i), exchange.NetworkOwner, c))
	}
	for i := range csirts {
		members = append(members, member(fmt.Sprintf("cert-%03d", i), exchange.CSIRT, exchange.Constituency{Countries: []string{string([]byte{'A' + byte(i/26), 'A' + byte(i%26)})}}))
	}
	var r *constituency.Router
	b.Run("make", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r = constituency.New(members, nil, &exchange.Feed{})
		}
		var before, after runtime.MemStats
		r = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		r = constituency.New(members, nil, &exchange.Feed{})
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
	})
	b.Run("look up", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			i++
			if len(r.Route(some[i%len(some)], exchange.Location{Country: "AB"}, "")) < 2 {
				b.Fatal("lost one")
			}
		}
	})
}
