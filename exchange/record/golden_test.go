package record_test

import (
	"encoding/hex"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

var update = flag.Bool("update", false, "write the golden files")

// ofVersion9 is the record that testdata/intake-9 was written from: what version 9 has more.
func ofVersion9() *record.Intake {
	in := ofVersion8()
	in.Nonce = [16]byte{1, 15: 2}
	return in
}

// ofVersion8 is the record that testdata/intake-8 was written from: what version 8 has more.
func ofVersion8() *record.Intake {
	in := ofVersion7()
	in.Audit = record.Head{Sequence: 11, Hash: "audit"}
	return in
}

// ofVersion7 is the record that testdata/intake-7 was written from: what version 7 has more.
func ofVersion7() *record.Intake {
	in := ofVersion6()
	in.Events[0].First, in.Events[0].Exposed = in.Events[0].Observed.Add(-time.Hour), "scan_rdp"
	in.Observations[0].Exposed = "scan_rdp"
	in.Recalled, in.Reason = []exchange.EventID{{1, 15: 2}}, "wrong"
	in.Receipt.Notes = []exchange.Note{{Line: 3, Rows: 2, Column: "asn", Reason: "is not an AS number: left out", Example: "-"}}
	in.Receipt.Unread, in.Receipt.Raised = []string{"colour"}, 3
	return in
}

// ofVersion6 is the record that testdata/intake-6 was written from.
func ofVersion6() *record.Intake {
	e := exchange.Event{
		Address: netip.MustParseAddr("240.0.0.1"), Port: 1024, Observed: time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC), Count: 2, ASN: 64511, Country: "PL",
		Hostname: "host.example", Malware: "rustock", Protocol: "tcp http", Provider: "example", Dst: netip.MustParseAddr("250.0.0.1"), DstPort: 80, PublisherID: "7",
		Extra: `{"a":"b"}`, Label: tlp.Amber,
	}
	at := exchange.Location{ASN: 64511, Country: "PL", Evidence: "publisher"}
	o := record.Observation{ObservationKey: exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)}.At(at), New: true, NewAddress: true, Packaging: 1, FirstPackaging: 1}
	o.Merge(&e, tlp.Amber, at.Evidence)
	o.Modified = o.Last
	return &record.Intake{
		Feed: "rustock", Key: "key", Hash: [32]byte{1, 31: 2}, At: time.Date(2026, 3, 20, 0, 0, 0, 1000, time.UTC), Register: 3, RegisterHash: "register", Networks: "net",
		Number: 5, Previous: "previous", Blocks: record.Head{Sequence: 9, Hash: "block"}, Packaging: 1, Repeats: true,
		Receipt: exchange.Receipt{
			Feed: "rustock", Rows: 2, Events: 1, Rejected: 1, Disagreements: 3, Suppressed: 4, Collections: map[string]int64{"cert-pl": 1},
			ProblemsTotal: 1, Problems: []exchange.Problem{{Line: 3, Rows: 2, Column: "ip", Reason: "x"}},
		},
		Cleaned:      []record.Cleaned{{Address: e.Address, Member: "cert-pl", At: time.Date(2026, 3, 18, 0, 0, 0, 0, time.UTC)}},
		Decisions:    []exchange.Decision{{Label: tlp.Amber, Grants: []exchange.Grant{{Collection: "cert-pl", Key: exchange.Key{Kind: exchange.KeyCountry, Value: "PL"}, Verdict: exchange.Verdict{Allow: true, Rule: "within-ceiling"}}}}},
		Observations: []record.Observation{o}, Events: []record.Accepted{{Event: e, Location: at}},
		Introductions: []record.Introduction{{Collection: "cert-pl", Topic: "PL"}}, Withdrawals: []record.Withdrawal{{Collection: "isp", Observation: 0}},
	}
}

// What is written today is read for ever, byte for byte.
func TestRecordsAreGolden(t *testing.T) {
	if *update {
		if err := os.WriteFile(filepath.Join("testdata", "intake-9"), ofVersion9().Append(nil), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var text []byte
	for name, want := range map[string]*record.Intake{"intake-6": ofVersion6(), "intake-7": ofVersion7(), "intake-8": ofVersion8(), "intake-9": ofVersion9()} {
		var err error
		if text, err = os.ReadFile(filepath.Join("testdata", name)); err != nil {
			t.Fatal(err)
		}
		in, err := record.DecodeIntake(text)
		if d := cmp.Diff(want, in, sameAddr, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Error(name, err, d)
		}
		if d := cmp.Diff(hex.Dump(text), hex.Dump(want.Append(nil))); name == "intake-9" && d != "" {
			t.Error(d)
		}
	}
	if in, err := record.DecodeBeginning(text); err != nil || in.Number != 5 || in.Register != 3 || in.Blocks.Sequence != 9 {
		t.Error(in, err)
	}
}

// So are the commitments: other programs compute them too.
func TestCommitmentsAreGolden(t *testing.T) {
	leaves := record.NewLeaves([]byte("0123456789abcdef"))
	for _, object := range []string{`{"a":1}`, `{"b":2}`, ""} {
		leaves.Add([]byte(object))
	}
	b := record.Block{
		Collection: "cert-pl", Feed: "rustock", Packaging: 1, Number: 7, Previous: "previous", Count: 3, AddedFirst: time.UnixMicro(1_700_000_000_000_001).UTC(),
		Label: tlp.Amber, Sealed: "sealed", Starts: []byte{1}, New: []byte{7}, Root: leaves.Root(),
	}
	for what, c := range map[string]struct{ got, want string }{
		"root":   {leaves.Root(), "d6eb61b0048f77bf64ce21bed050392e938785d1585f96c02fa891fc69556ac4"},
		"block":  {b.Hash(), "2e9d54628c7578b52d139000e92ca4fd13f13d56a445de6148cb857a5bd04978"},
		"intake": {record.IntakeHash([]byte("x")), "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", what, c.got, c.want)
		}
	}
}
