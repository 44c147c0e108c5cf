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
	const publications, readers = 8, 40
	e := exchangetest.Start(t, exchangetest.Register)
	at := e.Token(t, "cert-at")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	type reader struct {
		started []string // what was there before
		got     []string
	}
	all := make([]*reader, readers)
	var mu sync.Mutex // guards what readers got
	var wg sync.WaitGroup
	whole := func() []string {
		list, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
		return list
	}
	follow := func(r *reader, from string) {
		wg.Go(func() {
			_ = client(e, "cert-at", at).Events(ctx, "cert-at", from, "", func(ev *apiclient.Event) error {
				return stix.Objects(ev.Bundle, func(raw []byte) error {
					mu.Lock()
					defer mu.Unlock()
					r.got = append(r.got, string(raw))
					return nil
				})
			})
		})
	}
	block := uint64(0)
	for n := range publications {
		// The same addresses on another day: they come again.
		e.Publish(t, "rustock", rows(30, "2026-03-"+strconv.Itoa(10+n), "AT"))
		for i := range readers {
			if i%publications != n {
				continue
			}
			all[i] = &reader{}
			from := ""
			if i%2 == 1 {
				block = e.View.Stats("cert-at").Blocks
				from = strconv.FormatUint(block, 10) // the last one comes again
			}
			follow(all[i], from)
		}
	}
	want := whole()
	mine := func(r *reader) (ids []string) {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(r.got)
	}
	for i, r := range all {
		deadline := time.Now().Add(20 * time.Second)
		for {
			got := mine(r)
			slices.Sort(got)
			unique := slices.Compact(slices.Clone(got))
			if len(unique) != len(got) {
				t.Fatalf("reader %d got an object twice", i)
			}
			// From the start: exactly what is there. Later: its end, and each address
			// that the rest refers to.
			last := want[len(want)-30*7:]
			missing := slices.ContainsFunc(last, func(o string) bool { _, ok := slices.BinarySearch(got, o); return !ok })
			if i%2 == 0 && len(got) == len(want) || i%2 == 1 && !missing {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("reader %d has %d objects of %d, the end missing: %v", i, len(got), len(want), missing)
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	cancel()
	wg.Wait()
}

// Whoever asks while the view is made is told to come again, and never gets a
// page that lacks something.
func TestAnExchangeThatCatchesUpSaysSo(t *testing.T) {
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(20_000, "2026-03-10", "AT"))
	want, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	token := e.AdminToken()
	e.Stop(t)
	if err := node.Rebuild(dir); err != nil {
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
