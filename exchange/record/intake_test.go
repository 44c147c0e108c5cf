package record_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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
