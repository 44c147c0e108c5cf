package exchangetest_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// streamDir is where an exchange keeps a stream.
func streamDir(dir, stream string) string {
	return filepath.Join(dir, "journal", "jetstream", "TOCSIN", "streams", stream)
}

// copied copies a directory.
func copied(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// A stream that has lost its end is no new beginning: the exchange gives what it has, takes nothing, and says so, again and again;
// it does not start where the register could be an older one, or where the view does not have what is lost. A rebuild does not
// delete what shows it.
func TestAnExchangeWhoseJournalIsShorterThanIsKnownTakesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc\n240.0.0.%d,2026-03-19T00:00:00Z,AT\n", i))
		}
	}
	publish(0, 20)
	e.Stop(t)
	before := copied(t, dir)
	e = exchangetest.Open(t, dir)
	e.Apply(t, strings.Replace(exchangetest.Register, "ceiling: green", "ceiling: clear", 1))
	publish(20, 40)
	e.Stop(t)

	remove := func(stream string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(streamDir(dir, stream)); err != nil {
				t.Fatal(err)
			}
		}
	}
	older := func(stream string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			remove(stream)(t, dir)
			if err := os.CopyFS(streamDir(dir, stream), os.DirFS(streamDir(before, stream))); err != nil {
				t.Fatal(err)
			}
		}
	}
	flipped := func(stream string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			msgs := filepath.Join(streamDir(dir, stream), "msgs")
			if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil {
				t.Fatal(err)
			}
			blk := filepath.Join(msgs, "1.blk")
			text, err := os.ReadFile(blk)
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)*2/3] ^= 1
			if err := os.WriteFile(blk, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	pages := func(e *exchangetest.Exchange) (all []string) {
		for _, c := range []string{"cert-at", "feed-rustock"} {
			_, _, text := e.Do(t, "GET", "/exchange/collections/"+c+"/objects/?limit=5000", exchange.Admin, e.AdminToken(), "", "Accept", "*/*")
			all = append(all, text)
		}
		return all
	}
	e = exchangetest.Open(t, copied(t, dir))
	want := pages(e)
	e.Stop(t)
	const intake, blocks, reg = journal.IntakeStream, journal.BlocksStream, journal.RegisterStream
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		stream string
	}{
		"intake deleted":             {remove(intake), intake},
		"an older copy of intake":    {older(intake), intake},
		"a bit of intake flipped":    {flipped(intake), intake},
		"blocks deleted":             {remove(blocks), blocks},
		"an older copy of blocks":    {older(blocks), blocks},
		"a bit of blocks flipped":    {flipped(blocks), blocks},
		"the register deleted":       {remove(reg), reg},
		"an older copy of a version": {older(reg), reg},
	} {
		t.Run(name, func(t *testing.T) {
			dir := copied(t, dir)
			c.damage(t, dir)
			starts := func() error {
				n, err := node.Open(t.Context(), node.Options{Dir: dir, HTTP: "127.0.0.1:0"})
				if err == nil {
					_ = n.Close(t.Context())
				}
				return err
			}
			refused := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, journal.ErrDamaged) && !errors.Is(err, exchange.ErrRecord) || !strings.Contains(err.Error(), "stream "+c.stream) || !strings.Contains(err.Error(), "backup") || strings.Contains(err.Error(), "\n") {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, when := range []string{"start", "start, again"} {
				if c.stream == reg { // a credential could be valid again
					refused(when, starts())
					continue
				}
				e := exchangetest.Open(t, dir)
				if got := pages(e); !slices.Equal(got, want) {
					t.Errorf("%s: what can be read is another", when)
				}
				code, _, text := e.Do(t, "POST", "/v1/feeds/rustock/events", exchange.Admin, e.AdminToken(), "ip,timestamp,cc\n240.0.1.1,2026-03-19T00:00:00Z,AT\n", "Content-Type", "text/csv")
				if code != http.StatusServiceUnavailable || !strings.Contains(text, "lost data") {
					t.Errorf("%s: it takes rows: %d %s", when, code, text)
				}
				// Strangers are told no name of a stream, a collection or a feed.
				told := fmt.Sprintf(`{"status":"ready","takes_nothing":%q}`, exchange.ErrDamaged)
				if code, _, text := e.Do(t, "GET", "/readyz", "", "", ""); code != http.StatusOK || strings.TrimSpace(text) != told {
					t.Errorf("%s: %d %s", when, code, text)
				}
				e.Stop(t)
			}
			refused("verify", node.WithJournal(t.Context(), dir, func(node.Journal) error { return nil }))
			refused("rebuild", node.Rebuild(t.Context(), dir))
			bare := copied(t, dir)
			if err := os.RemoveAll(filepath.Join(bare, "view")); err != nil {
				t.Fatal(err)
			}
			refused("start without the view", func() error {
				n, err := node.Open(t.Context(), node.Options{Dir: bare, HTTP: "127.0.0.1:0"})
				if err == nil {
					_ = n.Close(t.Context())
				}
				return err
			}())
			// The view has what intake and blocks have lost.
			for _, do := range []bool{false, true} {
				r, err := node.Repair(t.Context(), dir, do, false)
				if c.stream == reg {
					if err == nil && len(r.Left) == 0 {
						t.Errorf("repair: %+v", r)
					}
					return
				}
				if err != nil || len(r.Damage) == 0 || r.PutBack[c.stream] == 0 || len(r.Left) > 0 {
					t.Errorf("repair (%v): %+v, %v", do, r, err)
				}
			}
			e := exchangetest.Open(t, dir)
			if got := pages(e); !slices.Equal(got, want) {
				t.Error("repaired: what can be read is another")
			}
			e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.1.1,2026-03-19T00:00:00Z,AT\n")
			e = rebuilt(t, e)
			if got := pages(e); !strings.HasPrefix(got[0], strings.TrimSuffix(strings.TrimSpace(want[0]), "]}")) || !strings.Contains(got[0], "240.0.1.1") {
				t.Error("repaired, and rebuilt: what can be read is another")
			}
			e.Stop(t)
			if err := node.WithJournal(t.Context(), dir, func(j node.Journal) error {
				chains, err := j.Verify(t.Context())
				for _, x := range chains {
					if x.Problem != "" {
						t.Error("repaired:", x)
					}
				}
				return err
			}); err != nil {
				t.Error("repaired:", err)
			}
		})
	}
	t.Run("whole", func(t *testing.T) {
		dir := copied(t, dir)
		if err := node.Rebuild(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		exchangetest.Open(t, dir).Stop(t)
	})
}
