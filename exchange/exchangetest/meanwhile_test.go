package exchangetest_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// What changes while something else is under way.

// A request that takes its time is decided under the register of its end.
func TestARightThatEndsWhileABodyComes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(e *exchangetest.Exchange){
		"the token": func(e *exchangetest.Exchange) { _, _ = e.Register.RevokeTokens(t.Context(), "test", "cert-at", "") },
		"the right": func(e *exchangetest.Exchange) {
			e.Apply(t, "collections: [{id: board, ceiling: amber, readers: all, writers: [dcu]}]")
		},
		"the ceiling": func(e *exchangetest.Exchange) {
			e.Apply(t, "collections: [{id: board, ceiling: clear, public: true, writers: all}]")
		},
	} {
		e := exchangetest.Start(t, writable)
		body, feed := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.HTTPURL()+boardObjects, body)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("cert-at", e.Token(t, "cert-at"))
		req.Header.Set("Content-Type", taxii.MediaType)
		answer := make(chan string, 1)
		go func() {
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				answer <- err.Error()
				return
			}
			text, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			answer <- fmt.Sprint(res.StatusCode, " ", string(text))
		}()
		text := envelope(sample(1, version1, `,"labels":["tlp:amber"]`))
		_, _ = io.WriteString(feed, text[:20])
		<-time.After(50 * time.Millisecond) // the request is in the server's hands
		change(e)
		_, _ = io.WriteString(feed, text[20:])
		_ = feed.Close()
		if got := <-answer; strings.Contains(got, `"success_count":1`) {
			t.Errorf("%s: %s", name, got)
		}
		if n := e.View.Stats("board").Objects; n != 0 {
			t.Errorf("%s: %d objects", name, n)
		}
	}
}

// A ceiling is lowered while what is above it is on its way: either the change is
// refused, or nothing above it arrives.
func TestACeilingIsNotLoweredBelowWhatIsOnItsWay(t *testing.T) {
	t.Parallel()
	for range 3 {
		e := exchangetest.Start(t, exchangetest.Register)
		done := make(chan struct{})
		go func() {
			defer close(done)
			e.Publish(t, "rustock", rows(4000, "2026-03-19", "AT"))
		}()
		for {
			intake, _, err := e.Journal.Ends(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if intake > 0 {
				break
			}
		}
		_, changeErr := e.Register.Change(t.Context(), "test", func(r *exchange.Register) error {
			r.Members[0].Clearance = tlp.Green
			return nil
		})
		<-done
		for _, c := range e.Register.Current().Collections() {
			if have := e.View.Stats(c.ID).Label; have > c.Ceiling {
				t.Errorf("%s holds %v, its ceiling is %v (%v)", c.ID, have, c.Ceiling, changeErr)
			}
		}
		e.Stop(t)
	}
}

// One object gets version after version while somebody reads it by its id:
// every version comes, and it is never gone.
func TestAnObjectIsReadWhileItGetsVersions(t *testing.T) {
	t.Parallel()
	const many = 400
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	id := property(sample(1, version1, ""), "id")[0]
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range many {
			e.Do(t, "POST", boardObjects, "cert-at", at, envelope(sample(1, time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC).Format("2006-01-02T15:04:05.000Z"), "")), "Content-Type", taxii.MediaType)
		}
	}()
	seen := make(map[string]bool)
	var after time.Time
	for last := false; ; {
		select {
		case <-done:
			last = true
		default:
		}
		p, err := e.View.Page(t.Context(), e.Reads("board"), view.Query{Facts: true, After: after, Limit: 100, IDs: []string{id}, Versions: []view.VersionMatch{{Kind: view.All}}})
		if err != nil {
			t.Fatal(err)
		}
		for o, err := range p.Facts() {
			if err != nil {
				t.Fatal(err)
			}
			seen[string(o.Version)], after = true, o.Added
		}
		if len(seen) > 0 {
			if q, err := e.View.Page(t.Context(), e.Reads("board"), view.Query{Limit: 1, IDs: []string{id}}); err != nil || q.Count != 1 {
				t.Fatalf("it is gone: %v", err)
			}
		}
		if last && p.Count == 0 {
			break
		}
	}
	if len(seen) != many {
		t.Errorf("%d of %d versions", len(seen), many)
	}
}

// A collection whose chain does not hold takes nothing, and says so.
func TestABrokenCollectionTakesNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	broken := &record.Block{Collection: "board", Number: 99, Count: 1, AddedFirst: time.Now(), Sequence: e.View.AppliedBlocks() + 1}
	if err := e.View.ApplyBlock(broken); err != nil {
		t.Fatal(err)
	}
	if code, h, text := e.Do(t, "POST", boardObjects, "cert-at", at, envelope(sample(1, version1, "")), "Content-Type", taxii.MediaType); code != http.StatusServiceUnavailable || h.Get("Retry-After") == "" {
		t.Errorf("%d %s", code, text)
	}
}
