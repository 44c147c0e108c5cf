package report_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/klauspost/compress/zstd"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// read returns the events of a source, and what was rejected as text.
func read(t interface{ Helper() }, r io.Reader, opt report.Options) (events []exchange.Event, rejected []string, err error) {
	t.Helper()
	rd, err := report.NewReader(r, opt)
	if err != nil {
		return nil, nil, err
	}
	for {
		var ev exchange.Event
		err := rd.Next(&ev)
		var row *report.RowError
		switch {
		case err == nil:
			events = append(events, ev)
		case errors.As(err, &row):
			rejected = append(rejected, row.Error())
		case errors.Is(err, io.EOF):
			return events, rejected, nil
		default:
			return events, rejected, err
		}
	}
}

const shadowserver = `"timestamp","protocol","src_ip","src_port","src_asn","src_geo","src_hostname","severity","dst_ip","dst_port","public_source","infection","family","application","event_id","http_agent"
"2026-03-19 00:04:07","tcp","203.0.113.45","49217","64511","PL","host-45.isp.example.","critical","198.51.100.7","80","ExampleSinkhole","rustock","rustock","http","1773878647000045","Mozilla/4.0 (compatible; ""x"", y)"
`

var sample = exchange.Event{
	Address: netip.MustParseAddr("203.0.113.45"), Port: 49217, ASN: 64511, Country: "PL", Count: 1,
	Observed: time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC), Malware: "rustock",
	Dst: netip.MustParseAddr("198.51.100.7"), DstPort: 80,
}

var compare = cmp.Options{
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmpopts.IgnoreFields(exchange.Event{}, "Line"),
}

