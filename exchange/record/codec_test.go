package record_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

var sameAddr = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

func genAddr(t *rapid.T) netip.Addr {
	if rapid.Bool().Draw(t, "v6") {
		return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(rapid.IntRange(0, 9).Draw(t, "low"))})
	}
	return netip.AddrFrom4([4]byte{240, 0, 0, byte(rapid.IntRange(0, 9).Draw(t, "low"))})
}

func genEvent(t *rapid.T) exchange.Event {
	e := exchange.Event{
		Address: genAddr(t), Port: rapid.Uint16().Draw(t, "port"), Observed: time.UnixMilli(rapid.Int64Range(0, 3e12).Draw(t, "at")).UTC(),
		Count: rapid.Int64Range(1, 1e12).Draw(t, "count"), ASN: rapid.Uint32().Draw(t, "asn"), Country: rapid.SampledFrom([]string{"", "AT", "PL"}).Draw(t, "cc"),
		Hostname: rapid.String().Draw(t, "host"), Malware: rapid.String().Draw(t, "malware"), Protocol: "tcp", Provider: rapid.String().Draw(t, "provider"),
		DstPort: rapid.Uint16().Draw(t, "dport"), PublisherID: rapid.String().Draw(t, "id"), Label: tlp.Level(rapid.IntRange(0, 5).Draw(t, "label")),
		Extra: rapid.String().Draw(t, "extra"),
	}
	if rapid.Bool().Draw(t, "has dst") {
		e.Dst = genAddr(t)
	}
	return e
}

func genIntake(t *rapid.T) *record.Intake {
	in := &record.Intake{
		Feed: "rustock", Key: rapid.String().Draw(t, "key"), Hash: [32]byte{1, 2, 31: 3}, At: time.UnixMicro(rapid.Int64Range(0, 3e15).Draw(t, "at")).UTC(),
		RegisterHash: "hash", Number: rapid.Uint64().Draw(t, "number"), Previous: rapid.String().Draw(t, "previous"), Packaging: 3,
		Blocks:   record.Head{Sequence: rapid.Uint64().Draw(t, "blocks"), Hash: "head"},
		Backfill: rapid.Bool().Draw(t, "backfill"), Repeats: rapid.Bool().Draw(t, "repeats"), Register: rapid.Uint64().Draw(t, "register"), Networks: rapid.String().Draw(t, "networks"),
		Receipt: exchange.Receipt{Feed: "rustock", Rows: 7, Events: 3, Rejected: 4, Disagreements: 2, Collections: map[string]int64{"a": 1, "b": 2}, ProblemsTotal: 1, Problems: []exchange.Problem{{Line: 3, Rows: 4, Column: "ip", Reason: "x"}}},
		Decisions: []exchange.Decision{
			{Label: tlp.Amber, Grants: []exchange.Grant{{Collection: "a", Key: exchange.Key{Kind: exchange.KeyCountry, Value: "AT"}, Verdict: exchange.Verdict{Allow: true, Rule: "r"}}}},
			{Label: tlp.Red, Grants: []exchange.Grant{{Collection: "b", Verdict: exchange.Verdict{Rule: "no"}}}},
		},
		Introductions: []record.Introduction{{Collection: "a"}, {Collection: "a", Topic: "AT"}},
	}
	for range rapid.IntRange(0, 2).Draw(t, "cleaned") {
		in.Cleaned = append(in.Cleaned, record.Cleaned{Address: genAddr(t), Member: "a", At: time.UnixMilli(rapid.Int64Range(0, 3e12).Draw(t, "clean")).UTC()})
	}
	for range rapid.IntRange(0, 5).Draw(t, "observations") {
		o := record.Observation{Evidence: "publisher", Packaging: 1, FirstPackaging: 2, Contacts: []stix.Contact{}, New: rapid.Bool().Draw(t, "new"), NewAddress: rapid.Bool().Draw(t, "new address")}
		o.ObservationKey = exchange.HostDay{Address: genAddr(t), Day: 20000}.At(exchange.Location{ASN: rapid.Uint32().Draw(t, "at asn"), Country: "AT"})
		account := rapid.SampledFrom([]string{"", "someone@example.org"}).Draw(t, "account")
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			e := genEvent(t)
			e.Account = account
			o.Merge(&e, tlp.Amber, "publisher")
			in.Events = append(in.Events, record.Accepted{Event: e, Location: exchange.Location{ASN: e.ASN, Country: e.Country, Evidence: "publisher"}, Decision: 1, Observation: len(in.Observations)})
		}
		o.Modified = o.Last.Add(time.Millisecond)
		o.Relapse = rapid.Bool().Draw(t, "relapse")
		in.Observations = append(in.Observations, o)
	}
	return in
}

func TestRecordsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := genIntake(t)
		back, err := record.DecodeIntake(in.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, back, sameAddr, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		for i := range in.Observations {
			o, err := record.DecodeObservation(in.Observations[i].Append(nil))
			if d := cmp.Diff(in.Observations[i], o, sameAddr, cmpopts.EquateEmpty()); err != nil || d != "" {
				t.Fatal(err, d)
			}
		}
	})
}

func TestMergeDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := rapid.SliceOfN(rapid.Custom(genEvent), 1, 60).Draw(t, "events")
		seen := map[time.Time]bool{}
		for i := range events { // of two at one instant the order does count
			for seen[events[i].Observed] {
				events[i].Observed = events[i].Observed.Add(time.Millisecond)
			}
			seen[events[i].Observed] = true
		}
		merge := func(order []int) (o record.Observation) {
			for _, i := range order {
				o.Merge(&events[i], max(events[i].Label, tlp.Clear), []string{"", "networks", "publisher", "publisher+networks"}[events[i].Port%4])
			}
			return o
		}
		order := make([]int, len(events))
		for i := range order {
			order[i] = i
		}
		a, b := merge(order), merge(rapid.Permutation(order).Draw(t, "order"))
		// Names are in the order of arrival.
		if d := cmp.Diff(a, b, sameAddr, cmpopts.IgnoreFields(record.Observation{}, "Hostnames")); d != "" {
			t.Fatal(d)
		}
		if len(a.Contacts) != min(len(events), record.MaxContacts) || !a.Contacts[0].Time.Equal(a.Last) {
			t.Fatalf("%d contacts, newest %v, last seen %v", len(a.Contacts), a.Contacts[0].Time, a.Last)
		}
	})
}

func TestEventsThatDifferHaveDifferentIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genEvent(t), genEvent(t)
		if same := cmp.Equal(a, b, sameAddr); same != (a.ID() == b.ID()) {
			t.Fatalf("same %v:\n%+v\n%+v", same, a, b)
		}
		c := a
		c.Line = a.Line + 1
		if c.ID() != a.ID() {
			t.Fatal("the line is part of the identity")
		}
	})
}

func TestBlocksHashCoversEveryFact(t *testing.T) {
	base := func() *record.Block {
		return &record.Block{
			Collection: "a", Feed: "f", Packaging: 1, Number: 2, Previous: "p", Count: 3, AddedFirst: time.UnixMicro(5).UTC(), Label: tlp.Amber,
			Sealed: "s", Starts: []byte{1}, New: []byte{2}, By: "b", Labels: []byte{3}, Root: "r",
		}
	}
	seen := map[string]int{base().Hash(): -1}
	for i, change := range []func(*record.Block){
		func(b *record.Block) { b.Collection = "b" }, func(b *record.Block) { b.Feed = "g" }, func(b *record.Block) { b.Packaging = 2 }, func(b *record.Block) { b.Number++ },
		func(b *record.Block) { b.Previous = "q" }, func(b *record.Block) { b.Count++ }, func(b *record.Block) { b.AddedFirst = b.AddedFirst.Add(time.Microsecond) },
		func(b *record.Block) { b.Label = tlp.Green }, func(b *record.Block) { b.Sealed = "t" }, func(b *record.Block) { b.Starts = []byte{2} }, func(b *record.Block) { b.New = []byte{1} },
		func(b *record.Block) { b.By = "c" }, func(b *record.Block) { b.Labels = []byte{4} }, func(b *record.Block) { b.Root = "q" }, func(b *record.Block) { b.Control = record.ControlDelete },
	} {
		b := base()
		change(b)
		if j, ok := seen[b.Hash()]; ok {
			t.Errorf("changes %d and %d give one hash", i, j)
		}
		seen[b.Hash()] = i
	}
}

func FuzzDecodeIntake(f *testing.F) {
	var o record.Observation
	o.Address = netip.MustParseAddr("240.0.0.1")
	in := &record.Intake{Feed: "f", Decisions: []exchange.Decision{{}}, Observations: []record.Observation{o}, Events: []record.Accepted{{Event: exchange.Event{Address: o.Address}}}}
	f.Add(in.Append(nil))
	f.Fuzz(func(t *testing.T, raw []byte) {
		in, err := record.DecodeIntake(raw)
		if err != nil {
			if !errors.Is(err, exchange.ErrRecord) {
				t.Fatal(err)
			}
			return
		}
		for i := range in.Events {
			_ = in.Decisions[in.Events[i].Decision]
		}
		if _, err := record.DecodeIntake(in.Append(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

// BenchmarkIntake writes and reads a record of 2000 hosts.
func BenchmarkIntake(b *testing.B) {
	in := &record.Intake{Feed: "rustock", At: time.UnixMicro(1e15).UTC(), Decisions: []exchange.Decision{{Label: tlp.Amber}}}
	for i := range 2000 {
		e := exchange.Event{
			Address: netip.AddrFrom4([4]byte{240, 0, byte(i >> 8), byte(i)}), Port: uint16(i), Observed: time.UnixMilli(1e12 + int64(i)).UTC(), Count: 1,
			ASN: 4200000000, Country: "AT", Malware: "rustock", Protocol: "tcp http", Dst: netip.AddrFrom4([4]byte{250, 0, 0, 1}), DstPort: 80,
		}
		at := exchange.Location{ASN: e.ASN, Country: e.Country, Evidence: "publisher"}
		o := record.Observation{ObservationKey: exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)}.At(at), New: true}
		o.Merge(&e, tlp.Amber, at.Evidence)
		in.Observations = append(in.Observations, o)
		in.Events = append(in.Events, record.Accepted{Event: e, Location: at, Observation: i})
	}
	text := in.Append(nil)
	b.Run("append", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			text = in.Append(text[:0])
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		for b.Loop() {
			if _, err := record.DecodeIntake(text); err != nil {
				b.Fatal(err)
			}
		}
	})
}
