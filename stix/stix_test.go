package stix_test

import (
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/stix"
)

// The vectors come from the OASIS Python library.
func TestIdentifiersEqualTheStandards(t *testing.T) {
	for _, v := range []struct{ typ, contributing, want string }{
		{"ipv4-addr", `{"value": "198.51.100.3"}`, "28bb3599-77cd-5a82-a950-b5bc3caf07c4"},
		{"ipv4-addr", `{"value":"203.0.113.1"}`, "ad74bc22-43d2-52ed-890e-7d382f58e1eb"},
		{"ipv4-addr", `{"value":"198.51.100.0/24"}`, "1ea47840-aa39-5aa8-b4a2-cd203eb6662a"},
		{"ipv6-addr", `{"value":"2001:0db8:85a3:0000:0000:8a2e:0370:7334"}`, "85a85a8c-ee99-5722-946d-3c3a3270fc6f"},
		{"domain-name", `{"value":"example.com"}`, "bedb4899-d24b-5401-bc86-8f6b4cc18ec7"},
		{"url", `{"value":"https://example.com/research/index.html"}`, "47c3cf9a-5027-5bf0-997a-017c7edc7c55"},
		{"autonomous-system", `{"number":15139}`, "3aa27478-50b5-5ab8-9da9-cdc12b657fff"},
		{"file", `{"hashes":{"MD5":"6826f9a05da08134006557758bb3afbb"}}`, "623c2e53-d49e-5de7-a497-0ae1665b388e"},
		{"mutex", `{"name":"__CLEANSWEEP__"}`, "f93fe911-e545-5239-b9b0-597840d0c871"},
	} {
		got, err := stix.SCOID(v.typ, []byte(v.contributing))
		if err != nil || got != v.typ+"--"+v.want {
			t.Errorf("SCOID(%s, %s) = %s, %v; want %s", v.typ, v.contributing, got, err, v.want)
		}
	}
	for _, a := range []string{"198.51.100.3", "::ffff:198.51.100.3"} {
		if got := stix.AddressID(netip.MustParseAddr(a)); got != "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4" {
			t.Errorf("AddressID(%s) = %s", a, got)
		}
	}
}

func TestAppendedIdentifiersEqualTheCanonicalForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := stix.NetworkTraffic{
			SrcRef: "ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", Protocols: []string{"tcp", "http"},
			SrcPort: rapid.Uint16().Draw(t, "src"), DstPort: rapid.Uint16().Draw(t, "dst"),
		}
		props := map[string]any{"src_ref": n.SrcRef, "protocols": n.Protocols}
		if rapid.Bool().Draw(t, "has dst") {
			n.DstRef = "ipv4-addr--ad74bc22-43d2-52ed-890e-7d382f58e1eb"
			props["dst_ref"] = n.DstRef
		}
		if rapid.Bool().Draw(t, "has start") {
			n.Start = time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "start"), 0).UTC()
			props["start"] = n.Start.Format(stix.TimeLayout)
		}
		if n.SrcPort != 0 {
			props["src_port"] = n.SrcPort
		}
		if n.DstPort != 0 {
			props["dst_port"] = n.DstPort
		}
		text, err := json.Marshal(props)
		if err != nil {
			t.Fatal(err)
		}
		want, err := stix.SCOID("network-traffic", text)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.ID(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestAppendStringIsJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		var back string
		if err := json.Unmarshal(stix.AppendString(nil, s), &back); err != nil || back != s {
			t.Fatalf("%q: read back %q, %v", s, back, err)
		}
	})
	if got := string(stix.AppendString(nil, "a\xffb<\x01")); got != "\"a\ufffdb<\\u0001\"" {
		t.Errorf("got %s", got)
	}
}

func TestAppendTimeEqualsFormat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(-1e10, 1e11).Draw(t, "s"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		want := at.UTC().Format(stix.TimeLayout)
		if got := string(stix.AppendTime(nil, at)); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	})
}

func TestDerivedIDsDifferByTypeAndField(t *testing.T) {
	a := stix.DerivedID("indicator", "a", "1", "b", "2")
	if b := stix.DerivedID("indicator", "a", "1", "b", "2"); a != b {
		t.Errorf("the same fields gave %s and %s", a, b)
	}
	seen := map[string]bool{strings.TrimPrefix(a, "indicator--"): true}
	for _, id := range []string{
		stix.DerivedID("sighting", "a", "1", "b", "2"), stix.DerivedID("indicator", "a", "1", "b", "3"),
		stix.DerivedID("indicator", "a", "12", "b", ""), stix.DerivedID("indicator", "a", `1","b":"2`, "b", "2"),
	} {
		_, u, _ := strings.Cut(id, "--")
		if seen[u] {
			t.Errorf("UUID of %s is used twice", id)
		}
		seen[u] = true
		if _, err := stix.ParseID(id); err != nil {
			t.Error(err)
		}
	}
}

