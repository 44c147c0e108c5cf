package report_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// bundle is a STIX bundle of objects, each a type, a number that makes its id, and
// properties.
func bundle(objects ...string) string {
	return `{"type":"bundle","id":"bundle--99999999-0000-4000-8000-000000000000","objects":[` + strings.Join(objects, ",\n") + `]}`
}

func stixID(typ string, n int) string {
	return fmt.Sprintf("%s--%08d-0000-4000-8000-000000000000", typ, n)
}

func object(typ string, n int, properties string) string {
	return fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":"2026-03-01T00:00:00.000Z",%s}`, typ, stixID(typ, n), properties)
}

const modified = `"modified":"2026-03-19T00:00:00.000Z",`

func observed(n int, more string, refs ...string) string {
	return object("observed-data", n, fmt.Sprintf(`%s"first_observed":"2026-03-19T00:00:00Z","last_observed":"2026-03-19T00:00:00Z","number_observed":1,"object_refs":["%s"]%s`,
		modified, strings.Join(refs, `","`), more))
}

func addressObject(n int, value, more string) string {
	return fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":%q,"value":%q%s}`, stixID("ipv4-addr", n), value, more)
}

func indicatorOf(n int, value, more string) string {
	return object("indicator", n, fmt.Sprintf(`%s"pattern":"[ipv4-addr:value = '%s']","pattern_type":"stix","valid_from":"2026-03-19T00:00:00Z"%s`, modified, value, more))
}

