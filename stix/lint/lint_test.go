package lint_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/stixtest"
)

const (
	indicator = `{"type":"indicator","spec_version":"2.1","id":"indicator--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00.000Z","modified":"2026-03-19T00:04:07.000Z",` +
		`"pattern":"[ipv4-addr:value = '240.0.0.1']","pattern_type":"stix","valid_from":"2026-03-19T00:04:07Z"}`
	address = `{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--1a2b3c4d-1111-5111-8111-000000000001","value":"240.0.0.1"}`
)

func TestWhatIsSoundHasNoProblem(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "exchange", "report", "testdata", "stix.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{indicator, address, `{"objects":[` + address + `]}`, string(sample)} {
		for _, p := range lint.Check([]byte(text)) {
			t.Error(p)
		}
	}
}

// Each change to something sound has the problem that it makes, and no other.
func TestEveryProblemIsNamedWithItsPlace(t *testing.T) {
	for _, c := range []struct{ of, old, new, want string }{
		{indicator, `"valid_from":"2026-03-19T00:04:07Z"`, `"x":1`, "$: error: indicator has no valid_from (STIX 2.1, 4.7)"},
		{indicator, `"spec_version":"2.1",`, ``, "$: error: indicator has no spec_version (STIX 2.1, 3.2)"},
		{indicator, `"spec_version":"2.1"`, `"spec_version":"2.0"`, "$.spec_version: error: is 2.0; 2.1 is meant here (STIX 2.1, 3.2)"},
		{indicator, `= '240.0.0.1']`, `'240.0.0.1']`, `$.pattern: error: at 17: "240.0.0.1" stands where a comparison operator was expected (STIX 2.1, 9)`},
		{indicator, `"modified":"2026-03-19T00:04:07.000Z"`, `"modified":"2026-03-18T00:04:07.000Z"`, "$.modified: error: 2026-03-18T00:04:07.000Z is before created 2026-03-19T00:00:00.000Z (STIX 2.1, 4.7)"},
		{indicator, `"modified":"2026-03-19T00:04:07.000Z"`, `"modified":"2026-03-19 00:04:07"`, `$.modified: error: "2026-03-19 00:04:07" is no timestamp`},
		{indicator, `"pattern_type"`, `"valid_until":"2026-03-19T00:04:07Z","pattern_type"`, "$.valid_until: error: "},
		{indicator, `"pattern_type"`, `"labels":[],"pattern_type"`, "$.labels: error: is an empty list; leave it out (STIX 2.1, 2.12)"},
		{indicator, `"pattern_type"`, `"name":null,"pattern_type"`, "$.name: error: is null; leave it out (STIX 2.1, 3.1)"},
		{indicator, `"pattern_type"`, `"confidence":101,"pattern_type"`, "$.confidence: error: is 101, not a whole number from 0 to 100 (STIX 2.1, 3.2)"},
		{indicator, `"pattern_type"`, `"confidence":50.5,"pattern_type"`, "$.confidence: error: "},
		{indicator, `"pattern_type"`, `"Name":"x","pattern_type"`, `$."Name": error: a property's name`},
		{indicator, `"pattern_type"`, `"created_by_ref":"malware--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","pattern_type"`, "$.created_by_ref: error: refers to malware, and may to identity (STIX 2.1, 3.2)"},
		{indicator, `"pattern_type"`, `"object_marking_refs":["marking-definition--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03"],"pattern_type"`, "$.object_marking_refs[0]: warning: "},
		{indicator, `"pattern_type"`, `"object_marking_refs":["tlp:green"],"pattern_type"`, `$.object_marking_refs[0]: error: "tlp:green" is no identifier (STIX 2.1, 2.9)`},
		{indicator, `"indicator","spec`, `"indicater","spec`, "$: error: "},
		{indicator, `"type":"indicator"`, `"type":"x-thing"`, "$: error: "},
		{address, `"value":"240.0.0.1"`, `"value":"2001:db8::1"`, `$.value: error: "2001:db8::1" is of the other IP version (STIX 2.1, 6.8)`},
		{address, `"value":"240.0.0.1"`, `"value":"240.0.0.1000"`, `$.value: error: "240.0.0.1000" is neither an address nor in CIDR notation (STIX 2.1, 6.8)`},
		{address, `,"value":"240.0.0.1"`, ``, "$: error: ipv4-addr has no value (STIX 2.1, 6.8)"},
		{address, `"value"`, `"type":"ipv4-addr","value"`, "$: error: "},
	} {
		if !strings.Contains(c.of, c.old) {
			t.Fatalf("%s is not in what is sound", c.old)
		}
		found := lint.Check([]byte(strings.Replace(c.of, c.old, c.new, 1)))
		if len(found) == 0 || !strings.HasPrefix(found[0].String(), c.want) {
			t.Errorf("%s: %v, want %s", c.new, found, c.want)
		}
	}
	twice := lint.Check([]byte(`{"type":"bundle","id":"bundle--1","objects":[` + indicator + `,` + indicator + `]}`))
	if len(twice) != 2 || twice[0].Path != "$.id" || twice[1].Path != "$.objects[1].id" {
		t.Error(twice)
	}
	if p := lint.Check([]byte(`{"type":`)); len(p) != 1 || p[0].Path != "$" {
		t.Error(p)
	}
}

// A property that is required is missed, and what the schemas of OASIS refuse for want of one
// lint refuses too, where they are here.
func TestRequiredPropertiesAreMissed(t *testing.T) {
	v := stixtest.New(t)
	required := map[string]string{
		"malware": "is_family created modified spec_version id type", "ipv4-addr": "value id type", "network-traffic": "protocols id type",
		"observed-data": "first_observed last_observed number_observed object_refs created modified id type",
		"indicator":     "pattern pattern_type valid_from created modified id type", "sighting": "sighting_of_ref created modified id type",
	}
	sample, err := os.ReadFile(filepath.Join("..", "..", "exchange", "report", "testdata", "stix.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bundle struct{ Objects []map[string]any }
	if err := json.Unmarshal(sample, &bundle); err != nil {
		t.Fatal(err)
	}
	for _, o := range bundle.Objects {
		typ, _ := o["type"].(string)
		for name, value := range o {
			delete(o, name)
			text, err := json.Marshal(o)
			if err != nil {
				t.Fatal(err)
			}
			o[name] = value
			missed := slices.ContainsFunc(lint.Check(text), func(p lint.Problem) bool { return p.Severity == lint.Error })
			if !missed && (slices.Contains(strings.Fields(required[typ]), name) || v != nil && v.Validate(text) != nil) {
				t.Errorf("%s without %s has no error", typ, name)
			}
		}
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte(indicator))
	f.Add([]byte(`{"objects":[` + address + `,5,null,[],{}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, p := range lint.Check(text) {
			if !strings.HasPrefix(p.Path, "$") || p.Reason == "" {
				t.Fatalf("%+v", p)
			}
		}
	})
}

func BenchmarkObject(b *testing.B) {
	for b.Loop() {
		if len(lint.Object([]byte(indicator), "$")) != 0 {
			b.Fatal("a problem")
		}
	}
}
