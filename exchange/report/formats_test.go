package report_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// samples are files that tell of the same infection, and what each format cannot
// say of it.
var samples = map[string]struct {
	format         string
	noPlace, noDst bool // no AS number and country; no address called
	noCountry      bool
	provider       string
	label, floor   tlp.Level
	id             string
	protocol       string
	hostname       string
}{
	"2026-03-19-event4_sinkhole_http-example.csv": {format: report.Shadowserver, provider: "ExampleSinkhole", id: "1773878647000045", protocol: "tcp http", hostname: "host-45.isp.example"},
	"intelmq.jsonl": {format: report.IntelMQ, provider: "ExampleSinkhole", label: tlp.Amber, id: "1773878647000045", protocol: "tcp http", hostname: "host-45.isp.example"},
	"n6.jsonl":      {format: report.N6, noDst: true, provider: "hidden.42", floor: tlp.Green, id: "392ab73bbe7bcd6a56c84af2234987a4", protocol: "tcp"},
	"idea.jsonl":    {format: report.IDEA, noCountry: true, provider: "org.example.sinkhole", label: tlp.Amber, id: "30510117-f601-4aaf-a91f-d6d417812130", protocol: "tcp http", hostname: "host-45.isp.example"},
	"xarf.jsonl":    {format: report.XARF, noPlace: true, provider: "Example Sinkhole Operator", id: "0d8b3b7e-6a39-4a0c-9a8a-3b0f7f1d2c11", protocol: "tcp"},
	"stix.json":     {format: report.STIX, label: tlp.Amber, id: "observed-data--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a02", protocol: "tcp http"},
	"misp.json":     {format: report.MISP, noPlace: true, provider: "Example Sinkhole Operator", label: tlp.Amber, id: "5b8f2c52-6ce5-4b43-8a0d-9f6a6f5c1c13", protocol: "tcp"},
	"plain.csv":     {format: report.CSV},
	"plain.jsonl":   {format: report.JSONLines},
}