func TestFormatsNormaliseToTheSameEvent(t *testing.T) {
	rich := sample
	rich.Hostname, rich.Protocol, rich.Provider, rich.PublisherID = "host-45.isp.example", "tcp http", "ExampleSinkhole", "1773878647000045"
	labelled := rich
	labelled.Label = tlp.Amber
	for name, c := range map[string]struct {
		source, format string
		opt            report.Options
		want           exchange.Event
	}{
		"shadowserver": {shadowserver, report.Shadowserver, report.Options{}, rich},
		"plain": {
			"timestamp,ip,port,asn,cc,malware,dst_ip,dst_port\r\n2026-03-19T00:04:07Z,203.0.113.45,49217,AS64511,pl,rustock,198.51.100.7,80",
			report.CSV,
			report.Options{},
			sample,
		},
		"semicolons and a byte order mark": {
			"\xef\xbb\xbfip;timestamp;port;asn;cc;malware;dst_ip;dst_port\n203.0.113.45;2026-03-19T01:04:07+01:00;49217;64511;PL;rustock;198.51.100.7;80\n",
			report.CSV,
			report.Options{},
			sample,
		},
		"mapped": {
			"when,victim,sport,as,cc,bot,dip,dport,ip\n2026-03-19 00:04:07,203.0.113.45,49217,64511,PL,rustock,198.51.100.7,80,not-this\n",
			report.CSV,
			report.Options{Map: map[string]string{"when": "timestamp", "victim": "ip", "as": "asn", "bot": "malware"}},
			sample,
		},
		"json": {
			`{"timestamp":"2026-03-19T00:04:07.000Z","ip":"203.0.113.45","port":49217,"asn":"64511","cc":"PL","malware":"rustock","dst_ip":"198.51.100.7","dst_port":80,"more":{"x":[1]}}` + "\n\n",
			report.JSONLines,
			report.Options{},
			sample,
		},
		"json with dotted names, as IntelMQ has them": {
			`{"time.source":"2026-03-19T00:04:07+00:00","source":{"ip":"203.0.113.45","port":49217,"asn":64511,"geolocation":{"cc":"PL"},"reverse_dns":"host-45.isp.example"},"malware.name":"rustock","destination.ip":"198.51.100.7","destination.port":80,"protocol.transport":"tcp","protocol.application":"http","extra.public_source":"ExampleSinkhole","feed.provider":"other","extra.event_id":"1773878647000045","tlp":"AMBER"}`,
			report.IntelMQ,
			report.Options{},
			labelled,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rd, err := report.NewReader(strings.NewReader(c.source), c.opt)
			if err != nil {
				t.Fatal(err)
			}
			if rd.Format != c.format {
				t.Errorf("taken for %s, want %s", rd.Format, c.format)
			}
			events, rejected, err := read(t, strings.NewReader(c.source), c.opt)
			if err != nil || rejected != nil {
				t.Fatal(err, rejected)
			}
			if d := cmp.Diff([]exchange.Event{c.want}, events, compare); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCompressionIsRecognisedByContent(t *testing.T) {
	var gz, zs bytes.Buffer
	g := gzip.NewWriter(&gz)
	z, _ := zstd.NewWriter(&zs)
	for _, w := range []io.WriteCloser{g, z} {
		if _, err := io.WriteString(w, shadowserver); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range [][]byte{gz.Bytes(), zs.Bytes()} {
		if events, rejected, err := read(t, bytes.NewReader(b), report.Options{}); len(events) != 1 || rejected != nil || err != nil {
			t.Error(len(events), rejected, err)
		}
		if _, _, err := read(t, bytes.NewReader(b[:len(b)/2]), report.Options{}); err == nil || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("cut in half: %v", err)
		}
	}
}

func TestBadRowsAreNamedAndGoodRowsKept(t *testing.T) {
	source := strings.Join([]string{
		"ip,timestamp,port,note",
		"240.0.0.1,2026-03-19 00:00:00,1,ok",
		"240.0.0.300,2026-03-19 00:00:00,1,bad address",
		"240.0.0.2,yesterday,1,bad time",
		"240.0.0.2,1999-03-19 00:00:00,1,too long ago",
		"240.0.0.2,2026-03-19 00:00:00,70000,bad port",
		"240.0.0.2,2026-03-19 00:00:00,1," + strings.Repeat("x", 1<<20),
		"240.0.0.3,2026-03-19 00:00:00,1,after the long row",
		"240.0.0.2,2026-03-19 00:00:00,1,a\x00b",
		"240.0.0.2,2026-03-19 00:00:00",
		"",
		`240.0.0.4,2026-03-19 00:00:00,1,"two`,
		`lines"`,
		"240.0.0.5,2026-03-19 00:00:00,1,after the two lines",
		"240.0.0.0/24,2026-03-19 00:00:00,1,a prefix",
		",2026-03-19 00:00:00,1,no address",
		"240.0.0.6,,1,no time",
		"fe80::1%eth0,2026-03-19 00:00:00,1,a zone",
		"::ffff:240.0.0.7,2026-03-19 00:00:00,1,mapped",
		`240.0.0.2,2026-03-19 00:00:00,1,"stray`,
		"240.0.0.8,2026-03-19 00:00:00,1,behind the stray quote",
	}, "\n")
	events, rejected, err := read(t, strings.NewReader(source), report.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprint(e.Line, " ", e.Address))
	}
	if d := cmp.Diff([]string{"2 240.0.0.1", "6 240.0.0.2", "8 240.0.0.3", "9 240.0.0.2", "12 240.0.0.4", "14 240.0.0.5", "19 240.0.0.7"}, got); d != "" {
		t.Error(d)
	}
	want := []string{
		`line 3, ip: "240.0.0.300" is not an IP address`,
		`line 4, timestamp: "yesterday" is not a time: use 2026-03-19T00:04:07Z, or 2026-03-19 00:04:07 in UTC`,
		`line 5, timestamp: "1999-03-19 00:00:00" is before 2000 or more than a day ahead`,
		`line 7: longer than 64 KiB`,
		`line 10: has 2 fields, the header has 4 fields`,
		`line 15, ip: "240.0.0.0/24" is not an IP address`,
		`line 16, ip: no address`,
		`line 17, timestamp: no time`,
		`line 18, ip: "fe80::1%eth0" is not an IP address`,
		`line 20: a quote is opened and not closed: lines 20 to 21 are rejected`,
	}
	if d := cmp.Diff(want, rejected); d != "" {
		t.Error(d)
	}
}

func TestBadJSONLinesAreNamed(t *testing.T) {
	source := strings.Join([]string{
		`{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z"}`,
		`{"ip":"240.0.0.2","timestamp":"2026-03-19T00:00:00Z"`,
		`{"ip":"240.0.0.2","ip":"240.0.0.3","timestamp":"2026-03-19T00:00:00Z"}`,
		`[1]`,
		`{"ip":5,"timestamp":"2026-03-19T00:00:00Z"}`,
		`{"a":` + strings.Repeat("[", 30000) + `}`,
		`{"ip":"240.0.0.2","timestamp":"2026-03-19T00:00:00Z"}{}`,
		`{"ip":"240.0.0.4","timestamp":"2026-03-19T00:00:00Z","tlp":"orange"}`,
		`{"ip":"240.0.0.5","timestamp":"2026-03-19T00:00:00Z"}`,
		`{"ip":"240.0.0.6","timestamp":"2026-03-19T00:00:00Z"}garbage`,
		`{"ip":"240.0.0.6","timestamp":"2026-03-19T00:00:00Z"}}`,
		`{"query_type":"A","query":"x","src_ip":"240.0.0.6","timestamp":"2026-03-19T00:00:00Z"}`,
	}, "\n")
	events, rejected, err := read(t, strings.NewReader(source), report.Options{})
	if err != nil || len(events) != 2 || events[1].Line != 9 {
		t.Fatal(events, err)
	}
	lines := []int{2, 3, 4, 5, 6, 7, 8, 10, 11, 12}
	if len(rejected) != len(lines) {
		t.Fatalf("rejected: %s", strings.Join(rejected, "\n"))
	}
	for i, r := range rejected {
		if !strings.HasPrefix(r, fmt.Sprintf("line %d", lines[i])) || len(r) > 300 {
			t.Errorf("%d: %s", i+2, r)
		}
	}
}

func TestSourcesOfWhichNothingCanBeRead(t *testing.T) {
	for name, c := range map[string]struct{ source, want string }{
		"empty":         {"", "line 1: the source is empty"},
		"blank":         {"\n\n", "line 1: the source is empty"},
		"binary":        {"\x7fELF\x02\x01\x01\x00\x00\x00\x00", "line 1: this is not text"},
		"wrong header":  {"name,colour\na,b\n", "line 1: no column for ip"},
		"no time":       {"ip,colour\na,b\n", "line 1: no column for timestamp"},
		"prose":         {"Dear team, please find attached", "line 1: no column for ip"},
		"html":          {"<!DOCTYPE html>\n<html>", "line 1: no column for ip"},
		"twice":         {"ip,timestamp,ip\n", `line 1: column "ip" stands twice`},
		"resolver":      {"timestamp,src_ip,query_type,query,count\n", "line 1: event4_sinkhole_dns tells of a resolver"},
		"long header":   {strings.Repeat("ip,", 40000), "line 1: the header line longer than 64 KiB"},
		"damaged gzip":  {"\x1f\x8b\x08garbage", "line 1: damaged gzip"},
		"damaged zstd":  {"\x28\xb5\x2f\xfd\xff\xff\xff\xff\xff\xff", "line 1: damaged zstd"},
		"open header":   {"ip,\"timestamp\n", "line 1: the header line a quote is opened"},
		"nul in header": {"ip,time\x00stamp\n", "line 1: this is not text"},
	} {
		_, _, err := read(t, strings.NewReader(c.source), report.Options{})
		var file *report.FileError
		if !errors.As(err, &file) || !strings.HasPrefix(file.Error(), c.want) {
			t.Errorf("%s: got %v, want %s…", name, err, c.want)
		}
	}
	for _, opt := range []report.Options{{Format: "xml"}, {Map: map[string]string{"a": "b"}}} {
		if _, err := report.NewReader(strings.NewReader(shadowserver), opt); err == nil {
			t.Errorf("%+v was taken", opt)
		}
	}
}

func TestRefererReportNamesTheReferer(t *testing.T) {
	source := "timestamp,src_ip,src_asn,http_referer_ip,http_referer_asn,http_referer_geo\n2026-03-19 00:00:00,240.0.0.1,1,240.0.0.2,2,AT\n"
	events, _, err := read(t, strings.NewReader(source), report.Options{})
	if err != nil || len(events) != 1 || events[0].Address.String() != "240.0.0.2" || events[0].ASN != 2 || events[0].Country != "AT" {
		t.Error(events, err)
	}
}

// A source cut into pieces of any size gives the same events and problems, with
// the same line numbers, as the whole.
func TestPiecesEqualTheWhole(t *testing.T) {
	var csv, jsonl strings.Builder
	csv.WriteString("\xef\xbb\xbf\nip,timestamp,note\n")
	for i := range 300 {
		switch {
		case i%50 == 7:
			fmt.Fprintf(&csv, "240.0.0.%d,2026-03-19 00:00:00,\"two\nlines\"\n\n", i%256)
		case i%50 == 9:
			fmt.Fprintf(&csv, "240.0.0.%d,2026-03-19 00:00:00,%s\n", i%256, strings.Repeat("x", 1<<17))
		case i%50 == 11:
			fmt.Fprintf(&csv, "240.0.0.%d,2026-03-19 00:00:00,\"%s\"\n", i%256, strings.Repeat("\n240.60.9.9,2026-03-19 00:00:00,", 18))
		case i%50 == 13:
			fmt.Fprintf(&csv, "240.0.0.%d,2026-03-19 00:00:00,\"%s\n240.60.9.9,2026-03-19 00:00:00,\"\n", i%256, strings.Repeat("x", 1<<17))
		default:
			fmt.Fprintf(&csv, "240.0.0.%d,2026-03-19 00:00:%02d,\n", i%256, i%60)
		}
		fmt.Fprintf(&jsonl, "{\"ip\":\"240.0.0.%d\",\"timestamp\":\"2026-03-19 00:00:00\"}\n", i)
		if i%40 == 3 {
			jsonl.WriteString("\n" + strings.Repeat("y", 1<<17) + "\nnothing\n")
		}
	}
	csv.WriteString("240.0.0.1,2026-03-19 00:00:00,\"open\n240.60.9.9,2026-03-19 00:00:00,\n")
	for _, source := range []string{csv.String(), jsonl.String()} {
		want, wantRejected, err := read(t, strings.NewReader(source), report.Options{})
		if err != nil || len(want) < 250 {
			t.Fatal(len(want), err)
		}
		for _, size := range []int{1, 100, 1000, 1 << 20} {
			c, err := report.NewCutter(strings.NewReader(source), report.Options{}, size)
			if err != nil {
				t.Fatal(err)
			}
			var got []exchange.Event
			var rejected []string
			for {
				p, err := c.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if p.Data != nil {
					e, r, err := read(t, bytes.NewReader(p.Data), report.Options{Format: c.Sent, FirstLine: p.FirstLine})
					if err != nil {
						t.Fatal(err)
					}
					got, rejected = append(got, e...), append(rejected, r...)
				}
				for _, r := range p.Rejected {
					rejected = append(rejected, r.String())
				}
			}
			if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Fatalf("size %d: %s", size, d)
			}
			if d := cmp.Diff(wantRejected, rejected); d != "" {
				t.Fatalf("size %d: %s", size, d)
			}
		}
	}
}

func TestIPv4IsReadAsNetipReadsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{0,3}(\.[0-9]{0,3}){2,4}[a:]?`).Draw(t, "text")
		want, err := netip.ParseAddr(text)
		if got, ok := report.ParseIPv4([]byte(text)); ok != (err == nil && want.Is4()) || ok && got != want {
			t.Fatalf("%s: %v %v, netip says %v %v", text, got, ok, want, err)
		}
	})
}

func TestTimesAreReadAsTheirLayoutSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:([0-57-9][0-9a]|6[1-9])`).Draw(t, "text")
		want, wrong := time.Parse(time.DateTime, text)
		if got, err := report.ParseTime([]byte(text)); (err == nil) != (wrong == nil) || err == nil && !got.Equal(want) {
			t.Fatalf("%s: %v %v, its layout says %v %v", text, got, err, want, wrong)
		}
	})
}

