package tlp_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func TestParseReadsWhatOthersWrite(t *testing.T) {
	for in, want := range map[string]tlp.Level{
		"clear": tlp.Clear, "TLP:WHITE": tlp.Clear, "tlp:clear": tlp.Clear, " Green ": tlp.Green,
		"TLP: AMBER": tlp.Amber, "amber+strict": tlp.AmberStrict, "TLP:AMBER-STRICT": tlp.AmberStrict,
		"Amber Strict": tlp.AmberStrict, "RED": tlp.Red,
	} {
		got, err := tlp.Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "tlp:", "orange", "amber+", strings.Repeat("x", 1000)} {
		if got, err := tlp.Parse(in); err == nil || got != tlp.None {
			t.Errorf("Parse(%.20q) = %v, %v; want an error", in, got, err)
		} else if len(err.Error()) > 200 {
			t.Errorf("Parse(%.20q): error of %d bytes", in, len(err.Error()))
		}
	}
}

func TestEveryMarkingFamilyIsRead(t *testing.T) {
	for id, want := range map[string]tlp.Level{
		"613f2e26-407d-48c7-9eca-b8e91df99dc9": tlp.Clear, "94868c89-83c2-464b-929b-a1a8aa3c8487": tlp.Clear,
		"34098fce-860f-48ae-8e50-ebd3cc5e41da": tlp.Green, "bab4a63c-aed9-4cf5-a766-dfca5abac2bb": tlp.Green,
		"f88d31f6-486f-44da-b317-01333bde0b82": tlp.Amber, "55d920b0-5e8b-4f79-9ee9-91f868d9b421": tlp.Amber,
		"939a9414-2ddd-4d32-a0cd-375ea402b003": tlp.AmberStrict, "826578e1-40ad-459f-bc73-ede076f81f37": tlp.AmberStrict,
		"5e57c739-391a-4eb3-b6be-7d15ca92d5ed": tlp.Red, "e828b379-4e03-4974-9ac4-e53a884c97c1": tlp.Red,
	} {
		for _, id := range []string{"marking-definition--" + id, "marking-definition--" + strings.ToUpper(id)} {
			if got, ok := tlp.FromMarking(id); !ok || got != want {
				t.Errorf("FromMarking(%s) = %v, %v; want %v", id, got, ok, want)
			}
		}
	}
	if l, ok := tlp.FromMarking("marking-definition--00000000-0000-4000-8000-000000000000"); ok {
		t.Errorf("an unknown marking was read as %v", l)
	}
}

func TestDefinitionMatchesItsIdentifier(t *testing.T) {
	for _, l := range tlp.Levels() {
		var o struct{ Type, ID string }
		if err := json.Unmarshal(l.Definition(), &o); err != nil {
			t.Fatalf("%v: %v", l, err)
		}
		if o.Type != "marking-definition" || o.ID != l.MarkingID() {
			t.Errorf("%v: definition is %s", l, l.Definition())
		}
		if got, ok := tlp.FromMarking(o.ID); !ok || got != l {
			t.Errorf("%v: written as %s, read as %v", l, o.ID, got)
		}
	}
	if tlp.None.Definition() != nil || tlp.None.MarkingID() != "" || tlp.None.Valid() {
		t.Error("None must not stand for a marking")
	}
	if !(tlp.Clear < tlp.Green && tlp.Green < tlp.Amber && tlp.Amber < tlp.AmberStrict && tlp.AmberStrict < tlp.Red) {
		t.Error("labels out of order")
	}
}

func TestDefinedReadsEveryForm(t *testing.T) {
	for object, want := range map[string]tlp.Level{
		`{"definition_type":"tlp","definition":{"tlp":"white"}}`: tlp.Clear,
		`{"definition_type":"TLP","definition":{"TLP":"AMBER"}}`: tlp.Amber,
		`{"extensions":{"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d":{"extension_type":"property-extension","tlp_2_0":"amber+strict"}}}`:  tlp.AmberStrict,
		`{"definition_type":"statement","definition":{"statement":"custom"},"x_opencti_definition_type":"TLP","x_opencti_definition":"TLP:AMBER+STRICT"}`: tlp.AmberStrict,
		`{"definition":{"tlp":"green"},"extensions":{"extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d":{"tlp_2_0":"red"}}}`:                    tlp.None,
		`{"definition":{"statement":"x"}}`: tlp.None, `{"definition":7}`: tlp.None, `{"definition":{"tlp":"purple"}}`: tlp.None, `x`: tlp.None,
	} {
		if got := tlp.Defined([]byte(object)); got != want {
			t.Errorf("%s: %v, want %v", object, got, want)
		}
	}
	for _, l := range tlp.Levels() {
		if tlp.Defined(l.Definition()) != l {
			t.Errorf("our own definition of %v does not define it", l)
		}
	}
}
