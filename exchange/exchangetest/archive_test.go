package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// archived opens an exchange on a directory, with an archive in another.
func archived(t *testing.T, dir, to string) *exchangetest.Exchange {
	t.Helper()
	return exchangetest.OpenWith(t, node.Options{
		Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0",
		Archive: node.ArchiveOptions{Store: archive.Directory(to), Place: to, Every: time.Hour},
	})
}

// restored restores an archive to a moment, zero for all of it, and opens the exchange.
func restored(t *testing.T, from string, to time.Time) (*exchangetest.Exchange, *node.Restored) {
	t.Helper()
	a, err := archive.Open(t.Context(), archive.Directory(from), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	out, err := (&node.Restoring{Dir: dir, Archive: a, To: to}).Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return exchangetest.Open(t, dir), out
}

// everything is what all collections have.
func everything(t *testing.T, e *exchangetest.Exchange) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, c := range e.Register.Current().Collections() {
		if c.ID == exchange.Quarantine { // which nobody reads
			continue
		}
		all[c.ID], _ = e.Pull(t, c.ID, taxiiclient.Cursor{}, taxii.Filter{})
	}
	return all
}

func differ(t *testing.T, got, want map[string][]string) {
	t.Helper()
	for c := range want {
		if !slices.Equal(got[c], want[c]) {
			t.Errorf("collection %s has %d objects and had %d\nhas %.3000q\nhad %.3000q", c, len(got[c]), len(want[c]), got[c], want[c])
		}
	}
}

// now takes a checkpoint into the archive and returns when that was.
func now(t *testing.T, e *exchangetest.Exchange) time.Time {
	t.Helper()
	if err := e.ArchiveNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	return time.Now()
}

func hosts(from, n int, extra string) string {
	var b strings.Builder
	b.WriteString("timestamp,ip,asn,geo,tlp\n")
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, "2026-01-01T00:%02d:00Z,240.1.%d.%d,64511,%s\n", i%60, i/250, i%250+1, []string{"AT", "PL"}[i%2]+","+extra)
	}
	return b.String()
}

// What an exchange had at each of three moments is what it has when it is restored to them.
func TestAnExchangeIsRestoredToAMoment(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	e := archived(t, t.TempDir(), to)
	e.Apply(t, writable)
	m := as(t, e, "cert-at")
	var at []time.Time
	var had []map[string][]string
	for n := range 3 {
		e.Publish(t, "rustock", hosts(100*n, 100, ""))
		for k := range 3 {
			if why := m.add("board", sample(10*n+k, version1, "")); why != "" {
				t.Fatal(why)
			}
		}
		e.Settled(t)
		at, had = append(at, now(t, e)), append(had, everything(t, e))
	}
	e.Stop(t)
	for n := range at {
		r, _ := restored(t, to, at[n])
		differ(t, everything(t, r), had[n])
		// It goes on from there.
		r.Publish(t, "rustock", hosts(1000, 10, ""))
		if why := (member{t, r, m.id, m.token}).add("board", sample(99, version1, "")); why != "" {
			t.Error(why)
		}
		r.Settled(t)
		if got := everything(t, r)["cert-at"]; len(got) <= len(had[n]["cert-at"]) {
			t.Error("it takes nothing in")
		}
		dir := r.Dir
		r.Stop(t)
		again := exchangetest.Open(t, dir) // whose journal is whole, as far as is known of it
		if code, _, text := again.Do(t, "GET", "/readyz", "", "", ""); code != http.StatusOK {
			t.Error(code, text)
		}
		again.Stop(t)
	}
}