func sampleFile(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestSamplesNormaliseToTheSameEvent(t *testing.T) {
	for name, c := range samples {
		want := sample
		want.Provider, want.Label, want.Floor, want.PublisherID, want.Protocol, want.Hostname = c.provider, c.label, c.floor, c.id, c.protocol, c.hostname
		if c.noPlace {
			want.ASN, want.Country = 0, ""
		}
		if c.noCountry {
			want.Country = ""
		}
		if c.noDst {
			want.Dst = exchange.Event{}.Dst
		}
		text := sampleFile(t, name)
		for _, format := range []string{report.Auto, c.format} {
			rd, err := report.NewReader(bytes.NewReader(text), report.Options{Format: format})
			if err != nil {
				t.Fatal(name, err)
			}
			if rd.Format != c.format {
				t.Errorf("%s: taken for %s", name, rd.Format)
			}
			got, rejected, err := read(t, bytes.NewReader(text), report.Options{Format: format})
			if err != nil || rejected != nil {
				t.Fatal(name, rejected, err)
			}
			if d := cmp.Diff([]exchange.Event{want}, got, compare); d != "" {
				t.Errorf("%s: %s", name, d)
			}
		}
		if got := inPieces(t, text, 1<<20); cmp.Diff([]exchange.Event{want}, got, compare) != "" {
			t.Errorf("%s in pieces: %+v", name, got)
		}
	}
}

// inPieces reads a source as a client sends it.
func inPieces(t testing.TB, text []byte, size int) (events []exchange.Event) {
	t.Helper()
	c, err := report.NewCutter(bytes.NewReader(text), report.Options{}, size)
	if err != nil {
		t.Fatal(err)
	}
	for {
		p, err := c.Next()
		if errors.Is(err, io.EOF) {
			return events
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Data == nil {
			continue
		}
		list, rejected, err := read(t, bytes.NewReader(p.Data), report.Options{Format: c.Sent, FirstLine: p.FirstLine})
		if err != nil || rejected != nil {
			t.Fatal(rejected, err)
		}
		events = append(events, list...)
	}
}

// Documents are laid out in any way: an array or one object, on a line or many.
func TestDocumentsAreReadHoweverTheyAreLaidOut(t *testing.T) {
	for _, name := range []string{"n6.jsonl", "idea.jsonl", "xarf.jsonl", "intelmq.jsonl", "plain.jsonl", "misp.json", "stix.json"} {
		text := bytes.TrimSpace(sampleFile(t, name))
		var pretty, flat bytes.Buffer
		if err := errors.Join(json.Indent(&pretty, text, "", "  "), json.Compact(&flat, text)); err != nil {
			t.Fatal(err)
		}
		want, _, err := read(t, bytes.NewReader(text), report.Options{})
		if err != nil || len(want) != 1 {
			t.Fatal(name, want, err)
		}
		list := [][]byte{pretty.Bytes(), flat.Bytes(), fmt.Appendf(nil, " [%s]", flat.Bytes()), fmt.Appendf(nil, "[\n%s\n]\n", pretty.Bytes())}
		if name == "stix.json" {
			list = list[:2] // an array of bundles is refused
		}
		for i, source := range list {
			got, rejected, err := read(t, bytes.NewReader(source), report.Options{})
			if err != nil || rejected != nil || cmp.Diff(want, got, compare) != "" {
				t.Errorf("%s, layout %d: %v %v %+v", name, i, err, rejected, got)
			}
			if got := inPieces(t, source, 100); cmp.Diff(want, got, compare) != "" {
				t.Errorf("%s, layout %d in pieces: %+v", name, i, got)
			}
		}
	}
}

func TestTrapsOfTheFormats(t *testing.T) {
	n6 := func(more string) string {
		return `{"id":"1","source":"a.b","restriction":"public","category":"bots","time":"2026-03-19 00:04:07",` + more + `}`
	}
	idea := func(more string) string {
		return `{"Format":"IDEA0","ID":"1","DetectTime":"2026-03-19T00:04:07Z","Category":["Malware"],` + more + `}`
	}
	xarf := func(kind string) string {
		c, typ, _ := strings.Cut(kind, "/")
		return fmt.Sprintf(`{"xarf_version":"4.2.0","report_id":"1","timestamp":"2026-03-19T00:04:07Z","source_identifier":"240.0.0.1","category":%q,"type":%q,"_internal":{"ip":"240.0.0.9"}}`, c, typ)
	}
	for name, c := range map[string]struct{ source, want string }{
		"n6, several addresses":    {n6(`"address":[{"ip":"240.0.0.1","cc":"AT","asn":1},{"ip":"240.0.0.2","cc":"DE","asn":2}],"fqdn":"c2.example"`), "240.0.0.1 AS1 AT, 240.0.0.2 AS2 DE"},
		"n6, none":                 {n6(`"url":"http://x"`), "line 1, address: no address"},
		"n6, off the list":         {n6(`"type":"bl-delist","address":[{"ip":"240.0.0.1"}]`), `line 1, type: "bl-delist" takes an entry off a list: it is no sighting`},
		"n6, unknown restriction":  {strings.Replace(n6(`"address":[{"ip":"240.0.0.1"}]`), "public", "eyes-only", 1), `line 1, restriction: "eyes-only" is none of public, need-to-know, internal, so nobody may be shown it`},
		"n6, one address bad":      {n6(`"address":[{"ip":"240.0.0.1"},{"ip":"x"}]`), `240.0.0.1, line 1, address[1].ip: "x" is not an IP address`},
		"idea, ranges":             {idea(`"Source":[{"IP4":["240.0.0.0/24","240.0.0.1-240.0.0.9","240.0.0.3/32","240.0.0.4-240.0.0.4"],"IP6":["2001:db8::/64"]}]`), "line 1, Source[0].IP4[0]: \"240.0.0.0/24\" is a range of addresses: an infection is of one host, so name each, line 1, Source[0].IP4[1]: \"240.0.0.1-240.0.0.9\" is a range of addresses: an infection is of one host, so name each, 240.0.0.3, 240.0.0.4, line 1, Source[0].IP6[0]: \"2001:db8::/64\" is a range of addresses: an infection is of one host, so name each"},
		"idea, keys in other case": {idea(`"source":[{"ip4":["240.0.0.1"],"asn":[7]}]`), "240.0.0.1 AS7"},
		"idea, one key twice":      {idea(`"Source":[{"IP4":["240.0.0.1"]}],"source":[]`), "line 1: "},
		"idea, no source":          {idea(`"Target":[{"IP4":["240.0.0.1"]}]`), "line 1, Source: no address"},
		"idea, a test":             {strings.Replace(idea(`"Source":[{"IP4":["240.0.0.1"]}]`), `"Malware"`, `"Malware","Test"`, 1), `line 1, category: "Test" is marked as a test: it is no sighting`},
		"xarf, a host":             {xarf("connection/infected_host"), "240.0.0.1"},
		"xarf, a botnet":           {xarf("infrastructure/botnet"), "240.0.0.1"},
		"xarf, spam":               {xarf("messaging/spam"), `line 1, category/type: "messaging/spam" tells of no infection`},
		"stix, by pattern": {`{"type":"indicator","spec_version":"2.1","id":"indicator--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00Z","modified":"2026-03-19T00:00:00Z",` +
			`"pattern":"[ipv4-addr:value = '240.0.0.1' OR ipv6-addr:value = '2001:DB8::1']","pattern_type":"stix","valid_from":"2026-03-19T00:00:00Z"}`, "240.0.0.1, 2001:db8::1"},
		"stix, a marking that is not known": {`{"type":"indicator","spec_version":"2.1","id":"indicator--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03","created":"2026-03-19T00:00:00Z","modified":"2026-03-19T00:00:00Z",` +
			`"pattern":"[ipv4-addr:value = '240.0.0.1']","pattern_type":"stix","valid_from":"2026-03-19T00:00:00Z","object_marking_refs":["marking-definition--2f1c1b6e-5f0b-4d7a-9c3a-0d6f1f0b8a03"]}`, "line 1, object_marking_refs: it is marked with"},
		"misp, attributes alone": {`{"Event":{"info":"x","timestamp":"1773878647","Attribute":[{"type":"ip-src","value":"240.0.0.1"},{"type":"ip-dst","value":"240.0.0.2"},{"type":"ip-src|port","value":"240.0.0.3|80"},{"type":"ip-src","value":"240.0.0.4","deleted":true}]}}`, "240.0.0.1, 240.0.0.3:80"},
		"misp, nobody":           {`{"Event":{"info":"x","Attribute":[]}}`, "line 1, Attribute: no ip-src in the event"},
		"shadowserver, by scan":  {"timestamp,severity,ip,protocol,port,asn,geo,tag\n2026-03-19 00:04:07,high,240.0.0.1,tcp,23,7,AT,mirai\n", "240.0.0.1:23 AS7 AT"},
	} {
		got, rejected, err := read(t, strings.NewReader(c.source), report.Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var said []string
		for _, e := range got {
			s := e.Address.String()
			if e.Port != 0 {
				s += fmt.Sprint(":", e.Port)
			}
			if e.ASN != 0 {
				s += fmt.Sprint(" AS", e.ASN)
			}
			if e.Country != "" {
				s += " " + e.Country
			}
			said = append(said, s)
		}
		for _, part := range append(said, rejected...) {
			if !strings.Contains(c.want, part) && !strings.HasPrefix(part, c.want) {
				t.Errorf("%s: %q is not in %q", name, part, c.want)
			}
		}
		if n := len(said) + len(rejected); n == 0 || len(said) > 0 && !strings.Contains(c.want, said[0]) {
			t.Errorf("%s: %d rows", name, n)
		}
	}
}

// What is not read is kept, when the feed asks for it: bounded, each name once, and the same
// whether a document went in pieces.
func TestWhatElseARowSaysIsKept(t *testing.T) {
	for name, want := range map[string]string{
		"2026-03-19-event4_sinkhole_http-example.csv": `"http_host":"c2.example.com"`,
		"intelmq.jsonl": `"destination.url":"http://c2.example.com/login.php?id=4711"`,
		"n6.jsonl":      `"adip":"x.x.100.7"`,
		"idea.jsonl":    `"Description":"Sinkhole-Events-HTTP IPv4: infected-system"`,
		"xarf.jsonl":    `"bot_type":"malicious"`,
	} {
		text := sampleFile(t, name)
		events, _, err := read(t, bytes.NewReader(text), report.Options{Keep: true})
		if err != nil || len(events) != 1 {
			t.Fatal(name, err)
		}
		if got := events[0].Extra; !strings.Contains(got, want) || !json.Valid([]byte(got)) || len(got) > report.MaxExtra+1 {
			t.Errorf("%s: %s", name, got)
		}
		if none, _, _ := read(t, bytes.NewReader(text), report.Options{}); none[0].Extra != "" {
			t.Errorf("%s: kept unasked: %s", name, none[0].Extra)
		}
	}
	source := `{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z","x":"1","extra":{"x":"2","y":"a,\"x\":"},"_z":true,"_internal":{"ip":"240.0.0.9"},"long":"` + strings.Repeat("a", 2000) + `","e":"é\u0000"}`
	events, rejected, err := read(t, strings.NewReader(source), report.Options{Keep: true})
	if err != nil || rejected != nil || events[0].Extra != `{"x":"1","y":"a,\"x\":","e":"é"}` {
		t.Error(events, rejected, err)
	}
}
