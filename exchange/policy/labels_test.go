package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
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

// The label of what is posted: its own, else its context's, else the floor; and at least that of what it refers to.
func TestTheLabelsOfWhatComesTogether(t *testing.T) {
	one, two, before, unmarked := idOf("indicator", 1), idOf("indicator", 2), idOf("indicator", 9), idOf("location", 9)
	address := "ipv4-addr--00000001-0000-5000-8000-000000000000"
	there := "ipv4-addr--00000002-0000-5000-8000-000000000000"
	sco := &stix.Head{Type: "ipv4-addr", ID: address}
	standing := func(id string) (tlp.Level, bool) {
		return map[string]tlp.Level{before: tlp.AmberStrict, there: tlp.Green}[id], id == before || id == unmarked || id == there
	}
	x := func(h *stix.Head) policy.Posting {
		own, _ := h.Label()
		return policy.Posting{Head: h, Own: own}
	}
	newer := func(typ string, n int, more string) *stix.Head {
		h := headOf(t, typ, n, more)
		h.Modified = "2026-01-02T00:00:00Z"
		return h
	}
	said := func(h *stix.Head, context tlp.Level) policy.Posting {
		p := x(h)
		p.Context = context
		return p
	}
	for name, c := range map[string]struct {
		list []policy.Posting
		want []tlp.Level
	}{
		"unmarked":                  {[]policy.Posting{x(headOf(t, "indicator", 1, ""))}, []tlp.Level{tlp.Green}},
		"its own":                   {[]policy.Posting{x(headOf(t, "indicator", 1, marked(tlp.Amber)))}, []tlp.Level{tlp.Amber}},
		"below the floor":           {[]policy.Posting{x(headOf(t, "indicator", 1, marked(tlp.Clear)))}, []tlp.Level{tlp.Clear}},
		"its context's":             {[]policy.Posting{said(headOf(t, "indicator", 1, ""), tlp.Red)}, []tlp.Level{tlp.Red}},
		"a context below the floor": {[]policy.Posting{said(headOf(t, "indicator", 1, ""), tlp.Clear)}, []tlp.Level{tlp.Clear}},
		"a report is as high as what it lists": {
			[]policy.Posting{x(headOf(t, "report", 1, refersTo(one)+marked(tlp.Clear))), x(headOf(t, "indicator", 1, marked(tlp.Red)))}, []tlp.Level{tlp.Red, tlp.Red},
		},
		"and so is a note, of what came before": {[]policy.Posting{x(headOf(t, "note", 1, refersTo(before)+marked(tlp.Clear)))}, []tlp.Level{tlp.AmberStrict}},
		"what lists does not raise what it lists": {
			[]policy.Posting{x(headOf(t, "indicator", 1, "")), x(headOf(t, "note", 1, refersTo(one)+marked(tlp.Red)))}, []tlp.Level{tlp.Green, tlp.Red},
		},
		"a relationship is as high as its ends": {
			[]policy.Posting{x(headOf(t, "relationship", 1, between(one, two))), x(headOf(t, "indicator", 2, marked(tlp.Red)))}, []tlp.Level{tlp.Red, tlp.Red},
		},
		"over two": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(idOf("note", 2)))), x(headOf(t, "note", 2, refersTo(one))), x(headOf(t, "indicator", 1, marked(tlp.Amber)))},
			[]tlp.Level{tlp.Amber, tlp.Amber, tlp.Amber},
		},
		"each other": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(idOf("note", 2)))), x(headOf(t, "note", 2, refersTo(idOf("note", 1))+marked(tlp.Red)))}, []tlp.Level{tlp.Red, tlp.Red},
		},
		"two versions of what is referred to": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(one))), x(headOf(t, "indicator", 1, marked(tlp.Amber))), x(headOf(t, "indicator", 1, marked(tlp.Clear)))},
			[]tlp.Level{tlp.Amber, tlp.Amber, tlp.Clear},
		},
		"somebody, unmarked": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(idOf("identity", 1))+marked(tlp.Clear))), said(headOf(t, "identity", 1, ""), tlp.Red)}, []tlp.Level{tlp.Clear, tlp.Red},
		},
		"somebody, marked": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(idOf("identity", 1)))), x(headOf(t, "identity", 1, marked(tlp.Amber)))}, []tlp.Level{tlp.Amber, tlp.Amber},
		},
		"a place that stands": {[]policy.Posting{x(headOf(t, "note", 1, refersTo(unmarked)))}, []tlp.Level{tlp.Green}},
		"an address counts with the lowest of what else refers to it": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(address)+marked(tlp.Clear))), said(sco, tlp.Red), x(headOf(t, "note", 2, refersTo(address)+marked(tlp.Amber)))},
			[]tlp.Level{tlp.Amber, tlp.Red, tlp.Amber},
		},
		"and with its own, where nothing does": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(address)+marked(tlp.Clear))), said(sco, tlp.Amber)}, []tlp.Level{tlp.Amber, tlp.Amber},
		},
		"but not with that of another version of what refers to it": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(address)+marked(tlp.Clear))), said(sco, tlp.Red), x(headOf(t, "note", 1, refersTo(address)+marked(tlp.Amber)))},
			[]tlp.Level{tlp.Red, tlp.Red, tlp.Red},
		},
		"nor with an older one of something else": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(address)+marked(tlp.Clear))), said(sco, tlp.Red), x(newer("note", 2, refersTo(address)+marked(tlp.AmberStrict))), x(headOf(t, "note", 2, refersTo(address)+marked(tlp.Green)))},
			[]tlp.Level{tlp.AmberStrict, tlp.Red, tlp.AmberStrict, tlp.AmberStrict},
		},
		"and as it stands, where it does": {
			[]policy.Posting{x(headOf(t, "note", 1, refersTo(there)+marked(tlp.Clear))), said(&stix.Head{Type: "ipv4-addr", ID: there}, tlp.Red)}, []tlp.Level{tlp.Green, tlp.Red},
		},
		"what nobody knows, and what tells of it": {
			[]policy.Posting{{Head: headOf(t, "indicator", 1, ""), Own: tlp.Unknown}, x(headOf(t, "note", 1, refersTo(one)))}, []tlp.Level{tlp.Unknown, tlp.Unknown},
		},
	} {
		if d := cmp.Diff(c.want, policy.Labels(c.list, tlp.Green, standing)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// What members have posted carries its label; what can't be read may leave by no channel.
func TestTheLabelOfWhatStands(t *testing.T) {
	ofMembers, ofFeeds := &exchange.Collection{Writers: []string{"all"}}, &exchange.Collection{Owner: "cert"}
	const object = `{"type":"ipv4-addr","id":"ipv4-addr--00000000-0000-4000-8000-000000000000"`
	for _, c := range []struct {
		raw            string
		members, feeds tlp.Level
	}{
		{object + `}`, tlp.Clear, tlp.None},
		{object + marked(tlp.Amber) + `}`, tlp.Amber, tlp.Amber},
		{object + `,"granular_markings":[{"marking_ref":"` + tlp.Red.MarkingID() + `"}]}`, tlp.Red, tlp.Red},
		{object + `,"object_marking_refs":["` + tlp.Amber.MarkingID() + `","marking-definition--00000000-0000-4000-8000-00000000acac"]}`, tlp.Amber, tlp.Unknown},
		{`{`, tlp.Unknown, tlp.Unknown},
	} {
		if got := policy.LabelOf(ofMembers, []byte(c.raw)); got != c.members {
			t.Errorf("%s is %s", c.raw, got)
		}
		if got := policy.LabelOf(ofFeeds, []byte(c.raw)); got != c.feeds {
			t.Errorf("%s of a feed is %s", c.raw, got)
		}
	}
}
