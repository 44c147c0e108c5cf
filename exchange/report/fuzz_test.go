package report_test

import (
	"bytes"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/report"
)

func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"ip":"240.0.0.1","timestamp":"2026-03-19T00:00:00Z","source":{"ip":1}}`))
	fuzzFormat(f, report.Auto)
}

func FuzzCSV(f *testing.F)          { fuzzFormat(f, report.CSV) }
func FuzzShadowserver(f *testing.F) { fuzzFormat(f, report.Shadowserver) }
func FuzzJSONLines(f *testing.F)    { fuzzFormat(f, report.JSONLines) }
func FuzzIntelMQ(f *testing.F)      { fuzzFormat(f, report.IntelMQ) }
func FuzzN6(f *testing.F)           { fuzzFormat(f, report.N6) }
func FuzzIDEA(f *testing.F)         { fuzzFormat(f, report.IDEA) }
func FuzzXARF(f *testing.F)         { fuzzFormat(f, report.XARF) }
func FuzzSTIX(f *testing.F)         { fuzzFormat(f, report.STIX) }
func FuzzMISP(f *testing.F)         { fuzzFormat(f, report.MISP) }

// fuzzFormat reads anything as a format, whole and in pieces: every event is
// complete, and both give as many.
func fuzzFormat(f *testing.F, format string) {
	for name, s := range samples {
		if format == report.Auto || format == s.format {
			f.Add(sampleFile(f, name))
		}
	}
	if format == report.Auto || format == report.CSV || format == report.Shadowserver {
		f.Add([]byte(shadowserver))
		f.Add([]byte("ip,timestamp,note\n240.0.0.1,2026-03-19 00:00:00,\"a\n240.0.0.2,2026-03-19 00:00:00,b\n"))
	}
	opt := report.Options{Format: format, Keep: true}
	f.Fuzz(func(t *testing.T, source []byte) {
		events, _, err := read(t, bytes.NewReader(source), opt)
		for _, e := range events {
			if !e.Address.IsValid() || e.Observed.IsZero() || e.Count < 1 || e.Line < 1 {
				t.Fatalf("incomplete event %+v", e)
			}
		}
		c, cutErr := report.NewCutter(bytes.NewReader(source), opt, 64)
		if cutErr != nil {
			return
		}
		n := 0
		for {
			p, err := c.Next()
			if err != nil {
				break
			}
			if p.Data == nil {
				continue
			}
			more, _, err := read(t, bytes.NewReader(p.Data), report.Options{Format: c.Sent, FirstLine: p.FirstLine, Keep: true})
			if err != nil {
				t.Fatal(err)
			}
			n += len(more)
		}
		if err == nil && n != len(events) {
			t.Fatalf("%d events in pieces, %d in the whole", n, len(events))
		}
	})
}
