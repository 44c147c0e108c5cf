package lint_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/stixtest"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

const (
	indicator = `{"type":"indicator","spec_version":"2.1","id":"indicator--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00.000Z","modified":"2026-03-19T00:04:07.000Z",` +
		`"pattern":"[ipv4-addr:value = '240.0.0.1']","pattern_type":"stix","valid_from":"2026-03-19T00:04:07Z"}`
	address = `{"type":"ipv4-addr","spec_version":"2.1","id":"ipv4-addr--e77d8405-57f7-5ded-a522-a184d8419790","value":"240.0.0.1"}`
	marking = `{"type":"marking-definition","spec_version":"2.1","id":"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da","created":"2017-01-20T00:00:00.000Z",` +
		`"definition_type":"tlp","name":"TLP:GREEN","definition":{"tlp":"green"}}`
	opinion = `{"type":"opinion","spec_version":"2.1","id":"opinion--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00.000Z","modified":"2026-03-19T00:04:07.000Z",` +
		`"opinion":"agree","object_refs":["indicator--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03"]}`
)

func TestWhatIsSoundHasNoProblem(t *testing.T) {
	sample, err := os.ReadFile(filepath.Join("..", "..", "exchange", "report", "testdata", "stix.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{indicator, address, `{"objects":[` + address + `]}`, marking} {
		for _, p := range lint.Check([]byte(text)) {
			t.Error(p)
		}
	}
	for _, l := range tlp.Levels() {
		for _, p := range lint.Object(l.Definition(), "$") {
			t.Error(p)
		}
	}
	// Its publisher gives observables ids of its own.
	for _, p := range lint.Check(sample) {
		if !strings.Contains(p.Reason, "than others give") {
			t.Error(p)
		}
	}
}

// Each change to something sound has the problem that it makes.
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
		{address, `"value":"240.0.0.1"`, `"value":"2001:db8::1"`, `$.value: error: "2001:db8::1" is neither an IPv4 address nor in CIDR notation (STIX 2.1, 6.8)`},
		{address, `"value":"240.0.0.1"`, `"value":"240.0.0.1000"`, `$.value: error: "240.0.0.1000" is neither an IPv4 address nor in CIDR notation (STIX 2.1, 6.8)`},
		{address, `,"value":"240.0.0.1"`, ``, "$: error: ipv4-addr has no value (STIX 2.1, 6.8)"},
		{address, `e77d8405`, `e77d8406`, "$.id: warning: another id than others give this object: ipv4-addr--e77d8405-57f7-5ded-a522-a184d8419790 (STIX 2.1, 2.9)"},
		{indicator, `"pattern_type"`, `"indicator_types":["benign","bad"],"pattern_type"`, `$.indicator_types[1]: warning: "bad" is none of the standard's words: anomalous-activity, `},
		{indicator, `"pattern_type"`, `"granular_markings":{},"pattern_type"`, "$.granular_markings: error: is no list (STIX 2.1, 7.2.3)"},
		{indicator, `"pattern_type"`, `"granular_markings":[{"lang":"en","selectors":["pattern","labels.[0]"]}],"pattern_type"`, `$.granular_markings[0].selectors[1]: error: "labels.[0]" is no part of the object (STIX 2.1, 7.2.3)`},
		{indicator, `"pattern_type"`, `"granular_markings":[{"selectors":["pattern"]}],"pattern_type"`, "$.granular_markings[0]: error: has to have either marking_ref or lang (STIX 2.1, 7.2.3)"},
		{indicator, `"pattern_type"`, `"labels":[1],"pattern_type"`, "$.labels[0]: error: is no text (STIX 2.1, 3.2)"},
		{indicator, `"pattern_type"`, `"lang":5,"pattern_type"`, "$.lang: error: is no text (STIX 2.1, 3.2)"},
		{indicator, `"pattern_type"`, `"name":"x","name":"y","pattern_type"`, "$: error: "},
		{indicator, `"pattern_type"`, `"external_references":[{}],"pattern_type"`, "$.external_references[0]: error: external-reference has no source_name (STIX 2.1, 2.5)"},
		{marking, `"tlp":"green"`, `"tlp":"white"`, "$: error: its id is that of TLP:GREEN, which it does not define (STIX 2.1, 7.2.1.4)"},
		{opinion, `"agree"`, `"perhaps"`, `$.opinion: error: "perhaps" is none of the standard's words: `},
		{address, `"value"`, `"type":"ipv4-addr","value"`, "$: error: "},
	} {
		if !strings.Contains(c.of, c.old) {
			t.Fatalf("%s is not in what is sound", c.old)
		}
		found := lint.Check([]byte(strings.Replace(c.of, c.old, c.new, 1)))
		if !slices.ContainsFunc(found, func(p lint.Problem) bool { return strings.HasPrefix(p.String(), c.want) }) {
			t.Errorf("%s: %v, want %s", c.new, found, c.want)
		}
	}
	for _, p := range lint.Errors([]byte(strings.Replace(indicator, `"pattern_type"`, `"indicator_types":["bad"],"labels":[],"pattern_type"`, 1))) {
		if p.Path != "$.labels" {
			t.Error(p)
		}
	}
	labels := strings.Repeat(`5,`, 500_000) + `5`
	if many := lint.Errors([]byte(strings.Replace(indicator, `"pattern_type"`, `"labels":[`+labels+`],"pattern_type"`, 1))); len(many) != 100 {
		t.Error(len(many))
	}
	twice := lint.Check([]byte(`{"type":"bundle","id":"bundle--1","objects":[` + indicator + `,` + indicator + `]}`))
	if len(twice) != 2 || twice[0].Path != "$.id" || twice[1].Path != "$.objects[1].id" {
		t.Error(twice)
	}
	if p := lint.Check([]byte(`{"type":`)); len(p) != 1 || p[0].Path != "$" {
		t.Error(p)
	}
}

