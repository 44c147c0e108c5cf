package packaging_test

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/stixtest"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

var update = flag.Bool("update", false, "write the golden files")

func register(profile exchange.Profile) *exchange.Register {
	at := time.Date(2011, 3, 16, 0, 0, 0, 0, time.UTC)
	return &exchange.Register{
		Version: 3, IDs: exchange.NewIDs([]byte("the secret of tests")),
		Members: []exchange.Member{
			{ID: "cert-at", Name: "CERT.at", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict, Created: at, Changed: at},
			{ID: "dcu", Name: "Digital \"Crimes\" Unit", Kind: exchange.Publisher, Clearance: tlp.AmberStrict, Created: at, Changed: at},
			{ID: "isp-one", Name: "ISP One", Kind: exchange.NetworkOwner, Clearance: tlp.Amber, Created: at, Changed: at},
		},
		Feeds: []exchange.Feed{{
			ID: "rustock", Publisher: "dcu", Operation: "rustock", DefaultTLP: tlp.Amber, Profile: profile, Confidence: 90,
			Malware:  exchange.Malware{Name: "Rustock", Aliases: []string{"RKRustok", "Costrat"}, Types: []string{"rootkit", "bot"}},
			Guidance: "https://example.org/clean-up", Created: at, Changed: at,
		}},
	}
}

func observation(addr string, events ...exchange.Event) record.Observation {
	var o record.Observation
	o.Address = netip.MustParseAddr(addr)
	for i := range events {
		e := &events[i]
		o.Day = exchange.DayOf(e.Observed)
		o.Merge(e, tlp.Amber, "publisher")
	}
	o.ASN, o.Country, o.Modified = 4200000010, "AT", o.Last
	o.Packaging, o.FirstPackaging = 1, 1
	return o
}

func sampleIntake(form uint8) *record.Intake {
	at := time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC)
	dst := netip.MustParseAddr("198.51.100.7")
	in := &record.Intake{
		Feed: "rustock", Register: 3, Packaging: form,
		Decisions: []exchange.Decision{
			{Label: tlp.Amber, Grants: []exchange.Grant{
				{Collection: "cert-at", Verdict: exchange.Verdict{Allow: true}},
				{Collection: "isp-one", Verdict: exchange.Verdict{Allow: true}},
			}},
			{Label: tlp.AmberStrict, Grants: []exchange.Grant{
				{Collection: "cert-at", Verdict: exchange.Verdict{Allow: true}},
				{Collection: "isp-one", Verdict: exchange.Verdict{Allow: false}},
			}},
		},
		Observations: []record.Observation{
			observation("203.0.113.45",
				exchange.Event{Observed: at, Port: 49217, Count: 1, Malware: "rustock", Protocol: "tcp http", Provider: "Example \"Sink\"", Dst: dst, DstPort: 80},
				exchange.Event{Observed: at.Add(time.Hour), Port: 50000, Count: 3, Malware: "rustock", Protocol: "tcp", Dst: dst, DstPort: 80}),
			observation("2001:db8::1", exchange.Event{Observed: at, Count: 1}),
			observation(exchange.AccountKey("o'neil@example.org").String(), exchange.Event{Account: "o'neil@example.org", Observed: at, Count: 1, Port: 7}),
		},
		Introductions: []record.Introduction{{Collection: "cert-at"}, {Collection: "cert-at", Topic: "AT"}, {Collection: "feed-rustock"}},
	}
	in.Observations[1].Decision = 1
	in.Observations[1].Label = tlp.AmberStrict
	in.Observations[2].Relapse = true
	if form >= 2 {
		exposed := observation("203.0.113.45", exchange.Event{Observed: at.Add(800 * time.Millisecond), Port: 3389, Count: 1, Protocol: "tcp", Exposed: "scan_rdp"})
		exposed.Exposed = "scan_rdp"
		in.Observations = append(in.Observations, exposed)
	}
	for i := range in.Observations {
		in.Observations[i].Packaging, in.Observations[i].FirstPackaging = form, form
	}
	return in
}

// lines returns a share as text, an object a line, needs before objects, a
// blank line between groups.
func lines(s record.Share) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %v\n", s.Collection, s.Label)
	for _, g := range s.Groups {
		b.WriteByte('\n')
		for _, list := range [][]record.Object{g.Needs, g.Objects} {
			for _, o := range list {
				b.Write(append(o.Raw, '\n'))
			}
		}
	}
	return b.Bytes()
}

