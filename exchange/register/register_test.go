package register_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

func open(t *testing.T) (*register.Store, *register.Store) {
	t.Helper()
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	var stores [2]*register.Store
	for i := range stores {
		if stores[i], err = register.Open(t.Context(), b.Conn(), nil); err != nil {
			t.Fatal(err)
		}
	}
	return stores[0], stores[1]
}

func apply(t *testing.T, s *register.Store, file string, prune bool) ([]string, error) {
	t.Helper()
	f, err := register.Parse([]byte(file))
	if err != nil {
		return nil, err
	}
	var diff []string
	_, err = s.Change(t.Context(), "test", func(r *exchange.Register) error {
		diff = f.Apply(r, prune, time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
		return nil
	})
	return diff, err
}

const file = `
members:
  - {id: cert-at, name: CERT.at, kind: csirt, constituency: {countries: [at], prefixes: [240.1.0.0/16], domains: [.at]}}
  - {id: dcu, kind: publisher}
feeds:
  - {id: rustock, publisher: dcu, malware: {name: Rustock}}
collections:
  - {id: community, ceiling: green, readers: all, writers: [cert-at]}
`

func TestApplyIsIdempotentAndExportComesBack(t *testing.T) {
	s, _ := open(t)
	diff, err := apply(t, s, file, false)
	if err != nil || len(diff) != 4 {
		t.Fatal(diff, err)
	}
	if diff, err := apply(t, s, file, true); err != nil || len(diff) != 0 || s.Current().Version != 1 {
		t.Errorf("again: %v, %v, version %d", diff, err, s.Current().Version)
	}
	text, err := register.Export(s.Current())
	if err != nil {
		t.Fatal(err)
	}
	other, _ := open(t)
	if _, err := apply(t, other, string(text), true); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if d := cmp.Diff(s.Current().Collections(), other.Current().Collections()); d != "" {
		t.Errorf("on another exchange: %s", d)
	}
	again, err := register.Export(other.Current())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), string(again)); d != "" {
		t.Error(d)
	}
	diff, err = apply(t, s, "members:\n  - {id: cert-at, kind: csirt, name: New, constituency: {countries: [AT]}}\n  - {id: dcu, kind: publisher}\n", true)
	if err != nil || len(diff) != 3 || !strings.HasPrefix(diff[0], "~ member cert-at: name CERT.at → New") {
		t.Errorf("%q, %v", diff, err)
	}
	m := s.Current().Member("cert-at")
	if !m.Changed.Equal(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("changed %v", m.Changed)
	}
}