// What others' validators refuse, and what was refused although the standard allows it.
func TestWhatTheStandardAllowsAndWhatNot(t *testing.T) {
	whole := func(typ, properties string) string {
		return fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":"%s--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00.000Z","modified":"2026-03-19T00:04:07.000Z",%s}`, typ, typ, properties)
	}
	const malware, other = "malware--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03", "relationship--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03"
	for _, c := range []struct{ text, want string }{
		{whole("malware", `"is_family":"true"`), "$.is_family: error: is neither true nor false"},
		{`{"type":"file","spec_version":"2.1","id":"file--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","hashes":["abc"]}`, "$.hashes: error: is no dictionary"},
		{`{"type":"file","spec_version":"2.1","id":"file--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","hashes":{"MD5":"abc"}}`, `$.hashes.MD5: error: "abc" is no hash of MD5`},
		{whole("relationship", `"relationship_type":"related-to","source_ref":"`+malware+`","target_ref":"`+other+`"`), "$.target_ref: error: refers to relationship, and may to sdo or sco"},
		{whole("location", `"latitude":90.01,"longitude":1`), "$.latitude: error: is 90.01, not a number from -90 to 90"},
		{whole("location", `"latitude":9`), "$: error: location with latitude has no longitude"},
		{whole("language-content", `"object_ref":"`+malware+`","contents":{}`), "$.contents: error: is an empty dictionary"},
		{whole("language-content", `"object_ref":"`+malware+`","contents":{"de":{}}`), "$.contents.de: error: has no translation"},
		{strings.Replace(indicator, "00:04:07Z", "00:04:07,5Z", 1), "$.valid_from: error: "},
		{strings.Replace(indicator, `00:04:07.000Z","pattern`, `00:04:07Z","pattern`, 1), "$.modified: error: "},
		{strings.Replace(indicator, "-4d7a-", "-9d7a-", 1), "$.id: error: its UUID is not one"},
		{whole("relationship", `"relationship_type":"related-to","source_ref":"`+malware+`","target_ref":"`+malware+`","start_time":"2026-03-19T00:00:00Z","stop_time":"2026-03-19T00:00:00Z"`), "$.stop_time: error: "},
		{whole("malware", `"is_family":true`), "$: error: malware with is_family=true has no name"},
		{whole("tool", `"name":"x","kill_chain_phases":[{"kill_chain_name":"x"}]`), "$.kill_chain_phases[0]: error: kill-chain-phase has no phase_name"},
		{`{"type":"mac-addr","spec_version":"2.1","id":"mac-addr--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","value":"00-00-5E-00-53-01"}`, "$.value: error: "},
		{`{"type":"windows-registry-key","spec_version":"2.1","id":"windows-registry-key--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","key":"HKLM\\x"}`, "$.key: error: "},
		{whole("malware", `"is_family":true,"name":"x","x_thing_ref":""`), ""},
		{strings.Replace(indicator, "2f1c1b6e-5f0b", "2F1C1B6E-5F0B", 1), ""},
		{strings.Replace(indicator, "00:04:07Z", "00:04:07.1234567890123Z", 1), ""},
		{whole("malware", `"is_family":true,"name":"x","x_misp_Capital":"y"`), ""},
	} {
		found := slices.DeleteFunc(lint.Check([]byte(c.text)), func(p lint.Problem) bool { return p.Severity != lint.Error })
		if c.want == "" && len(found) > 0 || c.want != "" && !slices.ContainsFunc(found, func(p lint.Problem) bool { return strings.HasPrefix(p.String(), c.want) }) {
			t.Errorf("%s: %v, want %q", c.text, found, c.want)
		}
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

func BenchmarkErrors(b *testing.B) {
	for b.Loop() {
		if len(lint.Errors([]byte(indicator))) != 0 {
			b.Fatal("a problem")
		}
	}
}
