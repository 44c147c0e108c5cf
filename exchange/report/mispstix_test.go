package report_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

const mispAsExported = `{"Event":{"uuid":"5B8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c12","info":"Rustock","date":"2026-03-18","timestamp":1773878700,"Orgc":{"name":"CERT.at","uuid":"00000000-0000-4000-8000-0000000000aa"},
"Tag":[{"name":"tlp:amber"},{"name":"misp-galaxy:malpedia=\"Rustock\""}],
"Attribute":[
{"uuid":"00000000-0000-4000-8000-000000000001","type":"domain","category":"Network activity","value":"it's.example","to_ids":true,"timestamp":"1773878701","Tag":[{"name":"tlp:red"}]},
{"uuid":"00000000-0000-4000-8000-000000000002","type":"ip-src|port","category":"Network activity","value":"203.0.113.45|49217","to_ids":false,"timestamp":"1773878702","first_seen":"2026-03-19T00:04:07.000000+00:00","last_seen":"2026-03-19T00:05:07+00:00"},
{"uuid":"00000000-0000-4000-8000-000000000003","type":"filename|sha256","category":"Payload delivery","value":"a.exe|e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","to_ids":"1","timestamp":"1773878703","comment":"dropper","deleted":true},
{"uuid":"00000000-0000-4000-8000-000000000004","type":"btc","value":"1xyz","to_ids":true,"timestamp":"1773878703"},
{"uuid":"","type":"domain","value":"x.example","to_ids":true},
{"uuid":"00000000-0000-4000-8000-000000000005","type":"ip-dst","value":"not an address","to_ids":true}],
"Object":[{"uuid":"00000000-0000-4000-8000-000000000006","name":"network-connection","timestamp":"1773878704","first_seen":"2026-03-19T00:04:07.000000+00:00","Attribute":[
{"uuid":"00000000-0000-4000-8000-000000000007","type":"ip-src","object_relation":"ip-src","value":"2001:DB8::1","to_ids":false,"timestamp":"1773878700"},
{"type":"port","object_relation":"src-port","value":"49217"},{"type":"ip-dst","object_relation":"ip-dst","value":"198.51.100.7","to_ids":false}]}]}}`

