package report_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// sinkhole is a Shadowserver report of so many rows, each of 39 columns and another
// address.
func sinkhole(t testing.TB, rows int) []byte {
	head, row, _ := bytes.Cut(sampleFile(t, "2026-03-19-event4_sinkhole_http-example.csv"), []byte{'\n'})
	row = append(bytes.TrimSpace(row), '\n')
	out := append(bytes.Clone(head), '\n')
	for i := range rows {
		out = append(out, bytes.Replace(row, []byte("203.0.113.45"), fmt.Appendf(nil, "240.%d.%d.%d", i>>16&255, i>>8&255, i&255), 1)...)
	}
	return out
}

// BenchmarkSinkhole reads a report: its records alone, its events, and its events
// routed by a table of 5,000 owners, in a pipeline as the exchange has it.
func BenchmarkSinkhole(b *testing.B) {
	const rows = 100_000
	text := sinkhole(b, rows)
	perSecond := func(b *testing.B) { b.ReportMetric(rows*float64(b.N)/b.Elapsed().Seconds(), "rows/s") }
	b.Run("records", func(b *testing.B) {
		for b.Loop() {
			if n, err := report.CountRecords(bytes.NewReader(text)); n != rows+1 || err != nil {
				b.Fatal(n, err)
			}
		}
		perSecond(b)
	})
	events := func(b *testing.B, each func(*exchange.Event)) {
		rd, err := report.NewReader(bytes.NewReader(text), report.Options{})
		if err != nil {
			b.Fatal(err)
		}
		var ev exchange.Event
		for {
			if err := rd.Next(&ev); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			each(&ev)
		}
		if rd.Rows() != rows {
			b.Fatal(rd.Rows())
		}
	}
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			events(b, func(*exchange.Event) {})
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
			batches := make(chan []exchange.Event, 4)
			routed := make(chan int)
			go func() {
				n := 0
				for batch := range batches {
					for i := range batch {
						place, _ := router.Place(&batch[i])
						n += len(router.Route(batch[i].Address, place, batch[i].Hostname))
					}
				}
				routed <- n
			}()
			batch := make([]exchange.Event, 0, exchange.MaxEvents)
			events(b, func(ev *exchange.Event) {
				if batch = append(batch, *ev); len(batch) == cap(batch) {
					batches <- batch
					batch = make([]exchange.Event, 0, exchange.MaxEvents)
				}
			})
			batches <- batch
			close(batches)
			if n := <-routed; n != 2*rows {
				b.Fatal(n)
			}
		}
		perSecond(b)
	})
}
