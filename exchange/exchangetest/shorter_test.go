package exchangetest_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// A stream that has lost its end is no new beginning: the exchange says so in one line and does not
// start, again and again, and a rebuild does not delete what shows it.
func TestAnExchangeWhoseJournalIsShorterThanIsKnownDoesNotStart(t *testing.T) {
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
	const intake, blocks, reg = journal.IntakeStream, journal.BlocksStream, "KV_TOCSIN_REGISTER"
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir string)
		stream string
		// shown says that it is seen without the view, too.
		shown bool
	}{
		"intake deleted":             {remove(intake), intake, true},
		"an older copy of intake":    {older(intake), intake, true},
		"a bit of intake flipped":    {flipped(intake), intake, true},
		"blocks deleted":             {remove(blocks), blocks, false},
		"an older copy of blocks":    {older(blocks), blocks, false},
		"a bit of blocks flipped":    {flipped(blocks), blocks, false},
		"the register deleted":       {remove(reg), reg, true},
		"an older copy of a version": {older(reg), reg, true},
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
			refused("start", starts())
			refused("verify", node.WithJournal(t.Context(), dir, func(node.Journal) error { return nil }))
			refused("rebuild", node.Rebuild(t.Context(), dir))
			refused("start, again", starts())
			if !c.shown {
				return
			}
			if err := os.RemoveAll(filepath.Join(dir, "view")); err != nil {
				t.Fatal(err)
			}
			refused("start without the view", starts())
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
