package report_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// damages are ways in which a source goes wrong; i varies each.
var damages = map[string]func(text, other []byte, i int) io.Reader{
	"cut":   func(text, _ []byte, i int) io.Reader { return bytes.NewReader(text[:len(text)*(i+1)/12]) },
	"mixed": func(text, other []byte, i int) io.Reader { return bytes.NewReader(mix(text, other, i)) },
	"another encoding": func(text, _ []byte, i int) io.Reader {
		if i%2 == 0 {
			return bytes.NewReader(append([]byte{0xff, 0xfe}, wide(text)...))
		}
		return bytes.NewReader(bytes.ReplaceAll(text, []byte("c2"), []byte{0xe9, 0xff}))
	},
	"deep": func(text, _ []byte, i int) io.Reader {
		return bytes.NewReader(append(bytes.Clone(text), strings.Repeat(`{"a":[`, 1000*(i+1))...))
	},
	"keys twice": func(text, _ []byte, i int) io.Reader {
		return bytes.NewReader(bytes.Replace(text, []byte("{"), []byte(strings.Repeat(`{"id":"1","id":"1","time":"x",`, 1)), i+1))
	},
}

func mix(text, other []byte, i int) []byte {
	at := len(text) * i / 12
	return bytes.Join([][]byte{text[:at], other, text[at:]}, nil)
}

func wide(text []byte) (b []byte) {
	for _, u := range utf16.Encode([]rune(string(text))) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

// drain reads a source to its end and counts what it says. Each problem must name its line.
func drain(t *testing.T, what string, r io.Reader, opt report.Options) (events, problems int) {
	t.Helper()
	rd, err := report.NewReader(r, opt)
	for err == nil {
		var ev exchange.Event
		err = rd.Next(&ev)
		var row *report.RowError
		switch {
		case err == nil:
			events++
			if !ev.Address.IsValid() || ev.Observed.IsZero() {
				t.Fatalf("%s: half an event: %+v", what, ev)
			}
		case errors.As(err, &row):
			if problems++; row.Line < 1 || row.Reason == "" || len(row.Error()) > 500 {
				t.Fatalf("%s: %v", what, err)
			}
			err = nil
		}
	}
	var file *report.FileError
	switch {
	case errors.As(err, &file):
		if problems++; file.Line < 1 {
			t.Fatalf("%s: %v", what, err)
		}
	case !errors.Is(err, io.EOF):
		t.Fatalf("%s: %v", what, err)
	}
	return events, problems
}

func TestDamagedSourcesOfEachFormatNameTheirProblems(t *testing.T) {
	for name, c := range samples {
		text := sampleFile(t, name)
		for other := range samples {
			for kind, damage := range damages {
				if kind != "mixed" && other != name {
					continue
				}
				for i := range 11 {
					for _, format := range []string{report.Auto, c.format} {
						what := fmt.Sprintf("%s, %s %d of %s as %s", name, kind, i, other, format)
						events, problems := drain(t, what, damage(text, sampleFile(t, other), i), report.Options{Format: format})
						header := kind == "cut" && strings.HasSuffix(name, ".csv") // with no row, which is no damage
						if events+problems == 0 && !header {
							t.Errorf("%s: nothing is said of it", what)
						}
					}
				}
			}
		}
	}
}

// endless is so many bytes of one letter, after a head.
func endless(head string, n int64) io.Reader {
	return io.MultiReader(strings.NewReader(head), io.LimitReader(letters{}, n))
}

type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

func TestHugeSourcesTakeLittleMemory(t *testing.T) {
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.Copy(z, endless("", 300<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for name, c := range samples {
		text := sampleFile(t, name)
		for what, r := range map[string]io.Reader{
			"a line of 100 MB":          io.MultiReader(bytes.NewReader(text), endless("", 100<<20), strings.NewReader("\n"), bytes.NewReader(text)),
			"a text of 100 MB":          endless(`{"Event":{"type":"bundle","objects":["`, 100<<20),
			"a bomb":                    io.MultiReader(bytes.NewReader(bomb.Bytes())),
			"a list of 100 MB of lists": io.MultiReader(strings.NewReader("["), io.LimitReader(&repeat{text: "[[],"}, 100<<20)),
		} {
			if _, problems := drain(t, name+", "+what, r, report.Options{Format: c.format}); problems == 0 {
				t.Errorf("%s, %s: no problem named", name, what)
			}
			runtime.GC()
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapSys > 300<<20 {
		t.Errorf("the heap grew to %d MiB", m.HeapSys>>20)
	}
}

// repeat is a text again and again.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = r.text[r.at]
		r.at = (r.at + 1) % len(r.text)
	}
	return len(p), nil
}
