package record_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A later row of a host's day that says less takes nothing away, in any order of the rows; one that says
// otherwise counts.
func TestARowThatSaysLessTakesNothingAway(t *testing.T) {
	for name, c := range map[string]struct {
		evidence, malware string
		want, family      string
	}{
		"timestamp and address": {"", "", "publisher", "rustock"},
		"the table alone":       {"networks", "", "publisher", "rustock"},
		"both":                  {"publisher+networks", "", "publisher+networks", "rustock"},
		"another family":        {"publisher", "zeus", "publisher", "zeus"},
	} {
		first := exchange.Event{
			Address: netip.MustParseAddr("240.0.0.1"), Observed: time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC), Count: 1,
			Hostname: "host.example", Malware: "rustock", Port: 1024, Dst: netip.MustParseAddr("240.0.0.9"), DstPort: 80,
		}
		second := exchange.Event{Address: first.Address, Observed: first.Observed.Add(time.Hour), Count: 1, Malware: c.malware}
		for _, turned := range []bool{false, true} {
			var o record.Observation
			if turned {
				o.Merge(&second, tlp.Green, c.evidence)
			}
			o.Merge(&first, tlp.Amber, "publisher")
			if !turned {
				o.Merge(&second, tlp.Green, c.evidence)
			}
			back, err := record.DecodeObservation(o.Append(nil))
			if d := cmp.Diff(o, back, sameAddr); err != nil || d != "" {
				t.Errorf("%s: %v %s", name, err, d)
			}
			if o.Evidence != c.want || o.Malware != c.family || o.Label != tlp.Amber {
				t.Errorf("%s: %s %q", name, o.Evidence, o.Malware)
			}
			contacts := []stix.Contact{{Time: second.Observed}, {Time: first.Observed, SrcPort: 1024, Dst: first.Dst, DstPort: 80}}
			if d := cmp.Diff(contacts, o.Contacts, sameAddr); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			if !slices.Contains(o.Hostnames, "host.example") || !slices.Contains(o.Hostnames, "") {
				t.Errorf("%s: a name is gone: %q", name, o.Hostnames)
			}
		}
	}
}

// What several have seen stays while one of them has.
func TestSubtractLeavesWhatOthersSaw(t *testing.T) {
	e := exchange.Event{Observed: time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC), Port: 1, Count: 1}
	var o record.Observation
	o.Merge(&e, tlp.Amber, "publisher")
	o.Merge(&e, tlp.Amber, "publisher")
	if o.Subtract(&e); o.Count != 1 || len(o.Contacts) != 1 {
		t.Errorf("%+v", o)
	}
	if o.Subtract(&e); o.Count != 0 || len(o.Contacts) != 0 {
		t.Errorf("%+v", o)
	}
}

// What is taken out of an observation is as if it had never been there, while its contacts are all kept.
func TestSubtractUndoesMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2026, 3, 19, 0, 0, 0, 0, time.UTC)
		event := func(n int) *exchange.Event {
			return &exchange.Event{Observed: at.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "minute")) * time.Minute), Port: uint16(n + 1), Count: int64(rapid.IntRange(1, 3).Draw(t, "count"))}
		}
		var kept, all record.Observation
		var out []*exchange.Event
		for n := range rapid.IntRange(1, 12).Draw(t, "events") {
			e := event(n)
			all.Merge(e, tlp.Amber, "publisher")
			if rapid.Bool().Draw(t, "recalled") {
				out = append(out, e)
			} else {
				kept.Merge(e, tlp.Amber, "publisher")
			}
		}
		for _, e := range out {
			all.Subtract(e)
		}
		if all.Count != kept.Count || len(all.Contacts) != len(kept.Contacts) || all.Count > 0 && (!all.First.Equal(kept.First) || !all.Last.Equal(kept.Last)) {
			t.Fatalf("%+v, want %+v", all, kept)
		}
		for i := range kept.Contacts {
			if !slices.Contains(all.Contacts, kept.Contacts[i]) {
				t.Fatalf("%+v is gone", kept.Contacts[i])
			}
		}
	})
}
