package webhook

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// testClient is a client of a server of the test's, which counts what of bodies has reached it.
func testClient(t *testing.T, h http.HandlerFunc) (c *client, received *atomic.Int64) {
	received = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		received.Add(n)
		h(w, r)
	}))
	t.Cleanup(server.Close)
	s := &Sender{Pace: Pace{Try: time.Second, Least: time.Millisecond}}
	s.SetRegister(&exchange.Register{})
	return s.client(&exchange.Webhook{URL: server.URL, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}), received
}

// What may not leave any more when there is a connection does not, with the first try and with a retry.
func TestEachTryIsAskedFor(t *testing.T) {
	c, received := testClient(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	for first := range 3 {
		received.Store(0)
		asked := 0
		err := c.send(t.Context(), sealed{&delivery{id: "x", body: []byte("secret")}, nil}, 5, func() error {
			if asked++; asked > first {
				return errStale
			}
			return nil
		})
		if !errors.Is(err, errStale) || received.Load() != int64(first*len("secret")) || asked != first+1 {
			t.Error(first, err, received.Load(), asked)
		}
	}
}

func TestOutcomes(t *testing.T) {
	for code, kind := range map[int]string{200: "", 204: "", 299: "", 301: "refused", 404: "refused", 410: "refused", 408: "later", 425: "later", 429: "later", 500: "later", 503: "later", 599: "later"} {
		c, _ := testClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("Retry-After", "1000000")
			w.WriteHeader(code)
		})
		err := c.send(t.Context(), sealed{&delivery{id: "x", body: []byte("y")}, nil}, 0, func() error { return nil })
		var no *refusal
		got := "later"
		if err == nil {
			got = ""
		} else if errors.As(err, &no) {
			got = "refused"
		}
		if got != kind {
			t.Error(code, err)
		}
	}
}
