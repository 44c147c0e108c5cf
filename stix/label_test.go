package stix_test

import (
	"testing"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A TLP label is one however it is written; what looks like one and is none is unknown, and nothing else is.
func TestLabelsInTexts(t *testing.T) {
	for _, c := range []struct {
		text string
		want tlp.Level
		ok   bool
	}{
		{"tlp:red", tlp.Red, true},
		{"misp:tlp:amber+strict", tlp.AmberStrict, true},
		{"TLP:AMBER, TLP:GREEN", tlp.Amber, true},
		{"ＴＬＰ：ＲＥＤ", tlp.Red, true},
		{"TLP:\u200bRED", tlp.Red, true},
		{"T\u200dLP:RED", tlp.Red, true},
		{"TLP:RE\u0301D", tlp.None, false}, // with an accent it looks like one
		{"tlp:rouge", tlp.None, false},
		{"TLPRED", tlp.None, false},
		{"tlpamber", tlp.None, false},
		{"TLP", tlp.None, true},
		{"tlpd", tlp.None, true},
		{"outlps: red", tlp.None, true},
		{"a label", tlp.None, true},
	} {
		if got, ok := stix.LabelIn(c.text); ok != c.ok || ok && got != c.want {
			t.Errorf("%q is %s, %v", c.text, got, ok)
		}
	}
}

// A property that seems to say a label makes it unknown, but for a definition's own.
func TestPropertiesThatLookLikeLabels(t *testing.T) {
	const note = `{"type":"note","id":"note--00000000-0000-4000-8000-000000000000"`
	for _, c := range []struct {
		raw  string
		want tlp.Level
	}{
		{note + `}`, tlp.None},
		{note + `,"x_opencti_tlp":"red"}`, tlp.Unknown},
		{note + `,"TLP":"RED"}`, tlp.Unknown},
		{note + `,"outlpost":"red"}`, tlp.None},
		{note + `,"extensions":{"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d":{"extension_type":"property-extension","tlp_2_0":"amber+strict"}}}`, tlp.Unknown},
		{note + `,"extensions":{"x":{"y":1}}}`, tlp.None},
		{string(tlp.AmberStrict.Definition()), tlp.Clear},
	} {
		h, err := stix.ParseHead([]byte(c.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := h.Label(); got != c.want || (err != nil) != (got == tlp.Unknown) {
			t.Errorf("%s is %s: %v", c.raw, got, err)
		}
	}
}

// References are found at any depth, but for those that say who made the object and what marks it.
func TestReferencesAtAnyDepth(t *testing.T) {
	h, err := stix.ParseHead([]byte(`{"type":"x-y","id":"x-y--00000000-0000-4000-8000-000000000000","created_by_ref":"identity--a","a_ref":"a--1","b_refs":["b--1","b--2"],
		"external_references":[{"source_name":"_ref"}],"granular_markings":[{"marking_ref":"m--1","selectors":["x"]}],
		"x":[{"c_ref":"c--1","created_by_ref":"i--2","y":{"d_refs":["d--1",["e--1"]],"marking_ref":"m--2"}}],"z":{"\u0066_ref":"f--1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"a--1", "b--1", "b--2", "c--1", "d--1", "e--1", "f--1"}
	if len(h.Refs) != len(want) {
		t.Fatal(h.Refs)
	}
	for i := range want {
		if h.Refs[i] != want[i] {
			t.Error(h.Refs)
		}
	}
}
