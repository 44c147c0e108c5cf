package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func headOf(t *testing.T, typ string, n int, more string) *stix.Head {
	t.Helper()
	h, err := stix.ParseHead([]byte(fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"%s}`, typ, idOf(typ, n), more)))
	if err != nil {
		t.Fatal(err)
	}
	return &h
}

func idOf(typ string, n int) string {
	return fmt.Sprintf("%s--0000000%d-0000-4000-8000-000000000000", typ, n)
}

func marked(l tlp.Level) string { return fmt.Sprintf(`,"object_marking_refs":[%q]`, l.MarkingID()) }

func refersTo(ids ...string) string { return `,"object_refs":["` + strings.Join(ids, `","`) + `"]` }

func between(a, b string) string {
	return fmt.Sprintf(`,"relationship_type":"related-to","source_ref":%q,"target_ref":%q`, a, b)
}

// The label of what is posted: its own, of what refers to it, of what it tells of, known before or beside it.
func TestTheLabelsOfWhatComesTogether(t *testing.T) {
	const nobody = `,"object_marking_refs":["marking-definition--00000000-0000-4000-8000-00000000acac"]`
	one, two, before := idOf("indicator", 1), idOf("indicator", 2), idOf("indicator", 9)
	known := func(id string) (tlp.Level, error) {
		if id == before {
			return tlp.AmberStrict, nil
		}
		return tlp.None, nil
	}
	for name, c := range map[string]struct {
		heads []*stix.Head
		want  []tlp.Level
	}{
		"unmarked":        {[]*stix.Head{headOf(t, "indicator", 1, "")}, []tlp.Level{tlp.Green}},
		"its own":         {[]*stix.Head{headOf(t, "indicator", 1, marked(tlp.Amber))}, []tlp.Level{tlp.Amber}},
		"below the floor": {[]*stix.Head{headOf(t, "indicator", 1, marked(tlp.Clear))}, []tlp.Level{tlp.Clear}},
		"a report's, where it is higher": {
			[]*stix.Head{headOf(t, "indicator", 1, marked(tlp.Clear)), headOf(t, "report", 1, refersTo(one)+marked(tlp.Red))}, []tlp.Level{tlp.Red, tlp.Red},
		},
		"and no other's": {
			[]*stix.Head{headOf(t, "indicator", 2, ""), headOf(t, "report", 1, refersTo(one)+marked(tlp.Red))}, []tlp.Level{tlp.Green, tlp.Red},
		},
		"a report is not as high as what it lists": {
			[]*stix.Head{headOf(t, "report", 1, refersTo(one)+marked(tlp.Clear)), headOf(t, "indicator", 1, marked(tlp.Red))}, []tlp.Level{tlp.Clear, tlp.Red},
		},
		"a relationship is as high as its ends": {
			[]*stix.Head{headOf(t, "relationship", 1, between(one, two)), headOf(t, "indicator", 2, marked(tlp.Red))}, []tlp.Level{tlp.Red, tlp.Red},
		},
		"and as those that came before": {
			[]*stix.Head{headOf(t, "relationship", 1, between(before, two)+marked(tlp.Clear))}, []tlp.Level{tlp.AmberStrict},
		},
		"two versions of one id": {
			[]*stix.Head{headOf(t, "indicator", 1, marked(tlp.Amber)), headOf(t, "indicator", 1, marked(tlp.Clear))}, []tlp.Level{tlp.Amber, tlp.Amber},
		},
		"through two": {
			[]*stix.Head{headOf(t, "relationship", 1, between(one, two)), headOf(t, "indicator", 1, ""), headOf(t, "report", 1, refersTo(one)+marked(tlp.Red))},
			[]tlp.Level{tlp.Red, tlp.Red, tlp.Red},
		},
		"a marking that nobody knows, and what tells of it": {
			[]*stix.Head{headOf(t, "indicator", 1, nobody), headOf(t, "relationship", 1, between(one, two))}, []tlp.Level{tlp.Unknown, tlp.Unknown},
		},
	} {
		got, reasons, err := policy.Labels(c.heads, tlp.Green, known)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		for i, l := range got {
			if (l == tlp.Unknown) != (reasons[i] != nil) {
				t.Errorf("%s: %d is %v for the reason %v", name, i, l, reasons[i])
			}
		}
	}
}
