package record_test

import (
	"net/netip"
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
	at := exchange.Place{ASN: 64511, Country: "AT", Evidence: "publisher"}
	for name, c := range map[string]struct {
		place   exchange.Place
		malware string
		want    exchange.Place
		family  string
	}{
		"timestamp and address": {exchange.Place{}, "", at, "rustock"},
		"the country alone":     {exchange.Place{Country: "AT", Evidence: "networks"}, "", exchange.Place{ASN: 64511, Country: "AT", Evidence: "networks"}, "rustock"},
		"the AS alone":          {exchange.Place{ASN: 1, Evidence: "publisher"}, "", exchange.Place{ASN: 1, Country: "AT", Evidence: "publisher"}, "rustock"},
		"another place":         {exchange.Place{Country: "PL", ASN: 1, Evidence: "publisher"}, "", exchange.Place{Country: "PL", ASN: 1, Evidence: "publisher"}, "rustock"},
		"another family":        {at, "zeus", at, "zeus"},
	} {
		first := exchange.Event{
			Address: netip.MustParseAddr("240.0.0.1"), Observed: time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC), Count: 1,
			Hostname: "host.example", Malware: "rustock", Port: 1024, Dst: netip.MustParseAddr("240.0.0.9"), DstPort: 80,
		}
		second := exchange.Event{Address: first.Address, Observed: first.Observed.Add(time.Hour), Count: 1, Malware: c.malware}
		for _, turned := range []bool{false, true} {
			var o record.Observation
			if turned {
				o.Merge(&second, tlp.Green, c.place)
			}
			o.Merge(&first, tlp.Amber, at)
			if !turned {
				o.Merge(&second, tlp.Green, c.place)
			}
			back, err := record.DecodeObservation(o.Append(nil))
			if d := cmp.Diff(o, back, sameAddr); err != nil || d != "" {
				t.Errorf("%s: %v %s", name, err, d)
			}
			if o.Place != c.want || o.Malware != c.family || o.Label != tlp.Amber {
				t.Errorf("%s: %+v %q", name, o.Place, o.Malware)
			}
			contacts := []stix.Contact{{Time: second.Observed}, {Time: first.Observed, SrcPort: 1024, Dst: first.Dst, DstPort: 80}}
			if d := cmp.Diff(contacts, o.Contacts, sameAddr); d != "" {
				t.Errorf("%s: %s", name, d)
			}
			named := false
			for _, p := range o.Places {
				named = named || p.Hostname == "host.example"
			}
			if !named {
				t.Errorf("%s: the hostname is gone: %+v", name, o.Places)
			}
		}
	}
}