// What a column says is remembered for the next row, and no longer.
func TestEachRowSaysItsOwn(t *testing.T) {
	events, _, err := read(t, strings.NewReader("ip,timestamp,malware,cc,provider\n240.0.0.1,2026-03-19T00:00:00Z,A,AT,x\n"+
		"240.0.0.2,2026-03-19T00:00:00Z,A,AT,x\n240.0.0.3,2026-03-19T00:00:00Z,,,\n240.0.0.4,2026-03-19T00:00:00Z,A,A1,x\n240.0.0.5,2026-03-19T00:00:00Z,b,PL,y\n"), report.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, e.Malware+" "+e.Country+" "+e.Provider)
	}
	if d := cmp.Diff([]string{"a AT x", "a AT x", "  ", "a  x", "b PL y"}, got); d != "" {
		t.Error(d)
	}
}

func BenchmarkReader(b *testing.B) {
	head, row, _ := strings.Cut(shadowserver, "\n")
	source := head + "\n" + strings.Repeat(row, 10_000)
	b.SetBytes(int64(len(source)))
	for b.Loop() {
		rd, err := report.NewReader(strings.NewReader(source), report.Options{})
		if err != nil {
			b.Fatal(err)
		}
		var ev exchange.Event
		for rd.Next(&ev) == nil {
		}
		if rd.Rows() != 10_000 {
			b.Fatal(rd.Rows())
		}
	}
}
