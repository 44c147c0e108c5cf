package exchangetest_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// A stream has many files. What is lost of one in the middle is seen by who reads them while the exchange runs, whatever the
// stream's index says; nothing more is taken in then, and what the view has is put back.
func TestAFileInTheMiddleIsHarmed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, writable)
	m, r := as(t, e, "cert-at"), rand.New(rand.NewPCG(1, 2))
	for n := range 70 { // of what hardly gets smaller: three files
		var name strings.Builder
		for range 20_000 {
			fmt.Fprintf(&name, "%016x", r.Uint64())
		}
		if why := m.add("board", sample(n, version1, `,"name":"`+name.String()+`"`)); why != "" {
			t.Fatal(why)
		}
	}
	if code, _, text := e.Do(t, "DELETE", boardObjects+sampleID(3)+"/", m.id, m.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	// The objects themselves, and what else there is of them; more may have come behind them.
	read := func(e *exchangetest.Exchange) (texts [70]string) {
		for n := range texts {
			_, _, texts[n] = e.Do(t, "GET", boardObjects+sampleID(n)+"/", exchange.Admin, e.AdminToken(), "", "Accept", "*/*")
		}
		return texts
	}
	want := read(e)
	e.Stop(t)
	for name, harm := range map[string]func(file string, text []byte) error{
		"removed": func(file string, _ []byte) error { return os.Remove(file) },
		"emptied": func(file string, _ []byte) error { return os.WriteFile(file, nil, 0o600) },
		"a bit":   func(file string, text []byte) error { text[len(text)/2] ^= 1; return os.WriteFile(file, text, 0o600) },
		"halved":  func(file string, text []byte) error { return os.WriteFile(file, text[:len(text)/2], 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			at := copied(t, dir)
			file := filepath.Join(streamDir(at, journal.BlocksStream), "msgs", "2.blk")
			text, err := os.ReadFile(file)
			if err == nil {
				err = harm(file, text)
			}
			if err != nil {
				t.Fatal(err)
			}
			e := exchangetest.OpenWith(t, node.Options{Dir: at, HTTP: "127.0.0.1:0", Scrub: time.Second})
			m := member{t, e, "cert-at", e.Token(t, "cert-at")}
			waitFor(t, "the loss to be seen", func() bool {
				code, _, _ := e.Do(t, "POST", boardObjects, m.id, m.token, envelope(sample(500, version1, "")), "Content-Type", "application/taxii+json;version=2.1")
				return code == http.StatusServiceUnavailable
			})
			if read(e) != want {
				t.Error("what can be read is another")
			}
			e.Stop(t)
			for _, do := range []bool{false, true} {
				if r, err := node.Repair(t.Context(), at, do, false); err != nil || len(r.Damage) == 0 || r.PutBack[journal.BlocksStream] == 0 || len(r.Left) > 0 {
					t.Errorf("repair (%v): %+v, %v", do, r, err)
				}
			}
			e = rebuilt(t, exchangetest.Open(t, at))
			if read(e) != want {
				t.Error("repaired and rebuilt: what can be read is another")
			}
		})
	}
}
