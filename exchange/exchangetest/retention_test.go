package exchangetest_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// retaining is writable with a feed and a collection that keep what they have for 90 days.
var retaining = strings.NewReplacer("allow_reserved: true,", "allow_reserved: true, retention: 90d,", "{id: board, ", "{id: board, retention: 90d, ").Replace(writable)

// What is older than it is kept is in no file any more; what is not stays as it was, and readers of all kinds go on.
func TestWhatIsTooOldGoes(t *testing.T) {
	t.Parallel()
	to, dir := t.TempDir(), t.TempDir()
	now := time.Now
	open := func() *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Wall: func() time.Time { return now() }, TrustClock: true,
			Archive: node.ArchiveOptions{Store: archive.Directory(to), Place: to, Every: 50 * time.Millisecond},
		})
	}
	e := open()
	e.Apply(t, retaining)
	m := as(t, e, "cert-at")
	named := func(n int, address string) string {
		return strings.Replace(sample(n, version1, ""), "198.51.100.1", address, 1)
	}
	e.Publish(t, "rustock", hosts(0, 600, ""))
	for n := range 5 {
		for _, c := range []string{"board", "drop"} {
			if why := m.add(c, named(10*n+len(c), fmt.Sprintf("198.51.100.%d", 10+n))); why != "" {
				t.Fatal(why)
			}
		}
	}
	e.Settled(t)
	_, cursor := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	early := taxiiclient.Cursor{}
	const day = 24 * time.Hour
	e.Stop(t)
	now = func() time.Time { return time.Now().Add(20 * day) }
	e = open()
	m = member{t, e, m.id, m.token}
	e.Publish(t, "rustock", hosts(700, 40, ""))
	if why := m.add("board", named(99, "203.0.113.7")); why != "" {
		t.Fatal(why)
	}
	e.Settled(t)
	late, _ := e.Pull(t, "cert-at", cursor, taxii.Filter{})
	before := everything(t, e)
	chains, err := e.Journal.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e.Stop(t)
	now = func() time.Time { return time.Now().Add(89 * day) }
	e = open() // nothing is too old yet
	differ(t, everything(t, e), before)
	e.Stop(t)

	now = func() time.Time { return time.Now().Add(91 * day) }
	e = open()
	after := everything(t, e)
	for c, list := range after {
		for _, o := range list {
			if !slices.Contains(before[c], o) {
				t.Errorf("collection %s has what it had not: %.90s", c, o)
			}
		}
	}
	if got := after["cert-at"]; !slices.Equal(got, late) {
		t.Errorf("cert-at has %d objects, and not the %d of late", len(got), len(late))
	}
	if got := after["board"]; len(got) != 1 {
		t.Errorf("board has %d objects", len(got))
	}
	if !slices.Equal(after["drop"], before["drop"]) {
		t.Error("what is kept for ever is gone")
	}
	if got, _ := e.Pull(t, "cert-at", cursor, taxii.Filter{}); !slices.Equal(got, late) {
		t.Errorf("who goes on is given %d objects, and not %d", len(got), len(late))
	}
	if got, _ := e.Pull(t, "cert-at", early, taxii.Filter{}); !slices.Equal(got, late) {
		t.Errorf("who begins is given %d objects, and not %d", len(got), len(late))
	}
	again, err := e.Journal.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range again {
		if c.Problem != "" || c.Head != chains[i].Head {
			t.Errorf("%+v, and was %+v", c, chains[i])
		}
	}
	// Over NATS, from the start.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	client := &apiclient.Client{Server: e.HTTPURL(), User: m.id, Token: m.token, HTTP: taxiiclient.NewHTTP()}
	blocks, want := uint64(0), again[slices.IndexFunc(again, func(c record.Chain) bool { return c.Collection == "cert-at" })]
	err = client.Subscribe(ctx, "cert-at", "start", func(b *apiclient.Block) error {
		if blocks++; b.Number == want.Blocks {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) || blocks != want.Blocks {
		t.Error(err, blocks, want.Blocks)
	}
	if code, _, text := e.Do(t, "GET", "/v1/collections/cert-at/verify", "admin", e.AdminToken(), ""); code != http.StatusOK || !strings.Contains(text, `"head"`) {
		t.Error(code, text)
	}
	e.Publish(t, "rustock", hosts(0, 5, "")) // it can come again
	e.Settled(t)
	if got := everything(t, e)["cert-at"]; len(got) <= len(late) {
		t.Error("nothing comes any more")
	}
	outOfArchive(t, dir)
	if err := e.ArchiveNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	e.Stop(t)
	old := newTrace(t, nil, "240.1.0.100", "240.1.2.7", "198.51.100.12")
	for _, where := range []string{dir, to} {
		for _, found := range old.files(where) {
			if !strings.Contains(found, "198.51.100.12") { // which stands in drop
				t.Error(where, found)
			}
		}
	}
	if err := node.Rebuild(t.Context(), dir); err != nil {
		t.Error(err)
	}
	a, err := archive.Open(t.Context(), archive.Directory(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&node.Restoring{Dir: filepath.Join(t.TempDir(), "r"), Archive: a}).Run(t.Context()); err != nil {
		t.Error(err)
	}
}

var errDone = errors.New("done")

// While the journal is damaged nothing is deleted for its age: the view is what it is repaired from.
func TestADamagedJournalIsNotRewritten(t *testing.T) {
	t.Parallel()
	dir, off := t.TempDir(), time.Duration(0)
	open := func() *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", Wall: func() time.Time { return time.Now().Add(off) }, TrustClock: true,
		})
	}
	e := open()
	e.Apply(t, retaining)
	for n := range 10 {
		e.Publish(t, "rustock", hosts(100*n, 100, ""))
	}
	e.Settled(t)
	e.Stop(t)
	file := filepath.Join(streamDir(dir, journal.BlocksStream), "msgs", "1.blk")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text[len(text)/2] ^= 1
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(filepath.Dir(file), "index.db")); err != nil {
		t.Fatal(err)
	}
	off = 91 * 24 * time.Hour
	e = open()
	if len(everything(t, e)["cert-at"]) == 0 {
		t.Error("what there is cannot be read")
	}
	e.Stop(t)
	r, err := node.Repair(t.Context(), dir, true, false)
	if err != nil || r.PutBack[journal.BlocksStream] == 0 || len(r.Left) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	e = open() // now it is
	if n := len(everything(t, e)["cert-at"]); n > 0 {
		t.Errorf("%d objects are left", n)
	}
}
