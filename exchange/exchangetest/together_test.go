package exchangetest_test

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// Readers share what is read for them; each still gets all that came behind
// where it started, and an address that is repeated once.
func TestReadersOfOneCollectionGetTheirOwn(t *testing.T) {
	t.Parallel()
	const publications, readers = 8, 40
	e := exchangetest.Start(t, exchangetest.Register)
	at := e.Token(t, "cert-at")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type reader struct {
		from taxiiclient.Cursor // where TAXII starts to give the same
		mu   sync.Mutex         // guards got
		got  []string
	}
	all := make([]*reader, readers)
	var wg sync.WaitGroup
	for n := range publications {
		// The same addresses on another day: they come again.
		e.Publish(t, "rustock", rows(30, "2026-03-"+strconv.Itoa(10+n), "AT"))
		last := e.View.Stats("cert-at").Blocks
		for i := n; i < readers; i += publications {
			r, from := &reader{}, ""
			all[i] = r
			if i%2 == 1 { // the last block comes again
				b, _, err := e.View.Block("cert-at", last)
				if err != nil {
					t.Fatal(err)
				}
				r.from.AddedAfter, from = b.Added.Add(-time.Microsecond), strconv.FormatUint(last, 10)
			}
			wg.Go(func() {
				_ = client(e, "cert-at", at).Events(ctx, "cert-at", from, "", func(ev *apiclient.Event) error {
					return stix.Objects(ev.Bundle, func(raw []byte) error {
						r.mu.Lock()
						defer r.mu.Unlock()
						if text := string(raw); exchangetest.OfAHost(text) || !slices.Contains(r.got, text) { // as Pull does
							r.got = append(r.got, text)
						}
						return nil
					})
				})
			})
		}
	}
	for i, r := range all {
		want, _ := e.Pull(t, "cert-at", r.from, taxii.Filter{})
		for deadline := time.Now().Add(20 * time.Second); ; <-time.After(5 * time.Millisecond) {
			r.mu.Lock()
			got := slices.Clone(r.got)
			r.mu.Unlock()
			if slices.Equal(got, want) {
				break
			}
			if len(got) > len(want) || time.Now().After(deadline) {
				t.Fatalf("reader %d has %d objects, want %d", i, len(got), len(want))
			}
		}
	}
	cancel()
	wg.Wait()
}

// Whoever asks while the view is made is told to come again, and never gets a
// page that lacks something.
func TestAnExchangeThatCatchesUpSaysSo(t *testing.T) { // alone: another could take its port
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(20_000, "2026-03-10", "AT"))
	want, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	token := e.AdminToken()
	e.Stop(t)
	if err := node.Rebuild(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	done, waits := make(chan struct{}), 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			path := []string{"/exchange/collections/cert-at/objects/", "/v1/collections", "/readyz", "/v1/collections/cert-at/events"}[n%4]
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+path, nil)
			req.SetBasicAuth("admin", token)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				continue // it does not listen yet
			}
			_ = res.Body.Close()
			switch {
			case res.StatusCode == http.StatusServiceUnavailable && res.Header.Get("Retry-After") != "":
				waits++
			case res.StatusCode != http.StatusOK:
				t.Errorf("%s: %s", path, res.Status)
			}
		}
	})
	e = exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: address})
	close(done)
	wg.Wait()
	if waits == 0 {
		t.Error("nobody was told to wait")
	}
	if got, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{}); !slices.Equal(got, want) {
		t.Errorf("%d objects after the rebuild, %d before", len(got), len(want))
	}
}

// An address that a host called comes as an infected host's later, or at the same
// time: it is one object still, and comes once.
func TestAnAddressThatWasCalledIsOneObject(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	row := func(ip, dst string) string {
		return "2026-03-19 00:00:00," + ip + ",1024,1,AT,rustock," + dst + ",80,\n"
	}
	e.Publish(t, "rustock", header+row("240.0.0.1", "240.0.0.9")+row("240.0.0.9", "240.0.0.1"))
	e.Publish(t, "rustock", header+row("240.0.0.2", "240.0.0.5"))
	e.Publish(t, "rustock", header+row("240.0.0.5", "240.0.0.2"))
	for _, collection := range []string{"cert-at", "feed-rustock"} {
		list, _ := e.Pull(t, collection, taxiiclient.Cursor{}, taxii.Filter{})
		seen := make(map[string]bool)
		for _, o := range list {
			id := property(o, "id")[0]
			if seen[id] {
				t.Errorf("%s has %s twice", collection, id)
			}
			seen[id] = true
		}
		if len(list) < 4*6 {
			t.Errorf("%s has %d objects", collection, len(list))
		}
	}
}
