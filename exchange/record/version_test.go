package record_test

import (
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

// ofVersion1 is the record that testdata/intake-1 was written from.
func ofVersion1() *record.Intake {
	e := exchange.Event{
		Address: netip.MustParseAddr("240.0.0.1"), Port: 1024, Observed: time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC), Count: 2, ASN: 64511, Country: "PL",
		Hostname: "host.example", Malware: "rustock", Protocol: "tcp http", Provider: "example", Dst: netip.MustParseAddr("250.0.0.1"), DstPort: 80, PublisherID: "7", Label: tlp.Amber,
	}
	place := exchange.Place{ASN: 64511, Country: "PL", Evidence: "publisher"}
	o := record.Observation{HostDay: exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)}, New: true, NewAddress: true}
	o.Merge(&e, tlp.Amber, place)
	o.Modified = o.Last
	return &record.Intake{
		Feed: "rustock", Key: "key", Hash: [32]byte{1, 31: 2}, At: time.Date(2026, 3, 20, 0, 0, 0, 1000, time.UTC), Register: 3, Networks: "net",
		Receipt:      exchange.Receipt{Feed: "rustock", Rows: 2, Events: 1, Rejected: 1, Collections: map[string]int64{"cert-pl": 1}, ProblemsTotal: 1, Problems: []exchange.Problem{{Line: 3, Column: "ip", Reason: "x"}}},
		Decisions:    []exchange.Decision{{Label: tlp.Amber, Grants: []exchange.Grant{{Collection: "cert-pl", Key: exchange.Key{Kind: exchange.KeyCountry, Value: "PL"}, Verdict: exchange.Verdict{Allow: true, Rule: "within-ceiling"}}}}},
		Observations: []record.Observation{o}, Events: []record.Accepted{{Event: e, Place: place}}, Introductions: []record.Introduction{{Collection: "cert-pl", Topic: "PL"}},
	}
}

// ofVersion2 is the record that testdata/intake-2 was written from.
func ofVersion2() *record.Intake {
	in := ofVersion1()
	in.Backfill, in.Receipt.Disagreements = true, 3
	in.Events[0].Extra = `{"a":"b"}`
	in.Observations[0].Extra = `{"a":"b"}`
	return in
}

// Records of earlier versions are read: what they lack is empty.
func TestRecordsOfEarlierVersionsAreRead(t *testing.T) {
	for file, want := range map[string]*record.Intake{"intake-1": ofVersion1(), "intake-2": ofVersion2()} {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		in, err := record.DecodeIntake(text)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, in, sameAddr, cmpopts.EquateEmpty()); d != "" {
			t.Error(file, d)
		}
	}
}