func TestSharesAreGolden(t *testing.T) {
	valid := stixtest.New(t)
	for _, c := range []struct {
		profile exchange.Profile
		form    uint8
	}{
		{exchange.ProfileInfection, 1},
		{exchange.ProfileObservation, 1},
		{exchange.ProfileIndicator, 1},
		{exchange.ProfileInfection, 2},
		{exchange.ProfileObservation, 2},
		{exchange.ProfileIndicator, 2},
	} {
		profile := c.profile
		p, err := packaging.New(register(profile), "rustock")
		if err != nil {
			t.Fatal(err)
		}
		shares, err := p.Shares(sampleIntake(c.form))
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, s := range shares {
			all = append(append(all, lines(s)...), '\n')
			for _, g := range s.Groups {
				for _, o := range append(g.Needs, g.Objects...) {
					valid.Check(t, o.Raw)
					h, err := stix.ParseHead(o.Raw)
					if err != nil || h.ID != o.ID {
						t.Errorf("%v: %s is under id %s", err, o.Raw, o.ID)
					}
				}
			}
		}
		golden := filepath.Join("testdata", fmt.Sprintf("%s-%d.golden", profile, c.form)) // of a form, for ever
		if *update {
			if err := os.WriteFile(golden, all, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(all)); d != "" {
			t.Errorf("%s: %s", profile, d)
		}
		again, err := p.Shares(sampleIntake(c.form))
		if err != nil {
			t.Fatal(err)
		}
		for i := range shares {
			if !bytes.Equal(lines(shares[i]), lines(again[i])) {
				t.Errorf("%s: not the same bytes the second time", profile)
			}
		}
	}
}

// Outlines are of the same objects as shares, and scan as these do.
func TestOutlinesTellWhatSharesDo(t *testing.T) {
	of := func(shares []record.Share, err error) (told []string, size int) {
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range shares {
			told = append(told, fmt.Sprint(s.Collection, s.Label))
			for _, g := range s.Groups {
				told = append(told, fmt.Sprint("group ", g.Withdraw))
				for _, o := range slices.Concat(g.Needs, g.Objects) {
					b, ok := stix.ScanBrief(bytes.TrimSpace(o.Raw))
					if _, err := stix.ParseHead(o.Raw); err != nil || !ok {
						t.Fatalf("%s: %v", o.Raw, err)
					}
					told = append(told, fmt.Sprintf("%s %t %t: %s %s %s %s", o.ID, o.New, o.Shared, b.Type, b.ID, b.Version, b.Spec()))
					size += len(o.Raw)
				}
			}
		}
		return told, size
	}
	in := sampleIntake(packaging.Version)
	in.Observations[0].New, in.Observations[0].NewAddress = true, true
	in.Withdrawals = []record.Withdrawal{{Collection: "isp-one", Observation: 1}}
	for _, profile := range []exchange.Profile{exchange.ProfileInfection, exchange.ProfileObservation, exchange.ProfileIndicator} {
		p, err := packaging.New(register(profile), "rustock")
		if err != nil {
			t.Fatal(err)
		}
		want, whole := of(p.Shares(in))
		got, outlined := of(p.Outlines(in))
		if d := cmp.Diff(want, got); d != "" || outlined >= whole {
			t.Errorf("%s: %d bytes instead of %d; %s", profile, outlined, whole, d)
		}
	}
}

func TestEveryReferenceIsInTheShare(t *testing.T) {
	for _, profile := range []exchange.Profile{exchange.ProfileInfection, exchange.ProfileObservation, exchange.ProfileIndicator} {
		in := sampleIntake(packaging.Version)
		for _, c := range []string{"cert-at", "isp-one", "feed-rustock"} {
			in.Introductions = append(in.Introductions, record.Introduction{Collection: c}, record.Introduction{Collection: c, Topic: "AT"})
		}
		p, err := packaging.New(register(profile), "rustock")
		if err != nil {
			t.Fatal(err)
		}
		shares, err := p.Shares(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(shares) != 3 {
			t.Fatalf("%d shares", len(shares))
		}
		for _, s := range shares {
			have := map[string]bool{}
			for _, g := range s.Groups {
				for _, o := range append(g.Needs, g.Objects...) {
					h, err := stix.ParseHead(o.Raw)
					if err != nil {
						t.Fatal(err)
					}
					have[o.ID] = true
					for _, ref := range append(h.Refs, h.CreatedByRef) {
						if ref != "" && !have[ref] {
							t.Errorf("%s, %s: %s refers to %s, which is not before it", profile, s.Collection, o.ID, ref)
						}
					}
				}
			}
		}
	}
}

func TestOnlyAllowedCollectionsGetAHost(t *testing.T) {
	p, err := packaging.New(register(exchange.ProfileInfection), "rustock")
	if err != nil {
		t.Fatal(err)
	}
	shares, err := p.Shares(sampleIntake(packaging.Version))
	at := slices.IndexFunc(shares, func(s record.Share) bool { return s.Collection == "isp-one" })
	if err != nil || at < 0 {
		t.Fatal(shares, err)
	}
	if text := string(lines(shares[at])); strings.Contains(text, "2001:db8::1") || !strings.Contains(text, "203.0.113.45") {
		t.Errorf("isp-one got: %s", text)
	}
}

func TestExtensionFitsItsSchema(t *testing.T) {
	c := jsonschema.NewCompiler()
	schema, err := c.Compile("host-evidence.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	p, err := packaging.New(register(exchange.ProfileObservation), "rustock")
	if err != nil {
		t.Fatal(err)
	}
	shares, err := p.Shares(sampleIntake(packaging.Version))
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, s := range shares {
		for _, g := range s.Groups {
			for _, o := range g.Objects {
				if !strings.HasPrefix(o.ID, "observed-data--") {
					continue
				}
				doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(o.Raw))
				if err != nil {
					t.Fatal(err)
				}
				ext := doc.(map[string]any)["extensions"].(map[string]any)[exchange.HostEvidenceID]
				if err := schema.Validate(ext); err != nil {
					t.Error(err)
				}
				checked++
			}
		}
	}
	if checked == 0 {
		t.Error("no observed-data was checked")
	}
}

func BenchmarkShares(b *testing.B) {
	in := sampleIntake(packaging.Version)
	one := in.Observations[0]
	in.Observations = in.Observations[:0]
	for i := range 2000 {
		o := one
		o.Address = netip.AddrFrom4([4]byte{240, 0, byte(i >> 8), byte(i)})
		in.Observations = append(in.Observations, o)
	}
	p, err := packaging.New(register(exchange.ProfileInfection), "rustock")
	if err != nil {
		b.Fatal(err)
	}
	for name, shares := range map[string]func(*record.Intake) ([]record.Share, error){"whole": p.Shares, "outlines": p.Outlines} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := shares(in); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/2000, "ns/host")
		})
	}
}