func TestWhatIsNotSoundIsRefusedWhole(t *testing.T) {
	s, _ := open(t)
	if _, err := apply(t, s, file, false); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"kind":                        {"members: [{id: x, kind: team}]", "kind"},
		"id":                          {"members: [{id: 'a b', kind: csirt}]", "id"},
		"underscore":                  {"members: [{id: a_b, kind: csirt}]", "id"},
		"subject":                     {"members: [{id: 'a.>', kind: csirt}]", "id"},
		"reserved":                    {"members: [{id: unclaimed, kind: csirt}]", "taken"},
		"admin":                       {"members: [{id: admin, kind: csirt}]", "taken"},
		"derived":                     {"members: [{id: feed-x, kind: csirt}]", "derived"},
		"twice":                       {"members: [{id: x, kind: csirt}, {id: x, kind: csirt}]", "taken"},
		"collision":                   {"collections: [{id: cert-at, ceiling: green}]", "taken"},
		"country":                     {"members: [{id: x, kind: csirt, constituency: {countries: [Austria]}}]", "country"},
		"publisher":                   {"feeds: [{id: y, publisher: nobody, malware: {name: Y}}]", "nobody"},
		"same operation":              {"feeds: [{id: y, operation: rustock, publisher: dcu, malware: {name: Y}}]", "share ids"},
		"no malware":                  {"feeds: [{id: y, publisher: dcu}]", "malware"},
		"guidance":                    {"feeds: [{id: y, publisher: dcu, malware: {name: Y}, guidance: 'javascript:x'}]", "guidance"},
		"profile":                     {"feeds: [{id: y, publisher: dcu, malware: {name: Y}, profile: all}]", "profile"},
		"reader":                      {"collections: [{id: c, ceiling: green, readers: [nobody]}]", "nobody"},
		"clearance":                   {"members: [{id: low, kind: csirt, clearance: green}]\ncollections: [{id: c, ceiling: amber, readers: [low]}]", "cleared"},
		"red":                         {"collections: [{id: c, ceiling: red}]", "persons"},
		"unknown label":               {"members: [{id: x, kind: csirt, clearance: pink}]", "pink"},
		"unknown key":                 {"members: [{id: x, kind: csirt, colour: blue}]", "colour"},
		"taxii id":                    {"taxii_ids: {cert-at: not-a-uuid}", "UUIDv4"},
		"control":                     {"members: [{id: x, kind: csirt, name: \"a\\tb\"}]", "control"},
		"no yaml":                     {"{", ""},
		"a host's prefix":             {"members: [{id: x, kind: csirt, constituency: {prefixes: [240.9.9.9/8]}}]", "prefix 240.9.9.9/8 is of one address in a network: write 240.0.0.0/8 for the network, or 240.9.9.9/32 for the address"},
		"a code that is no country's": {"members: [{id: x, kind: csirt, constituency: {countries: [UK]}}]", "write GB"},
		"peer owns":                   {"members: [{id: x, kind: peer, constituency: {asns: [1]}}]", "constituency"},
	} {
		_, err := apply(t, s, c.file, false)
		var invalid *register.Invalid
		if !errors.As(err, &invalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if v := s.Current().Version; v != 1 {
		t.Errorf("version %d", v)
	}
}

// Two nodes change at once: every change is there in the end, each version can
// still be read, and both nodes agree on what it was.
func TestChangesAtOnceAllCount(t *testing.T) {
	a, b := open(t)
	var wg sync.WaitGroup
	const each = 10
	for i, s := range []*register.Store{a, b} {
		wg.Go(func() {
			for n := range each {
				_, err := apply(t, s, fmt.Sprintf("members: [{id: m%d-%d, kind: peer}]", i, n), false)
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last, err := a.At(t.Context(), 2*each)
	if err != nil || len(last.Members) != 2*each {
		t.Fatalf("%+v, %v", last, err)
	}
	for v := uint64(1); v <= 2*each; v++ {
		x, err := a.At(t.Context(), v)
		y, err2 := b.At(t.Context(), v)
		if err != nil || err2 != nil || len(x.Members) != int(v) || !cmp.Equal(x, y, cmpopts.IgnoreFields(exchange.Register{}, "IDs")) {
			t.Errorf("version %d: %v %v, %d members", v, err, err2, len(x.Members))
		}
	}
}

func TestALargeRegisterFits(t *testing.T) {
	s, _ := open(t)
	_, err := s.Change(t.Context(), "test", func(r *exchange.Register) error {
		for i := range 10_000 {
			m := exchange.Member{ID: fmt.Sprintf("owner-%05d", i), Name: exchange.HashToken(fmt.Sprint(i)), Kind: exchange.NetworkOwner, Clearance: 3}
			m.Constituency.ASNs = []uint32{uint32(i + 1)}
			r.Members = append(r.Members, m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("prefix,asn,cc\n" + strings.Repeat("240.0.0.0/8,1,AT\n", 100_000))
	r, err := s.SetNetworks(t.Context(), "test", text)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.Networks(t.Context(), r.NetworksKey)
	if err != nil || string(back) != string(text) {
		t.Errorf("%d bytes, %v", len(back), err)
	}
	if old, err := s.At(t.Context(), 1); err != nil || len(old.Members) != 10_000 {
		t.Error(err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(file))
	f.Fuzz(func(t *testing.T, text []byte) {
		parsed, err := register.Parse(text)
		if err != nil {
			return
		}
		r := &exchange.Register{UUIDs: map[string]string{}, Tokens: map[string][]exchange.Token{}}
		parsed.Apply(r, false, time.Unix(0, 0))
	})
}

// An alias names one collection, a title too: some clients choose by it.
func TestAliasesAreUnique(t *testing.T) {
	for _, text := range []string{
		"members: [{id: a, kind: csirt}]\ncollections: [{id: a, ceiling: green}]",
		"collections: [{id: unclaimed, ceiling: green}]",
		"collections: [{id: feed-x, ceiling: green}]",
	} {
		f, err := register.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		s, _ := open(t)
		if _, err := s.Change(t.Context(), "test", func(r *exchange.Register) error { f.Apply(r, false, time.Now()); return nil }); err == nil {
			t.Errorf("%s was taken", text)
		}
	}
	r := &exchange.Register{Members: []exchange.Member{{ID: "a", Name: "CERT", Kind: exchange.CSIRT}, {ID: "b", Name: "CERT", Kind: exchange.CSIRT}, {ID: "c", Name: "Other", Kind: exchange.CSIRT}}}
	titles := make(map[string]bool)
	for _, c := range r.Collections() {
		if titles[c.Title] {
			t.Errorf("two collections have the title %s", c.Title)
		}
		titles[c.Title] = true
	}
	if !titles["CERT (a)"] || !titles["Other"] {
		t.Error(titles)
	}
}

// An operation is one feed's for ever: the ids of objects are made of it.
func TestAnOperationIsNeverAnotherFeeds(t *testing.T) {
	s, _ := open(t)
	feeds := func(list string) string {
		return "members: [{id: dcu, kind: publisher}]\nfeeds: [" + list + "]"
	}
	const one, two = "{id: one, publisher: dcu, operation: rustock, malware: {name: R}}", "{id: two, publisher: dcu, operation: rustock, malware: {name: R}}"
	for _, c := range []struct {
		file string
		ok   bool
	}{
		{feeds(one + ", " + two), false}, {feeds(one), true}, {feeds(one + ", " + two), false}, {feeds(""), true}, {feeds(two), false}, {feeds(one), true},
	} {
		if _, err := apply(t, s, c.file, true); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.file, err)
		}
	}
}

// What was exported and then edited has changed now, whatever time the file has.
func TestAnEditedExportHasChanged(t *testing.T) {
	s, _ := open(t)
	if _, err := apply(t, s, file, true); err != nil {
		t.Fatal(err)
	}
	text, err := register.Export(s.Current())
	if err != nil {
		t.Fatal(err)
	}
	was := s.Current().Members[0]
	f, err := register.Parse([]byte(strings.Replace(string(text), "name: "+was.Name, "name: Another", 1)))
	if err != nil {
		t.Fatal(err)
	}
	later := was.Changed.Add(time.Hour)
	now, err := s.Change(t.Context(), "test", func(r *exchange.Register) error { f.Apply(r, false, later); return nil })
	if err != nil || now.Members[0].Name != "Another" || !now.Members[0].Changed.Equal(later) {
		t.Errorf("%+v %v", now.Members[0], err)
	}
}

// What is claimed of all is said, once, with how many it concerns; a country's part of the DNS is somebody's.
func TestSweepingClaimsAreSaid(t *testing.T) {
	of := func(members ...exchange.Member) *exchange.Register { return &exchange.Register{Members: members} }
	member := func(id string, c exchange.Constituency) exchange.Member {
		return exchange.Member{ID: id, Kind: exchange.CSIRT, Constituency: c}
	}
	world, com := netip.MustParsePrefix("0.0.0.0/0"), exchange.Constituency{Domains: []string{".com", ".at", "example.org", ".co.uk"}}
	one := member("one", exchange.Constituency{Prefixes: []netip.Prefix{world, netip.MustParsePrefix("10.0.0.0/8")}})
	two := member("two", com)
	three := member("three", exchange.Constituency{Prefixes: []netip.Prefix{netip.MustParsePrefix("240.0.0.0/8")}, Domains: []string{"example.com"}})
	next := of(member("four", exchange.Constituency{}), one, three, two) // sorted, as registers are
	want := []string{
		"member one: prefix 0.0.0.0/0 is the whole world: it gets each host that no longer prefix names; 1 other members have prefixes within",
		"member two: domain .com is a part of the DNS that anybody can have names in; 1 other members have names within",
	}
	if d := cmp.Diff(want, register.Sweeping(of(), next)); d != "" {
		t.Error(d)
	}
	if list := register.Sweeping(next, next); len(list) != 0 {
		t.Error("said again:", list)
	}
	all := strings.Join(register.Warnings(next), "\n")
	for _, part := range append(want, "member four: it is a CSIRT without a constituency", "member one: prefix 10.0.0.0/8 is no network of the Internet") {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in %s", part, all)
		}
	}
}
