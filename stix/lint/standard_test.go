package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/stix/stixtest"
)

func TestTheTableOfTheStandardIsRead(t *testing.T) {
	if _, err := readTable(standard); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"sdo x", "  a string", "thing x 1", "sdo x 1\n  a nothing", "sdo x 1\n  a word nothing", "sdo x 1\n  : a is b", "sdo x 1\n  a integer 5", "sco x 1 without y"} {
		if _, err := readTable(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// sampleTexts are good values of the types that are texts.
var sampleTexts = map[string]string{
	"string": "text", "text": "source", "spec": "2.1", "id": "", "pattern": "[ipv4-addr:value = '240.0.0.1']", "timestamp": "2026-03-19T00:04:07.5Z",
	"milliseconds": "2026-03-19T00:04:07.000Z", "seconds": "2026-03-19T00:04:07Z", "hex": "0fA0", "binary": "dGV4dA==", "name": "related-to", "url": "https://example.org/a",
	"mime": "text/plain", "charset": "utf-8", "ipv4": "240.0.0.1", "ipv6": "2001:db8::1", "mac": "00:00:5e:00:53:01", "domain": "host.example.org", "email": "user@example.org",
	"registry": `HKEY_LOCAL_MACHINE\Software`, "language-tag": "en", "cpe": "cpe:2.3:a:vendor:product:1.0:*:*:*:*:*:*:*",
}

const sampleUUID = "8e2e2d2b-17d4-4cbf-938f-98ee46b3cd3f"

// sample is a good value of a type.
func sample(v *valueType) any {
	if text, ok := sampleTexts[v.kind]; ok {
		return text
	}
	switch v.kind {
	case "list":
		return []any{sample(v.of)}
	case "ref":
		typ := "indicator"
		if len(v.refs) > 0 {
			typ = map[string]string{"sdo": "malware", "sco": "file", "sro": "sighting"}[v.refs[0]]
			if typ == "" {
				typ = v.refs[0]
			}
		}
		return typ + "--" + sampleUUID
	case "word":
		return v.words.words[0]
	case "integer", "number":
		return max(v.low, 1)
	case "boolean":
		return false
	case "struct":
		return sampleOf(v.object)
	case "dictionary":
		if slices.Contains(v.refs, "integer") {
			return map[string]any{"key": "text", "other": float64(1)}
		}
		return map[string]any{"key": "text"}
	case "hashes":
		return map[string]any{"MD5": strings.Repeat("a", 32), "SHA-256": strings.Repeat("b", 64)}
	case "headers":
		return map[string]any{"Accept": []any{"a", "b"}}
	case "options":
		return map[string]any{"SO_KEEPALIVE": float64(1)}
	case "exif":
		return map[string]any{"Make": "text", "Width": float64(5)}
	case "startup":
		return map[string]any{"lpTitle": "text", "cb": float64(4)}
	case "translations":
		return map[string]any{"de": map[string]any{"name": "x"}}
	case "object":
		return map[string]any{"statement": "text"}
	case "granular-marking":
		return map[string]any{"marking_ref": "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da", "selectors": []any{"type"}}
	case "extensions":
		return map[string]any{"extension-definition--" + sampleUUID: map[string]any{"extension_type": "property-extension", "value": "x"}}
	}
	panic("no sample of " + v.kind)
}

// sampleOf is an object of a type with all its properties, as far as they may stand together.
func sampleOf(o *object) map[string]any {
	m := make(map[string]any)
	for _, p := range o.properties {
		m[p.name] = sample(p.is)
	}
	for _, r := range o.rules {
		switch r.kind {
		case "one":
			for _, name := range r.names[1:] {
				delete(m, name)
			}
		case "<":
			m[r.names[1]] = "2026-03-20T00:04:07.000Z"
		case "excludes":
			if fmt.Sprint(m[r.names[0]]) == r.value {
				delete(m, r.names[1])
			}
		}
	}
	if o.class == "struct" {
		return m
	}
	m["type"], m["id"] = o.name, o.name+"--"+sampleUUID
	var own []string
	for key, x := range theStandard().extensions {
		if x.of == o.name {
			own = append(own, key)
		}
	}
	for _, key := range own {
		m["extensions"].(map[string]any)[key] = sampleOf(theStandard().extensions[key])
	}
	switch o.name {
	case "marking-definition":
		m["definition_type"] = "statement"
	case "extension-definition":
		m["extension_types"] = []any{"toplevel-property-extension"}
	case "observed-data":
		delete(m, "objects")
		m["object_refs"] = []any{"ipv4-addr--" + sampleUUID}
	}
	return m
}

// samples are an object of each type with all its properties, and one with no more than it needs.
func samples() (list []map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(theStandard().types)) {
		o := theStandard().types[name]
		whole := sampleOf(o)
		least := maps.Clone(whole)
		for _, name := range sortedKeys(whole) {
			v := least[name]
			delete(least, name)
			if len(errorsOf(least)) > 0 {
				least[name] = v
			}
		}
		list = append(list, whole, least)
	}
	for _, label := range []struct{ name, id string }{{"white", "613f2e26-407d-48c7-9eca-b8e91df99dc9"}, {"green", "34098fce-860f-48ae-8e50-ebd3cc5e41da"}, {"amber", "f88d31f6-486f-44da-b317-01333bde0b82"}, {"red", "5e57c739-391a-4eb3-b6be-7d15ca92d5ed"}} {
		list = append(list, map[string]any{
			"type": "marking-definition", "spec_version": "2.1", "id": "marking-definition--" + label.id, "created": "2017-01-20T00:00:00.000Z",
			"definition_type": "tlp", "name": "TLP:" + strings.ToUpper(label.name), "definition": map[string]any{"tlp": label.name},
		})
	}
	return list
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func errorsOf(o map[string]any) []Problem {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return slices.DeleteFunc(Object(text, "$"), func(p Problem) bool { return p.Severity != Error })
}

// exceptions are what lint takes and the schemas do not: a place in an object, and the section that allows it.
var exceptions = []struct{ place, section string }{
	{".external_references[0].hashes", "2.7: algorithms SHOULD be those of the open vocabulary, so others may stand there"},
	{".additional_header_fields.", "6.6: a field is a text or a list of texts, and a list may have one"},
}

// What the schemas of OASIS refuse lint refuses too, and nothing that they take unchanged.
func TestLintRefusesWhatTheSchemasDo(t *testing.T) {
	v := stixtest.New(t)
	all := samples()
	for _, o := range all {
		text, _ := json.Marshal(o)
		for _, p := range errorsOf(o) {
			t.Errorf("%s: %v", o["type"], p)
		}
		if v != nil {
			if err := v.Validate(text); err != nil {
				t.Errorf("%s\n%v", text, err)
			}
		}
	}
	if v == nil || t.Failed() {
		return
	}
	r := rand.New(rand.NewPCG(1, 2))
	refused, missed := 0, make(map[string]string)
	for n := range 20_000 {
		text, _ := json.Marshal(all[n%len(all)])
		var o map[string]any
		_ = json.Unmarshal(text, &o)
		what := mutate(r, o, all)
		text, _ = json.Marshal(o)
		if v.Validate(text) == nil {
			continue
		}
		refused++
		if len(errorsOf(o)) == 0 && !slices.ContainsFunc(exceptions, func(x struct{ place, section string }) bool { return strings.HasPrefix(what, x.place) }) {
			missed[fmt.Sprint(o["type"], " ", what)] = string(text)
		}
	}
	t.Logf("the schemas refuse %d of 20000", refused)
	for _, what := range slices.Sorted(maps.Keys(missed)) {
		err := v.Validate([]byte(missed[what]))
		t.Errorf("%s: %s\n%v", what, missed[what], err)
	}
}

// mutate changes an object in one place, and says what it did.
func mutate(r *rand.Rand, o map[string]any, all []map[string]any) string {
	type place struct {
		path string
		set  func(v any)
		cut  func()
		v    any
	}
	var places []place
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch x := v.(type) {
		case map[string]any:
			for _, name := range sortedKeys(x) {
				if path == "" && name == "type" {
					continue
				}
				at := path + "." + name
				places = append(places, place{at, func(v any) { x[name] = v }, func() { delete(x, name) }, x[name]})
				walk(at, x[name])
			}
		case []any:
			for i := range x {
				at := fmt.Sprintf("%s[%d]", path, i)
				places = append(places, place{at, func(v any) { x[i] = v }, func() { x[i] = []any{} }, x[i]})
				walk(at, x[i])
			}
		}
	}
	walk("", o)
	p := places[r.IntN(len(places))]
	switch kind := r.IntN(8); kind {
	case 0:
		p.cut()
		return p.path + " removed"
	case 1: // a value of another type
		v := []any{nil, true, false, 5.0, -1.0, 1e12, 0.5, "", "x y", []any{}, []any{"x"}, []any{5.0}, map[string]any{}, map[string]any{"key": "x"}}[r.IntN(14)]
		p.set(v)
		return fmt.Sprintf("%s = %v", p.path, v)
	case 2, 3: // a property of another type
		from := all[r.IntN(len(all))]
		names := sortedKeys(from)
		name := names[r.IntN(len(names))]
		if name == "type" || name == "id" {
			return "nothing"
		}
		if kind == 2 {
			o[name] = from[name]
			return "with " + name
		}
		p.set(from[name])
		return p.path + " = a " + name
	case 4: // another word, or another form
		if s, ok := p.v.(string); ok && s != "" {
			cut := r.IntN(len(s))
			v := []string{s + "x", strings.ToUpper(s), s[:cut], s[:cut] + " " + s[cut:], s[:cut] + "," + s[cut:], s[:cut] + "z" + s[min(cut+1, len(s)):]}[r.IntN(6)]
			p.set(v)
			return fmt.Sprintf("%s = %q", p.path, v)
		}
		return "nothing"
	case 5: // a reference elsewhere
		if s, ok := p.v.(string); ok && strings.Contains(s, "--") {
			names := slices.Sorted(maps.Keys(theStandard().types))
			v := append(names, "bundle", "x-thing")[r.IntN(len(names)+2)] + s[strings.Index(s, "--"):]
			p.set(v)
			return fmt.Sprintf("%s = %q", p.path, v)
		}
		return "nothing"
	case 6: // a name that none may have
		name := []string{"X", "ab", "x-y", "9lives", "_x1", "severity", "x_misp_Capital", "abc_bin", "abc_hex", "abc_ref"}[r.IntN(10)]
		if m, ok := p.v.(map[string]any); ok {
			m[name] = "x"
			return p.path + " with " + name
		}
		o[name] = "x"
		return "with " + name
	default:
		if list, ok := p.v.([]any); ok {
			v := append(slices.Clone(list), []any{5.0, nil, "x", map[string]any{}}[r.IntN(4)])
			p.set(v)
			return fmt.Sprintf("%s = %v", p.path, v)
		}
		return "nothing"
	}
}