// What has left a collection since the moment that it is restored to leaves it again.
func TestARestoreGivesNothingBackThatWasTakenOut(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	e := archived(t, t.TempDir(), to)
	e.Apply(t, writable)
	m := as(t, e, "cert-at")
	e.Publish(t, "rustock", hosts(0, 50, "green"))
	e.Publish(t, "rustock", hosts(200, 5, "green"))
	for k := range 6 {
		if why := m.add("board", sample(k, version1, "")); why != "" {
			t.Fatal(why)
		}
	}
	if why := m.add("drop", sample(20, version1, "")); why != "" {
		t.Fatal(why)
	}
	e.Settled(t)
	moment := now(t, e)
	before := everything(t, e)
	revoked := as(t, e, "cert-pl")
	// A deletion, a version with a higher label, rows with a higher label, a recall, a credential that ends.
	if code, _, text := e.Do(t, "DELETE", boardObjects+sampleID(1)+"/", m.id, m.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	if why := m.add("board", sample(2, version1, amber)); why != "" {
		t.Fatal(why)
	}
	e.Publish(t, "rustock", hosts(0, 3, "amber"))
	recalled := e.PublishAs(t, hosts(200, 5, "green"), apiclient.Publication{Feed: "rustock", Recall: "wrong"})
	if recalled.Events != 5 {
		t.Fatalf("%+v", recalled)
	}
	// What is no matter of a restore: it was not there.
	if why := m.add("board", sample(7, version1, "")); why != "" {
		t.Fatal(why)
	}
	if why := m.add("board", sample(7, version1, amber)); why != "" {
		t.Fatal(why)
	}
	if _, err := e.Register.RevokeTokens(t.Context(), "test", revoked.id, ""); err != nil {
		t.Fatal(err)
	}
	e.Settled(t)
	after := everything(t, e)
	e.Stop(t)
	r, out := restored(t, to, moment)
	if out.Removals == 0 || out.Recalls != 1 || out.Raises != 3 {
		t.Errorf("%+v", out)
	}
	got := everything(t, r)
	if code, _, _ := r.Do(t, "GET", "/v1/self", revoked.id, revoked.token, ""); code != http.StatusUnauthorized {
		t.Error("a credential that was revoked since is good again:", code)
	}
	for c, list := range got {
		for _, o := range list {
			if slices.Contains(before[c], o) && !slices.Contains(after[c], o) {
				t.Errorf("collection %s has again what left it: %s", c, o)
			}
		}
		for _, o := range before[c] {
			if slices.Contains(after[c], o) && !slices.Contains(list, o) {
				t.Errorf("collection %s lacks what it had all the time: %s", c, o)
			}
		}
	}
	if has := (member{t, r, m.id, m.token}).has("board", 7); len(has) > 0 {
		t.Error("it has what was posted since")
	}
	if has := (member{t, r, m.id, m.token}).has("board", 2); len(has) != 1 {
		t.Error("what was raised is gone")
	}
}

// Who has read what a restore has taken back is told so, whichever way it reads; who has not goes on without a gap.
func TestAReaderOfWhatWasTakenBackIsTold(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	e := archived(t, t.TempDir(), to)
	e.Apply(t, writable)
	m := as(t, e, "cert-at")
	e.Publish(t, "rustock", hosts(0, 40, ""))
	e.Settled(t)
	// page is the cursor behind some objects from an instant on.
	page := func(e *exchangetest.Exchange, query string) (int, taxii.Envelope, string) {
		code, _, text := e.Do(t, "GET", "/exchange/collections/cert-at/objects/?"+query, m.id, m.token, "", "Accept", taxii.MediaType)
		var got taxii.Envelope
		_ = json.Unmarshal([]byte(text), &got)
		return code, got, text
	}
	stream := func(e *exchangetest.Exchange, last string) (int, string) {
		code, _, text := e.Do(t, "HEAD", "/v1/collections/cert-at/events", m.id, m.token, "", "Last-Event-ID", last)
		return code, text
	}
	_, early, _ := page(e, "limit=5")
	kept := strconv.FormatInt(e.View.Stats("cert-at").Last.UnixMicro(), 10)
	moment := now(t, e)
	e.Publish(t, "rustock", hosts(100, 40, ""))
	e.Settled(t)
	_, late, text := page(e, "limit=5&added_after="+moment.UTC().Format(time.RFC3339Nano))
	if !late.More || !early.More {
		t.Fatal(text)
	}
	lost := strconv.FormatInt(e.View.Stats("cert-at").Last.UnixMicro(), 10)
	e.Stop(t)
	r, _ := restored(t, to, moment)
	if code, _, text := page(r, "next="+late.Next); code != http.StatusConflict || !strings.Contains(text, "added_after") {
		t.Error(code, text)
	}
	if code, got, text := page(r, "next="+early.Next); code != http.StatusOK || len(got.Objects) == 0 {
		t.Error(code, text)
	}
	if code, _ := stream(r, lost); code != http.StatusConflict {
		t.Error(code)
	}
	if code, _ := stream(r, kept); code != http.StatusOK {
		t.Error(code)
	}
	// What comes now is behind all that ever was.
	r.Publish(t, "rustock", hosts(300, 2, ""))
	r.Settled(t)
	if code, got, text := page(r, "added_after="+at(t, lost)); code != http.StatusOK || len(got.Objects) == 0 {
		t.Error(code, text)
	}
}

// at is an instant as TAXII has it.
func at(t *testing.T, micro string) string {
	t.Helper()
	n, err := strconv.ParseInt(micro, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.UnixMicro(n).UTC().Format("2006-01-02T15:04:05.000000Z")
}

// A subscriber over NATS who has received a block that a restore has taken back is told, and does not take the next ones for those
// that it has.
func TestASubscriberIsToldOfARestore(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	e := archived(t, t.TempDir(), to)
	e.Apply(t, writable)
	m := as(t, e, "cert-at")
	e.Publish(t, "rustock", hosts(0, 10, ""))
	e.Settled(t)
	moment := now(t, e)
	e.Publish(t, "rustock", hosts(100, 10, ""))
	e.Publish(t, "rustock", hosts(200, 10, ""))
	e.Settled(t)
	chains, err := e.Journal.Verify(t.Context(), "cert-at")
	if err != nil {
		t.Fatal(err)
	}
	had := chains[0]
	ask := func(e *exchangetest.Exchange, from uint64, hash string) (int, string) {
		code, _, text := e.Do(t, "POST", fmt.Sprintf("/v1/collections/cert-at/subscription?ephemeral=true&from=%d&hash=%s", from, hash), m.id, m.token, "")
		return code, text
	}
	if code, text := ask(e, had.Blocks, had.Head); code != http.StatusOK {
		t.Fatal(code, text)
	}
	e.Stop(t)
	r, _ := restored(t, to, moment)
	if code, text := ask(r, had.Blocks, had.Head); code != http.StatusConflict || !strings.Contains(text, "restored") {
		t.Error(code, text)
	}
	for range 5 {
		r.Publish(t, "rustock", hosts(300, 2, ""))
	}
	r.Publish(t, "rustock", hosts(400, 2, ""))
	r.Publish(t, "rustock", hosts(500, 2, ""))
	r.Settled(t)
	if code, text := ask(r, had.Blocks, had.Head); code != http.StatusConflict {
		t.Error(code, text)
	}
	now, err := r.Journal.Verify(t.Context(), "cert-at")
	if err != nil || now[0].Blocks < had.Blocks {
		t.Fatal(now, err)
	}
	if code, text := ask(r, now[0].Blocks, now[0].Head); code != http.StatusOK {
		t.Error(code, text)
	}
}

// A restore can be followed by another, to a moment before or after the first: recalls and deletions hold, whichever of the two
// lines they were made in, and blocks of one are not taken for those of the other.
func TestARestoreAfterARestore(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	e := archived(t, t.TempDir(), to)
	e.Apply(t, writable)
	m := as(t, e, "cert-at")
	var at []time.Time
	for n := range 3 {
		e.Publish(t, "rustock", hosts(100*n, 20, ""))
		if why := m.add("board", sample(n, version1, "")); why != "" {
			t.Fatal(why)
		}
		e.Settled(t)
		at = append(at, now(t, e))
	}
	// In the first line a row of the second moment is recalled.
	if r := e.PublishAs(t, hosts(100, 1, ""), apiclient.Publication{Feed: "rustock", Recall: "wrong"}); r.Events != 1 {
		t.Fatalf("%+v", r)
	}
	e.Settled(t)
	now(t, e)
	e.Stop(t)
	// Back to the first moment, with the archive going on; other rows, and one of them recalled, so that a block is replaced.
	a, err := archive.Open(t.Context(), archive.Directory(to), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "second")
	if _, err := (&node.Restoring{Dir: dir, Archive: a, To: at[0], Place: to}).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	e = archived(t, dir, to)
	e.Publish(t, "rustock", hosts(700, 20, ""))
	e.Publish(t, "rustock", hosts(800, 20, ""))
	e.PublishAs(t, hosts(700, 2, ""), apiclient.Publication{Feed: "rustock", Recall: "wrong"})
	e.Settled(t)
	second, last := everything(t, e), now(t, e)
	e.Stop(t)
	for _, moment := range []time.Time{at[1], at[2]} { // of the first line
		r, out := restored(t, to, moment)
		if out.Recalls == 0 {
			t.Errorf("%+v", out)
		}
		got := everything(t, r)
		if slices.ContainsFunc(got["cert-at"], func(o string) bool { return strings.Contains(o, `"240.1.0.101"`) }) {
			t.Error("what was recalled is there again")
		}
		if !slices.ContainsFunc(got["cert-at"], func(o string) bool { return strings.Contains(o, `"240.1.0.103"`) }) {
			t.Error("what was there is not")
		}
		r.Stop(t)
	}
	r, _ := restored(t, to, last)
	differ(t, everything(t, r), second)
}