func TestParseHead(t *testing.T) {
	raw := `{"type":"sighting","spec_version":"2.1","id":"sighting--28bb3599-77cd-5a82-a950-b5bc3caf07c4",
	 "created":"2026-01-01T00:00:00.000Z","modified":"2026-01-02T00:00:00.1234567Z","revoked":false,
	 "created_by_ref":"identity--1","object_marking_refs":["m1","m2"],"labels":["tlp:RED"],
	 "granular_markings":[{"marking_ref":"m3","selectors":["x"]},{"lang":"de","selectors":[]}],
	 "sighting_of_ref":"malware--2","observed_data_refs":["o1","o2"],"x":{"deep_ref":[1,{"a":null}]}}`
	h, err := stix.ParseHead([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	want := stix.Head{
		Type: "sighting", ID: "sighting--28bb3599-77cd-5a82-a950-b5bc3caf07c4", SpecVersion: "2.1",
		Created: "2026-01-01T00:00:00.000Z", Modified: "2026-01-02T00:00:00.1234567Z", CreatedByRef: "identity--1",
		ObjectMarkingRefs: []string{"m1", "m2"}, GranularMarkingRefs: []string{"m3"}, Labels: []string{"tlp:RED"},
		Refs: []string{"malware--2", "o1", "o2"},
	}
	if d := cmp.Diff(want, h); d != "" {
		t.Error(d)
	}
	v, err := h.Version()
	if err != nil || v.Nanosecond() != 123456700 {
		t.Errorf("version %v, %v", v, err)
	}
}

func TestParseHeadRefusesWhatCanBeReadTwoWays(t *testing.T) {
	const ok = `"type":"url","id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4"`
	for name, raw := range map[string]string{
		"duplicate key":        `{` + ok + `,"a":1,"a":2}`,
		"duplicate nested key": `{` + ok + `,"x":{"a":1,"a":2}}`,
		"invalid UTF-8":        `{` + ok + `,"a":"` + "\xff" + `"}`,
		"too deep":             `{` + ok + `,"a":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
		"very deep":            strings.Repeat("[", 100_000),
		"no id":                `{"type":"url"}`,
		"no type":              `{"id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4"}`,
		"id of another type":   `{"type":"file","id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4"}`,
		"id without UUID":      `{"type":"url","id":"url--28bb3599"}`,
		"id in braces":         `{"type":"url","id":"url--{28bb3599-77cd-5a82-a950-b5bc3caf07}"}`,
		"type is a number":     `{"type":5,"id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4"}`,
		"refs are no list":     `{` + ok + `,"object_refs":"x"}`,
		"granular is text":     `{` + ok + `,"granular_markings":["x"]}`,
		"list":                 `[]`, "empty": ``, "text": `"x"`, "cut": `{` + ok, "two": `{` + ok + `}{}`,
	} {
		if h, err := stix.ParseHead([]byte(raw)); !errors.Is(err, stix.ErrObject) {
			t.Errorf("%s: got %+v, %v", name, h, err)
		} else if len(err.Error()) > 400 {
			t.Errorf("%s: an error of %d bytes", name, len(err.Error()))
		}
	}
	if _, err := stix.ParseHead([]byte(`{` + ok + `,"a":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`)); err != nil {
		t.Errorf("64 deep: %v", err)
	}
}

func TestObjectsKeepsTheBytes(t *testing.T) {
	objects := []string{`{"a": 1}`, `{ "b":[1,2 ] }`, `"x"`}
	data := []byte(`{"more":false,"id":"x", "objects" : [` + strings.Join(objects, " , ") + `] , "next":{"objects":[1]}}`)
	var got []string
	if err := stix.Objects(data, func(raw []byte) error { got = append(got, string(raw)); return nil }); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(objects, got); d != "" {
		t.Error(d)
	}
	for _, bad := range []string{``, `[]`, `{"objects":[`, `{"objects":[1,]}`, `{"objects":[{]}`} {
		if err := stix.Objects([]byte(bad), func([]byte) error { return nil }); !errors.Is(err, stix.ErrObject) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	f.Add([]byte(`{"type":"url","id":"url--28bb3599-77cd-5a82-a950-b5bc3caf07c4","granular_markings":[{"marking_ref":"m"}]}`))
	f.Add([]byte(`{"objects":[{"x_refs":["a"]},{}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		h, err := stix.ParseHead(raw)
		if err == nil {
			if !json.Valid(raw) {
				t.Fatal("took what is not JSON")
			}
			if typ, err := stix.ParseID(h.ID); err != nil || typ != h.Type {
				t.Fatalf("id %q type %q: %v", h.ID, h.Type, err)
			}
		}
		_ = stix.Objects(raw, func(one []byte) error { _, err := stix.ParseHead(one); return err })
	})
}

// An identifier in parts is written as its UUID's library writes it.
func TestIDsAreWrittenAsUsual(t *testing.T) {
	for n := range 256 {
		id := stix.ID{Type: "indicator", UUID: uuid.New()}
		id.UUID[n%16] = byte(n)
		if got, want := string(id.AppendTo([]byte("x"))), "xindicator--"+id.UUID.String(); got != want {
			t.Errorf("%s, not %s", got, want)
		}
	}
}
