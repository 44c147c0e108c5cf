package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// maxAnswer bounds what is read of an answer, in bytes; nobody looks at it.
const maxAnswer = 64 << 10

// refusal is the answer of a receiver that does not want what it was sent.
type refusal struct{ status int }

func (e *refusal) Error() string {
	if e.status < 400 {
		return fmt.Sprintf("the receiver answered %d %s: redirections are not followed", e.status, http.StatusText(e.status))
	}
	return fmt.Sprintf("the receiver answered %d %s", e.status, http.StatusText(e.status))
}

// barred is an address that the webhook may not be at.
type barred struct{ error }

// client sends to one receiver. It connects to no address that the webhook may not be at, whatever
// its name resolves to, and through no proxy, which would connect for it.
type client struct {
	url  string
	http *http.Client
	wait time.Duration
}

func (s *Sender) client(w *exchange.Webhook) *client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if err := Reachable(w, at.Addr(), s.force.Load().Register); err != nil {
			return &barred{err}
		}
		return nil
	}}
	return &client{url: w.URL, wait: s.Pace.Least, http: &http.Client{
		Timeout:       s.Pace.Try,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: taxii.TLS(), TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10, MaxConnsPerHost: 1, IdleConnTimeout: 2 * time.Minute, DisableCompression: true,
		},
	}}
}

func (c *client) close() { c.http.CloseIdleConnections() }

// sealed is a delivery with the keys that it is signed with.
type sealed struct {
	*delivery
	keys [][]byte
}

func (h *hook) sealed(r *inForce, d *delivery) sealed {
	return sealed{d, r.WebhookKeys(h.Secret, r.Member(h.Member))}
}

// sign signs a request as of now.
//
// Source: Standard Webhooks 1.0.0: HMAC-SHA256 over id, time in seconds since 1970, and body.
func (s sealed) sign(req *http.Request) {
	now := strconv.FormatInt(time.Now().Unix(), 10)
	signatures := make([]string, 0, len(s.keys))
	for _, key := range s.keys {
		mac := hmac.New(sha256.New, key)
		_, _ = mac.Write([]byte(s.id + "." + now + "."))
		_, _ = mac.Write(s.body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	req.Header.Set("Webhook-Id", s.id)
	req.Header.Set("Webhook-Timestamp", now)
	req.Header.Set("Webhook-Signature", strings.Join(signatures, " "))
}

// errStale means that what a delivery is made of may have changed since.
var errStale = errors.New("what is sent may not leave any more")

// stopped is an error of ours, not of the receiver's.
type stopped struct{ err error }

func (e *stopped) Error() string { return e.err.Error() }
func (e *stopped) Unwrap() error { return e.err }

// guarded is a body that is asked for its like before it goes out.
type guarded struct {
	body  *bytes.Reader
	may   func() error
	asked bool
}

// Len is what is left of it, in bytes.
func (g *guarded) Len() int { return g.body.Len() }

func (g *guarded) Read(b []byte) (int, error) {
	if !g.asked {
		if err := g.may(); err != nil {
			return 0, err
		}
		g.asked = true
	}
	return g.body.Read(b)
}

// send returns nil when the receiver has taken a delivery, a refusal when it says that it never will, and what
// may has said where that was the end of it. may is asked with each try, when there is a connection.
func (c *client) send(ctx context.Context, s sealed, retries int, may func() error) error {
	var stop atomic.Pointer[stopped] // the body is read beside this
	again := &retryablehttp.Client{
		HTTPClient: c.http, RetryMax: retries, RetryWaitMin: min(time.Second, c.wait), RetryWaitMax: maxRetryWait, ErrorHandler: retryablehttp.PassthroughErrorHandler,
		CheckRetry: func(ctx context.Context, res *http.Response, err error) (bool, error) {
			if s := stop.Load(); s != nil {
				return false, s
			}
			return retryablehttp.DefaultRetryPolicy(ctx, res, err)
		},
		Backoff: func(least, most time.Duration, n int, res *http.Response) time.Duration {
			return min(retryablehttp.DefaultBackoff(least, most, n, res), most) // whatever Retry-After says
		},
		PrepareRetry: func(req *http.Request) error { s.sign(req); return nil },
	}
	body := func() (io.Reader, error) {
		return &guarded{body: bytes.NewReader(s.body), may: func() error {
			if err := may(); err != nil {
				s := &stopped{err}
				stop.Store(s)
				return s
			}
			return nil
		}}, nil
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, http.MethodPost, c.url, body)
	if err != nil {
		return outcome(nil, err)
	}
	maps.Copy(req.Header, s.header)
	req.Header.Set("User-Agent", "tocsin")
	s.sign(req.Request)
	res, err := again.Do(req)
	if err == nil {
		_, _ = io.CopyN(io.Discard, res.Body, maxAnswer) // so that the connection can be used again
		_ = res.Body.Close()
	}
	if s := stop.Load(); s != nil {
		return s
	}
	if err != nil {
		return outcome(nil, err)
	}
	return outcome(res, nil)
}

// outcome is what came of a try, in our own words: those of the receiver can hold what it was sent, and an
// error's the URL, or what is the operator's own.
func outcome(res *http.Response, err error) error {
	var far *net.OpError
	var name *net.DNSError
	var barred *barred
	var cert *tls.CertificateVerificationError
	switch {
	case err == nil && res.StatusCode/100 == 2:
		return nil
	case err == nil && (res.StatusCode >= 500 || slices.Contains([]int{http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests}, res.StatusCode)):
		return fmt.Errorf("the receiver answered %d %s", res.StatusCode, http.StatusText(res.StatusCode))
	case err == nil:
		return &refusal{res.StatusCode}
	case errors.As(err, &barred):
		return barred
	case errors.As(err, &name):
		return errors.New("the receiver's name has no address")
	case errors.As(err, &cert):
		return errors.New("the receiver's certificate is not good for its name, or not of an authority that is known here")
	case os.IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
		return errors.New("the receiver did not answer in time")
	case errors.Is(err, syscall.ECONNREFUSED):
		return errors.New("nobody listens there: connection refused")
	case errors.As(err, &far):
		return errors.New("the connection to the receiver failed")
	}
	return errors.New("the receiver answered nothing that is HTTP")
}
