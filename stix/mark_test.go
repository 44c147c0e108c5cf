package stix_test

import (
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A marking is put first, all other bytes stay, and it can be taken out again.
func TestAMarkingIsPutFirst(t *testing.T) {
	amber, green := tlp.Amber.MarkingID(), tlp.Green.MarkingID()
	for _, c := range []struct{ raw, want string }{
		{`{"type":"x"}`, `{"object_marking_refs":["` + amber + `"],"type":"x"}`},
		{`{ "type" : "x" }`, `{"object_marking_refs":["` + amber + `"], "type" : "x" }`},
		{`{"type":"x","object_marking_refs":[]}`, `{"type":"x","object_marking_refs":["` + amber + `"]}`},
		{`{"object_marking_refs":[],"type":"x"}`, ``},
		{`{"a":{"object_marking_refs":["y"]},"object_marking_refs": ["` + green + `"]}`, `{"a":{"object_marking_refs":["y"]},"object_marking_refs": ["` + amber + `","` + green + `"]}`},
		{`{"object\u005fmarking_refs":["` + green + `"]}`, `{"object\u005fmarking_refs":["` + amber + `","` + green + `"]}`},
	} {
		marked := stix.Mark([]byte(c.raw), tlp.Amber)
		if c.want != "" && string(marked) != c.want {
			t.Errorf("%s: %s", c.raw, marked)
		}
		if got := stix.Unmark(marked, tlp.Amber); string(got) != c.raw && c.want != "" {
			t.Errorf("%s: %s is left of it", c.raw, got)
		}
		if got := stix.Unmark([]byte(c.raw), tlp.Amber); string(got) != c.raw {
			t.Errorf("%s: %s without what it has not", c.raw, got)
		}
	}
}

func TestWhatIsTheSame(t *testing.T) {
	green, other := tlp.Green.MarkingID(), "marking-definition--00000000-0000-4000-8000-00000000acac"
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`{"a":1,"b":2}`, `{ "b" : 2, "a" : 1.0 }`, true},
		{`{"a":1}`, `{"a":1,"object_marking_refs":[]}`, true},
		{`{"a":1}`, `{"a":1,"object_marking_refs":["` + green + `"]}`, true},
		{`{"a":1}`, `{"a":1,"object_marking_refs":["` + strings.ToUpper(green[:5]) + green[5:] + `"]}`, true},
		{`{"a":1}`, `{"a":1,"object_marking_refs":["` + other + `"]}`, false},
		{`{"a":1,"object_marking_refs":["` + other + `","` + green + `"]}`, `{"a":1,"object_marking_refs":["` + other + `"]}`, true},
		{`{"a":1,"granular_markings":[{"marking_ref":"` + green + `"}]}`, `{"a":1}`, false},
		{`{"a":"x"}`, `{"a":"\u0078"}`, true},
		{`{"a":1}`, `{"a":2}`, false},
	} {
		if got := stix.Same([]byte(c.a), []byte(c.b)); got != c.want {
			t.Errorf("%s and %s: %v", c.a, c.b, got)
		}
	}
}