func TestAMISPEventAsObjects(t *testing.T) {
	event, ok := report.MISPEvent([]byte(mispAsExported))
	if !ok {
		t.Fatal("it is an event")
	}
	objects, skipped, err := report.MISPObjects(event)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, raw := range objects {
		if err := lint.Refusal(raw); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		var o map[string]any
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatal(err)
		}
		line := o["id"].(string)
		for _, name := range []string{"modified", "pattern", "object_marking_refs", "first_observed", "last_observed", "value", "revoked", "name"} {
			if v, there := o[name]; there {
				text, _ := json.Marshal(v)
				line += " " + strings.Trim(string(text), `"`)
			}
		}
		got = append(got, line)
	}
	want := []string{
		"identity--00000000-0000-4000-8000-0000000000aa 1970-01-01T00:00:00.000Z CERT.at",
		`report--5b8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c12 2026-03-19T00:05:00.000Z ["marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"] Rustock`,
		`indicator--00000000-0000-4000-8000-000000000001 2026-03-19T00:05:01.000Z [domain-name:value = 'it\\'s.example'] ["marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed"]`,
		"ipv4-addr--5d52ac26-47a8-5ffe-90a7-cc1c7b9a4d73 203.0.113.45",
		"network-traffic--b702a685-ab93-5476-8991-613632237415",
		"observed-data--00000000-0000-4000-8000-000000000002 2026-03-19T00:05:02.000Z 2026-03-19T00:04:07.000Z 2026-03-19T00:05:07.000Z",
		"indicator--00000000-0000-4000-8000-000000000003 2026-03-19T00:05:03.000Z [file:name = 'a.exe' AND file:hashes.'SHA-256' = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'] true dropper",
		"ipv6-addr--? 2001:db8::1",
		"ipv4-addr--? 198.51.100.7",
		"network-traffic--ee60ebbe-29a0-5002-86db-a077f4581b5c",
		"observed-data--00000000-0000-4000-8000-000000000006 2026-03-19T00:05:04.000Z 2026-03-19T00:04:07.000Z 2026-03-19T00:04:07.000Z",
	}
	for i := range got {
		if typ, rest, ok := strings.Cut(got[i], "--"); ok && strings.HasPrefix(got[i], "ipv") { // ids of addresses are tested where they are made
			_, value, _ := strings.Cut(rest, " ")
			got[i] = typ + " " + value
		}
		if i < len(want) && strings.HasPrefix(want[i], "ipv") {
			want[i] = want[i][:9] + want[i][strings.Index(want[i], " "):]
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	var why []string
	for _, p := range skipped {
		why = append(why, p.Column)
	}
	if d := cmp.Diff([]string{"00000000-0000-4000-8000-000000000004", "", "00000000-0000-4000-8000-000000000005"}, why); d != "" {
		t.Error(d)
	}
}

// Attributes of all kinds that misp-stix's documentation maps have a form here, or are said.
func TestMISPAttributesHaveTheirForm(t *testing.T) {
	const id = "00000000-0000-4000-8000-000000000001"
	for _, c := range []struct{ typ, value, want string }{
		{"AS", "AS64496", "[autonomous-system:number = 64496]"},
		{"regkey", `HKLM\\Software\\x`, `[windows-registry-key:key = 'HKEY_LOCAL_MACHINE\\\\Software\\\\x']`},
		{"regkey|value", `HKCU\\a|b`, `[windows-registry-key:key = 'HKEY_CURRENT_USER\\\\a' AND windows-registry-key:values[*].data = 'b']`},
		{"mac-address", "00-00-5E-00-53-01", "[mac-addr:value = '00:00:5e:00:53:01']"},
		{"x509-fingerprint-sha1", strings.Repeat("AB:", 19) + "AB", "[x509-certificate:hashes.'SHA-1' = '" + strings.Repeat("ab", 20) + "']"},
		{"user-agent", "Mozilla/4.0", "[network-traffic:extensions.'http-request-ext'.request_header.'User-Agent' = 'Mozilla/4.0']"},
		{"ip-dst|port", "198.51.100.7|443", "[network-traffic:dst_ref.type = 'ipv4-addr' AND network-traffic:dst_ref.value = '198.51.100.7' AND network-traffic:dst_port = 443]"},
		{"hostname|port", "c2.example|443", "[network-traffic:dst_ref.type = 'domain-name' AND network-traffic:dst_ref.value = 'c2.example' AND network-traffic:dst_port = 443]"},
		{"yara", "rule x { condition: true }", "rule x { condition: true }"},
		{"snort", "alert tcp any any -> any any", "alert tcp any any -> any any"},
		{"vulnerability", "CVE-2021-44228", "vulnerability CVE-2021-44228"},
		{"email-src", "o'brien@example.org", `[email-addr:value = 'o\\'brien@example.org']`},
		{"email-src", "jös@example.org", "skipped"},
		{"AS", "x", "skipped"},
		{"btc", "1xyz", "skipped"},
	} {
		event := `{"uuid":"5b8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c12","info":"x","timestamp":"1773878700","Attribute":[{"uuid":"` + id + `","type":"` + c.typ + `","value":"` + c.value + `","to_ids":true,"timestamp":"1773878701",` +
			`"Sighting":[{"uuid":"00000000-0000-4000-8000-0000000000b1","type":"0","date_sighting":"1773878701"},{"uuid":"00000000-0000-4000-8000-0000000000b2","type":"1","date_sighting":"1773878701"}]}]}`
		objects, skipped, err := report.MISPObjects([]byte(event))
		if err != nil {
			t.Fatal(c.typ, err)
		}
		if c.want == "skipped" {
			if len(skipped) == 0 || len(objects) != 0 && strings.Contains(string(objects[0]), id) {
				t.Errorf("%s %s: %s", c.typ, c.value, objects)
			}
			continue
		}
		if len(skipped) != 0 {
			t.Errorf("%s: %v", c.typ, skipped)
		}
		kinds := ""
		for _, raw := range objects {
			if err := lint.Refusal(raw); err != nil {
				t.Errorf("%s: %s: %v", c.typ, raw, err)
			}
			var o struct{ Type, Pattern, Name string }
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatal(err)
			}
			kinds += o.Type + " "
			text, _ := json.Marshal(c.want)
			var want string
			_ = json.Unmarshal(text, &want)
			want = strings.ReplaceAll(want, `\\`, `\`)
			if o.Type == "indicator" && o.Pattern != want || o.Type == "vulnerability" && "vulnerability "+o.Name != c.want {
				t.Errorf("%s: %s, want %s", c.typ, o.Pattern, want)
			}
		}
		if !strings.Contains(kinds, "sighting opinion ") {
			t.Errorf("%s: %s", c.typ, kinds)
		}
	}
}

// What is made of an attribute goes no further than MISP would let it.
func TestMISPObjectsAreLabelledByTheirDistribution(t *testing.T) {
	for share, want := range map[string]tlp.Level{"0": tlp.AmberStrict, "1": tlp.Green, "3": tlp.Green, "4": tlp.AmberStrict, "5": tlp.Green} {
		event := `{"uuid":"5b8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c12","info":"x","timestamp":"1773878700","distribution":"3","Attribute":[{"uuid":"00000000-0000-4000-8000-000000000001","type":"ip-src","value":"240.0.0.1",` +
			`"timestamp":"1773878701","distribution":"` + share + `","Tag":[{"name":"tlp:green"}]}]}`
		objects, _, err := report.MISPObjects([]byte(event))
		if err != nil {
			t.Fatal(err)
		}
		if last := string(objects[len(objects)-1]); !strings.Contains(last, want.MarkingID()) {
			t.Errorf("%s: %s", share, last)
		}
	}
}

func TestWhatIsNoMISPEvent(t *testing.T) {
	for _, text := range []string{`{"type":"bundle","objects":[]}`, `{"uuid":"x"}`, `[]`, `7`, `{"objects":[{"Event":{}}]}`} {
		if _, ok := report.MISPEvent([]byte(text)); ok {
			t.Error(text)
		}
	}
	for _, text := range []string{`{}`, `{"uuid":"5b8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c12"}`, `{"uuid":7,"timestamp":1}`, `[]`} {
		if list, _, err := report.MISPObjects([]byte(text)); err == nil {
			t.Errorf("%s: %s", text, list)
		}
	}
}

// Whatever an event says, what comes of it can be read, and nothing panics.
func FuzzMISPObjects(f *testing.F) {
	sample, err := os.ReadFile("testdata/misp.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sample)
	f.Add([]byte(mispAsExported))
	f.Fuzz(func(t *testing.T, raw []byte) {
		event, ok := report.MISPEvent(raw)
		if !ok {
			return
		}
		list, _, err := report.MISPObjects(event)
		if err != nil {
			return
		}
		for _, o := range list {
			if !json.Valid(o) {
				t.Fatalf("%s", o)
			}
		}
	})
}