// What was found by trying to break it.
func TestWhatASTIXSourceMeans(t *testing.T) {
	const red, green = `,"object_marking_refs":["marking-definition--e828b379-4e03-4974-9ac4-e53a884c97c1"]`, `,"object_marking_refs":["marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"]`
	host, dst := addressObject(1, "240.0.0.1", ""), addressObject(7, "240.0.0.7", "")
	id1, id7 := stixID("ipv4-addr", 1), stixID("ipv4-addr", 7)
	call := fmt.Sprintf(`{"type":"network-traffic","spec_version":"2.1","id":%q,"src_ref":%q,"dst_ref":%q,"protocols":["tcp"]}`, stixID("network-traffic", 8), id1, id7)
	family := func(n int, name string) string {
		return object("malware", n, modified+fmt.Sprintf(`"is_family":true,"name":%q`, name))
	}
	says := func(n, of int) string {
		return object("sighting", n, modified+fmt.Sprintf(`"sighting_of_ref":%q,"observed_data_refs":[%q]`, stixID("malware", of), stixID("observed-data", 2)))
	}
	for name, c := range map[string]struct {
		source string
		want   []string // address, malware, label
	}{
		"two families of one host":            {bundle(host, observed(2, "", id1), family(3, "A"), family(4, "B"), says(5, 3), says(6, 4)), []string{"240.0.0.1 a none"}},
		"an indicator that is revoked":        {bundle(indicatorOf(1, "240.0.0.1", `,"revoked":true`)), []string{"line 1, revoked"}},
		"an indicator of no host":             {bundle(indicatorOf(1, "240.0.0.1", `,"indicator_types":["malicious-activity"]`)), []string{"line 1, indicator_types"}},
		"an indicator of a host":              {bundle(indicatorOf(1, "240.0.0.1", `,"indicator_types":["compromised"]`)), []string{"240.0.0.1  none"}},
		"who was called, beside who called":   {bundle(host, dst, call, observed(2, "", id1, id7), indicatorOf(3, "240.0.0.7", "")), []string{"240.0.0.1  none"}},
		"a newer version with a higher label": {bundle(host, observed(2, green, id1), strings.Replace(observed(2, red, id1), "19T00:00:00.000Z\",\"first", "20T00:00:00.000Z\",\"first", 1)), []string{"240.0.0.1  red"}},
		"a version with an error, beside one without": {
			bundle(host, observed(2, green, id1), strings.Replace(observed(2, green, id1), `"number_observed":1`, `"number_observed":0`, 1)),
			[]string{"240.0.0.1  green"},
		},
		"a red version with an error": {
			bundle(host, observed(2, green, id1), strings.Replace(observed(2, red, id1), `"number_observed":1`, `"number_observed":0`, 1)),
			[]string{"240.0.0.1  red"},
		},
		"an older version with a higher label": {bundle(host, observed(2, green, id1), strings.Replace(observed(2, red, id1), "19T00:00:00.000Z\",\"first", "18T00:00:00.000Z\",\"first", 1)), []string{"240.0.0.1  red"}},
		"a version with a marking that is not known": {
			bundle(host, observed(2, green, id1), strings.Replace(observed(2, strings.Replace(red, "e828", "0000", 1), id1), "19T00:00:00.000Z\",\"first", "18T00:00:00.000Z\",\"first", 1)),
			[]string{"line 3, object_marking_refs"},
		},
		"a sighting with a label": {
			bundle(host, dst, observed(2, green, id1), observed(9, green, id7), strings.Replace(says(5, 3), `,"observed`, red+`,"observed`, 1), family(3, "A")),
			[]string{"240.0.0.1 a red", "240.0.0.7  green"},
		},
		"a family with a label": {bundle(host, observed(2, green, id1), strings.TrimSuffix(family(3, "A"), "}")+red+"}", says(5, 3)), []string{"240.0.0.1 a red"}},
		"one label beside another, both called the same": {
			bundle(host, dst, call, addressObject(4, "240.0.0.4", ""), strings.NewReplacer(id1, stixID("ipv4-addr", 4), "00000008", "00000018").Replace(call),
				observed(2, green, id1, id7), observed(9, red, stixID("ipv4-addr", 4), id7)),
			[]string{"240.0.0.1  green", "240.0.0.4  red"},
		},
		"a label in a list, or an object": {
			`{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z","tlp":["red"]}` + "\n" + `{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z","tlp":{"level":"red"}}` + "\n" +
				`{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z","tlp":null}`,
			[]string{"240.0.0.1  none", "line 1", "line 2"},
		},
		"a label in a list, in IDEA":                   {`{"Format":"IDEA0","ID":"1","DetectTime":"2026-03-19T00:00:00Z","Category":["x"],"TLP":["RED"],"Source":[{"IP4":["240.0.0.1"]}]}`, []string{"line 1"}},
		"an address with a label":                      {bundle(addressObject(1, "240.0.0.1", red), observed(2, green, id1)), []string{"240.0.0.1  red"}},
		"an address written in another way":            {bundle(strings.Replace(addressObject(1, "2001:0db8::01", ""), "ipv4-addr\",\"spec", "ipv6-addr\",\"spec", 1)), nil},
		"MISP with flags as text":                      {`{"Event":{"info":"x","timestamp":"1773878400","Attribute":[{"type":"ip-src","value":"240.0.0.1","deleted":"0"},{"type":"ip-src","value":"240.0.0.2","deleted":"1"}]}}`, []string{"240.0.0.1  none"}},
		"lines with a key that documents have as well": {"{\"ip\":\"240.0.0.1\",\"timestamp\":\"2026-03-19T00:00:00Z\",\"response\":\"200\"}\n{\"ip\":\"240.0.0.2\",\"timestamp\":\"2026-03-19T00:00:00Z\",\"objects\":5}\n", []string{"240.0.0.1  none", "240.0.0.2  none"}},
	} {
		for range 5 { // in any order of a map
			events, rejected, err := read(t, strings.NewReader(c.source), report.Options{})
			if err != nil {
				t.Fatal(name, err)
			}
			var got []string
			for _, e := range events {
				label := "none"
				if e.Label != 0 {
					label = e.Label.String()
				}
				got = append(got, fmt.Sprint(e.Address, " ", e.Malware, " ", label))
			}
			for _, r := range rejected {
				place, _, _ := strings.Cut(r, ": ")
				got = append(got, place)
			}
			slices.Sort(got)
			if name == "an address written in another way" {
				got = nil // its id does not fit: no matter what, it must not end the reader
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Fatalf("%s: %s", name, d)
			}
		}
	}
}

func TestADamagedDocumentNamesItsLine(t *testing.T) {
	_, _, err := read(t, strings.NewReader("\n\n\n[\n{\"ip\":\"240.0.0.1\",\"timestamp\":\"2026-03-19T00:00:00Z\"},\n{\"ip\":oops}\n]"), report.Options{})
	if err == nil || !strings.HasPrefix(err.Error(), "line 6: ") {
		t.Error(err)
	}
}

// A few bytes, compressed, must not become gigabytes.
func TestManyMembersTakeLittleMemory(t *testing.T) {
	for _, source := range []string{
		"[" + strings.Repeat("0,", 7<<20) + "0]",
		`{"Format":"IDEA0","ID":"1","DetectTime":"2026-03-19T00:00:00Z","Category":["x"],"Source":[{"IP4":["` + strings.Repeat(`240.0.0.1","`, 1<<20) + `240.0.0.1"]}]}`,
	} {
		rd, err := report.NewReader(strings.NewReader(source), report.Options{})
		if err != nil {
			t.Fatal(err)
		}
		events, problems := drain(t, source[:10], strings.NewReader(source), report.Options{})
		if rd == nil || events != 0 || problems == 0 {
			t.Error(events, problems)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapSys > 400<<20 {
		t.Errorf("the heap grew to %d MiB", m.HeapSys>>20)
	}
}
