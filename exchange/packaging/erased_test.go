package packaging_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// own are the objects of the feed's own collection, in their places.
func own(t *testing.T, p *packaging.Packager, in *record.Intake) (list []record.Object) {
	t.Helper()
	shares, err := p.Shares(in)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for _, s := range shares {
		if s.Collection != "feed-rustock" {
			continue
		}
		for _, g := range s.Groups {
			for _, o := range g.Needs {
				if !seen[o.ID] {
					seen[o.ID] = true
					list = append(list, o)
				}
			}
			list = append(list, g.Objects...)
		}
	}
	return list
}

// What is erased from a record leaves its places in the feed's own collection, and nothing of it is told; all else stays where it is.
func TestWhatIsErasedKeepsItsPlaces(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		profile := []exchange.Profile{exchange.ProfileInfection, exchange.ProfileObservation, exchange.ProfileIndicator}[seed%3]
		p, err := packaging.New(register(profile), "rustock")
		if err != nil {
			t.Fatal(err)
		}
		address := func() netip.Addr { return netip.AddrFrom4([4]byte{240, 0, 0, byte(r.IntN(12))}) }
		in := &record.Intake{Feed: "rustock", Register: 3, Packaging: 2, Decisions: []exchange.Decision{{Label: tlp.Amber, Grants: []exchange.Grant{{Collection: "cert-at", Verdict: exchange.Verdict{Allow: true}}}}}}
		for i := range 1 + r.IntN(20) {
			e := exchange.Event{Address: address(), Observed: time.Date(2026, 3, 1+i%3, 0, 0, i, 0, time.UTC), Count: 1}
			if r.IntN(3) > 0 {
				e.Port = uint16(1 + r.IntN(9))
			}
			if r.IntN(3) > 0 {
				e.Dst, e.DstPort = address(), 80
			}
			var o record.Observation
			if r.IntN(8) == 0 {
				if err := e.SetAccount([]string{"a@mail.example", "b@mail.example"}[r.IntN(2)]); err != nil {
					t.Fatal(err)
				}
			}
			o.Address, o.Day = e.Address, exchange.DayOf(e.Observed)
			o.Merge(&e, []tlp.Level{tlp.Clear, tlp.Amber, tlp.AmberStrict}[r.IntN(3)], "publisher")
			o.Country, o.Modified = "AT", o.Last
			o.Packaging, o.FirstPackaging = uint8(1+r.IntN(2)), 1
			if o.Account == "" && r.IntN(5) == 0 {
				o.Exposed = "scan_rdp"
			}
			in.Observations = append(in.Observations, o)
			in.Events = append(in.Events, record.Accepted{Event: e, Observation: i})
		}
		before := own(t, p, in)
		gone := []netip.Addr{address(), address()}
		match := erasure.Match([]*erasure.Order{erasure.New(time.Now(), "admin", "asked", gone, []string{"a@mail.example"})})
		for range 2 { // a second time finds nothing
			match.Intake(in)
		}
		again, err := record.DecodeIntake(in.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		after := own(t, p, again)
		if len(after) != len(before) {
			t.Fatalf("seed %d: %d objects, and had %d", seed, len(after), len(before))
		}
		for i := range after {
			names := match.Text(before[i].Raw)
			switch {
			case after[i].Erased:
			case names && slices.ContainsFunc(gone, func(a netip.Addr) bool { return strings.Contains(string(after[i].Raw), `"`+a.String()+`"`) }), strings.Contains(string(after[i].Raw), "::ffff:"), match.Text(after[i].Raw):
				t.Errorf("seed %d, object %d tells of what is erased: %s", seed, i, after[i].Raw)
			case !names && after[i].ID != before[i].ID && !strings.HasPrefix(after[i].ID, "network-traffic"):
				t.Errorf("seed %d, object %d is another: %s, and was %s", seed, i, after[i].Raw, before[i].Raw)
			}
		}
	}
}
