// Package tlp holds the labels of the Traffic Light Protocol 2.0 and the STIX
// marking definitions that stand for them.
//
// A label is decided by the identifier of a marking, never by the body that
// somebody sent under it: FromMarking is a table and knows nothing else.
//
// Sources: FIRST TLP 2.0; STIX 2.1 section 7.2.1.4; the OASIS TLP 2.0
// extension definition.
package tlp

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Level is a TLP label. Levels are ordered: a higher one is the stricter one,
// so they compare with < and max. The zero value, None, means that nothing was
// said; it is not a label and never passes a policy check.
type Level uint8

// The labels of TLP 2.0, least strict first.
const (
	None Level = iota
	Clear
	Green
	Amber
	AmberStrict
	Red
	// Unknown is no label: it is what a marking that is known to nobody here, and can
	// forbid anything, counts for. It stands above all labels.
	Unknown
)

var names = [...]string{None: "", Clear: "clear", Green: "green", Amber: "amber", AmberStrict: "amber+strict", Red: "red", Unknown: "unknown"}

// Levels lists every label, least strict first.
func Levels() []Level { return []Level{Clear, Green, Amber, AmberStrict, Red} }

// String returns the label in lower case, such as "amber+strict", or "" for None.
func (l Level) String() string {
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("tlp.Level(%d)", uint8(l))
}

// Valid reports whether l is one of the five labels.
func (l Level) Valid() bool { return l >= Clear && l <= Red }

// Parse reads a label as people and other systems write it: in any case, with
// or without a leading "TLP:", "white" for CLEAR, and AMBER+STRICT also with a
// hyphen, an underscore or a space. Anything else is an error.
func Parse(s string) (Level, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	t = strings.TrimSpace(strings.TrimPrefix(t, "tlp:"))
	switch t {
	case "clear", "white":
		return Clear, nil
	case "green":
		return Green, nil
	case "amber":
		return Amber, nil
	case "amber+strict", "amber-strict", "amber_strict", "amber strict":
		return AmberStrict, nil
	case "red":
		return Red, nil
	}
	if len(s) > 32 {
		s = s[:32] + "…"
	}
	return None, fmt.Errorf("unknown TLP label %q (want clear, green, amber, amber+strict or red)", s)
}

// MarshalText writes the label in lower case; None becomes the empty string.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads what Parse reads; the empty string becomes None.
func (l *Level) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*l = None
		return nil
	}
	v, err := Parse(string(b))
	if err != nil {
		return err
	}
	*l = v
	return nil
}

const prefix = "marking-definition--"

// marks holds, for each level, the identifier that we write first and then
// those that we also read.
var marks = map[Level][]string{
	Clear:       {prefix + "613f2e26-407d-48c7-9eca-b8e91df99dc9", prefix + "94868c89-83c2-464b-929b-a1a8aa3c8487"},
	Green:       {prefix + "34098fce-860f-48ae-8e50-ebd3cc5e41da", prefix + "bab4a63c-aed9-4cf5-a766-dfca5abac2bb"},
	Amber:       {prefix + "f88d31f6-486f-44da-b317-01333bde0b82", prefix + "55d920b0-5e8b-4f79-9ee9-91f868d9b421"},
	AmberStrict: {prefix + "939a9414-2ddd-4d32-a0cd-375ea402b003", prefix + "826578e1-40ad-459f-bc73-ede076f81f37"},
	Red:         {prefix + "5e57c739-391a-4eb3-b6be-7d15ca92d5ed", prefix + "e828b379-4e03-4974-9ac4-e53a884c97c1"},
}

var byMark = func() map[string]Level {
	m := make(map[string]Level)
	for l, ids := range marks {
		for _, id := range ids {
			m[id] = l
		}
	}
	return m
}()

// FromMarking returns the label that a marking-definition identifier stands
// for, and false for any identifier that is not a TLP one. Hexadecimal digits
// may be in either case.
func FromMarking(id string) (Level, bool) {
	l, ok := byMark[id]
	if !ok {
		l, ok = byMark[strings.ToLower(id)]
	}
	return l, ok
}

// MarkingID returns the identifier of the marking definition that we write for
// the label: the one that STIX 2.1 predefines, and for AMBER+STRICT, which it
// lacks, that of the OASIS TLP 2.0 extension. It is "" for None.
func (l Level) MarkingID() string {
	if ids := marks[l]; len(ids) > 0 {
		return ids[0]
	}
	return ""
}

// extension is the OASIS extension definition for TLP 2.0 markings.
const extension = "extension-definition--60a3c5c5-0d10-413e-aab3-9e08dde9e88d"

// Definition returns the marking-definition object behind MarkingID as JSON,
// or nil for None. It is a constant: the same bytes every time.
func (l Level) Definition() []byte {
	id := l.MarkingID()
	if id == "" {
		return nil
	}
	if l == AmberStrict {
		return []byte(`{"type":"marking-definition","spec_version":"2.1","id":"` + id +
			`","created":"2022-10-01T00:00:00.000Z","name":"TLP:AMBER+STRICT","extensions":{"` + extension +
			`":{"extension_type":"property-extension","tlp_2_0":"amber+strict"}}}`)
	}
	tlp := l.String()
	if l == Clear {
		tlp = "white" // STIX 2.1 predefines the TLP 1.0 word under this identifier.
	}
	name, _ := json.Marshal("TLP:" + strings.ToUpper(tlp))
	return []byte(`{"type":"marking-definition","spec_version":"2.1","id":"` + id +
		`","created":"2017-01-20T00:00:00.000Z","definition_type":"tlp","name":` + string(name) +
		`,"definition":{"tlp":"` + tlp + `"}}`)
}

// Defined returns the label that the body of a marking-definition says, in the
// form of STIX 2.1, of the TLP 2.0 extension, or of OpenCTI; None where it says
// none, or two.
func Defined(object []byte) Level {
	var o struct {
		Definition struct {
			TLP string `json:"tlp"`
		} `json:"definition"`
		Extensions map[string]struct {
			TLP string `json:"tlp_2_0"`
		} `json:"extensions"`
		OpenCTI string `json:"x_opencti_definition"`
	}
	if json.Unmarshal(object, &o) != nil {
		return None
	}
	said := None
	for _, s := range []string{o.Definition.TLP, o.Extensions[extension].TLP, o.OpenCTI} {
		if s == "" {
			continue
		}
		l, err := Parse(s)
		if err != nil || said != None && said != l {
			return None
		}
		said = l
	}
	return said
}
