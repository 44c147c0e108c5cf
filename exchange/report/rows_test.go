package report_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// sinkhole is the file of a Shadowserver report of so many rows, each of 39 columns and
// another address.
func sinkhole(t testing.TB, rows int) *os.File {
	head, row, _ := bytes.Cut(sampleFile(t, "2026-03-19-event4_sinkhole_http-example.csv"), []byte{'\n'})
	before, after, _ := bytes.Cut(append(bytes.TrimSpace(row), '\n'), []byte("203.0.113.45"))
	file, err := os.Create(filepath.Join(t.TempDir(), "sinkhole.csv"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	out := bufio.NewWriter(file)
	_, _ = fmt.Fprintf(out, "%s\n", head)
	for i := range rows {
		_, _ = fmt.Fprintf(out, "%s240.%d.%d.%d%s", before, i>>16&255, i>>8&255, i&255, after)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	return file
}

// BenchmarkSinkhole reads a report: its records alone, its events, and its events
// routed by a table of 5,000 owners, in a pipeline as the exchange has it.
func BenchmarkSinkhole(b *testing.B) {
	const rows = 1_000_000
	file := sinkhole(b, rows)
	source := func(b *testing.B) io.Reader {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		return file
	}
	perSecond := func(b *testing.B) { b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s") }
	b.Run("records", func(b *testing.B) {
		for b.Loop() {
			if n, err := report.CountRecords(source(b)); n != rows+1 || err != nil {
				b.Fatal(n, err)
			}
		}
		perSecond(b)
	})
	events := func(b *testing.B, into func() *exchange.Event) {
		rd, err := report.NewReader(source(b), report.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for {
			if err := rd.Next(into()); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
		}
		if rd.Rows() != rows {
			b.Fatal(rd.Rows())
		}
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		var ev exchange.Event
		for b.Loop() {
			events(b, func() *exchange.Event { return &ev })
		}
		perSecond(b)
	})
	var members []exchange.Member
	for i := range 5000 {
		members = append(members, exchange.Member{ID: fmt.Sprintf("owner-%04d", i), Kind: exchange.NetworkOwner, Constituency: exchange.Constituency{ASNs: []uint32{uint32(i + 60_000)}}})
	}
	members = append(members, exchange.Member{ID: "cert-pl", Kind: exchange.CSIRT, Constituency: exchange.Constituency{Countries: []string{"PL"}}})
	router := constituency.New(members, nil, &exchange.Feed{})
	b.Run("parse and route", func(b *testing.B) {
		for b.Loop() {
			const pipe = 4
			batches, free := make(chan []exchange.Event, pipe), make(chan []exchange.Event, pipe)
			for range pipe {
				free <- make([]exchange.Event, 0, admission.MaxEvents)
			}
			routed := make(chan int)
			go func() {
				n := 0
				for batch := range batches {
					for i := range batch {
						place, _ := router.Locate(&batch[i])
						n += len(router.Route(batch[i].Address, place, batch[i].Hostname))
					}
					free <- batch[:0]
				}
				routed <- n
			}()
			batch := <-free
			events(b, func() *exchange.Event {
				if len(batch) == cap(batch) {
					batches <- batch
					batch = <-free
				}
				batch = batch[:len(batch)+1]
				return &batch[len(batch)-1]
			})
			batches <- batch[:len(batch)-1] // the last was for the end
			close(batches)
			if n := <-routed; n != 2*rows {
				b.Fatal(n)
			}
		}
		perSecond(b)
	})
}

// BenchmarkFormats reads JSON of each format that has an event on a line, beside what it costs to read the JSON alone.
func BenchmarkFormats(b *testing.B) {
	const rows = 20_000
	for _, f := range []struct{ format, row string }{
		{report.JSONLines, `{"ip":"240.%d.%d.%d","timestamp":"2026-03-19T00:04:07Z","port":4711,"cc":"AT","asn":64496,"malware":"rustock","hostname":"host.example.net","protocol":"tcp"}`},
		{report.IntelMQ, `{"source.ip":"240.%d.%d.%d","time.source":"2026-03-19T00:04:07+00:00","source.port":4711,"source.geolocation.cc":"AT","source.asn":64496,"malware.name":"rustock","classification.type":"infected-system","classification.taxonomy":"malicious-code","classification.identifier":"rustock","feed.provider":"x","feed.name":"y","protocol.transport":"tcp","destination.ip":"192.0.2.1","destination.port":80}`},
		{report.N6, `{"id":"0123456789abcdef0123456789abcdef","source":"a.b","restriction":"public","confidence":"high","category":"bots","time":"2026-03-19T00:04:07Z","address":[{"ip":"240.%d.%d.%d","cc":"AT","asn":64496}],"name":"rustock","sport":4711,"dport":80,"proto":"tcp","dip":"192.0.2.1"}`},
		{report.IDEA, `{"Format":"IDEA0","ID":"4390fc3f-c753-4a3e-bc83-1b44f24baf75","DetectTime":"2026-03-19T00:04:07Z","Category":["Malware.Rustock","Intrusion.Botnet"],"Source":[{"IP4":["240.%d.%d.%d"],"Port":[4711],"Proto":["tcp"],"Type":["Botnet"]}],"Target":[{"IP4":["192.0.2.1"],"Port":[80]}]}`},
	} {
		var source []byte
		for i := range rows {
			source = append(fmt.Appendf(source, f.row, i>>16&255, i>>8&255, i&255), '\n')
		}
		run := func(name string, read func(b *testing.B) (n int)) {
			b.Run(f.format+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if n := read(b); n != rows {
						b.Fatal(n)
					}
				}
				b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
		run("JSON", func(b *testing.B) (n int) {
			d := jsontext.NewDecoder(bytes.NewBuffer(source))
			for {
				t, err := d.ReadToken()
				if errors.Is(err, io.EOF) {
					return n
				}
				if err != nil {
					b.Fatal(err)
				}
				if t.Kind() == '}' && d.StackDepth() == 0 {
					n++
				}
			}
		})
		run("events", func(b *testing.B) (n int) {
			rd, err := report.NewReader(bytes.NewReader(source), report.Options{Format: f.format})
			if err != nil {
				b.Fatal(err)
			}
			for {
				var ev exchange.Event
				if err := rd.Next(&ev); errors.Is(err, io.EOF) {
					return n
				} else if err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}
