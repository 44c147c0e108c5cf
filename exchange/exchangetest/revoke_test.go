package exchangetest_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// soon is how long a right may outlive its end.
const soon = 5 * time.Second

// halfRead asks for a page that no socket's buffers hold, and reads no more than its headers.
func halfRead(t *testing.T, e *exchangetest.Exchange, path, user, token string) (in *bufio.Reader, size int64) {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAccept: %s\r\nAuthorization: Basic %s\r\n\r\n", path, taxii.MediaType, base64.StdEncoding.EncodeToString([]byte(user+":"+token)))
	if err != nil {
		t.Fatal(err)
	}
	in = bufio.NewReaderSize(c, 4096)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := strings.CutPrefix(line, "Content-Length: "); ok {
			size, _ = strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		}
		if line == "\r\n" {
			return in, size
		}
	}
}

// large fills a collection with a page that is larger than any socket's buffers.
func large(t *testing.T, e *exchangetest.Exchange, m member, collection string) {
	t.Helper()
	for n := range 30 {
		post(t, e, collection, m.id, m.token, envelope(sample(100+n, version1, `,"description":"`+strings.Repeat("x", 500_000)+`"`)))
	}
}

// Whatever is open when a credential is revoked, a right taken away, or a credential ends, is cut; and the
// audit says so.
func TestRevokedIsCut(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(e *exchangetest.Exchange) error{
		"revoked": func(e *exchangetest.Exchange) error {
			_, err := e.Register.RevokeTokens(context.Background(), "test", "cert-at", "open")
			return err
		},
		"no reader": func(e *exchangetest.Exchange) error {
			_, err := e.Register.Change(context.Background(), "test", func(r *exchange.Register) error {
				for i := range r.Declared {
					r.Declared[i].Readers = nil
				}
				return nil
			})
			return err
		},
		"expired": func(*exchangetest.Exchange) error { <-time.After(2 * time.Second); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := exchangetest.Start(t, writable)
			dcu := as(t, e, "dcu")
			large(t, e, dcu, "board")
			of := exchange.Token{Name: "open"}
			if name == "expired" {
				of.Expires = time.Now().Add(2 * time.Second)
			}
			token, _, err := e.Register.NewToken(t.Context(), "test", "cert-at", of)
			if err != nil {
				t.Fatal(err)
			}
			in, size := halfRead(t, e, boardObjects, "cert-at", token)
			stream := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				stream <- client(e, "cert-at", token).Events(ctx, "board", "now", "", func(*apiclient.Event) error { return nil })
			}()
			gone := make(chan struct{}, 10)
			nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", token), nats.CustomInboxPrefix("_INBOX.cert-at"), nats.NoReconnect(),
				nats.DisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} }))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			durable := "cert-at_board"
			if _, err := nc.Request("$JS.API.CONSUMER.INFO.TOCSIN_BLOCKS."+durable, nil, 2*time.Second); err != nil {
				t.Fatal(err)
			}
			if err := end(e); err != nil {
				t.Fatal(err)
			}
			over := time.Now()
			select {
			case <-gone:
			case <-time.After(soon):
				t.Error("NATS is still connected")
			}
			select {
			case err := <-stream:
				var answer *apiclient.Error
				if !errors.As(err, &answer) || answer.Status != http.StatusUnauthorized && answer.Status != http.StatusNotFound {
					t.Error("the event stream went on:", err)
				}
			case <-time.After(soon - time.Since(over)):
				t.Error("the event stream goes on")
			}
			<-time.After(time.Until(over.Add(soon - time.Second))) // and only then it reads on
			if n, err := io.CopyN(io.Discard, in, size); n >= size {
				t.Errorf("the page came whole: %d of %d bytes, %v", n, size, err)
			}
			for _, want := range []func(a *exchange.AuditEntry) bool{
				func(a *exchange.AuditEntry) bool { return a.Channel == exchange.ChannelNATS },
				func(a *exchange.AuditEntry) bool { return a.Channel == "" && strings.HasPrefix(a.Detail, "GET") },
			} {
				audited(t, e, func(a *exchange.AuditEntry) bool {
					return a.Action == exchange.AuditCut && a.Member == "cert-at" && want(a)
				})
			}
		})
	}
}

// Tokens are changed without a gap: the next one works before the one before is revoked.
func TestTokensRotateWithoutAGap(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	first := e.Token(t, "cert-at")
	second := e.Token(t, "cert-at")
	for _, token := range []string{first, second} {
		if code, _, text := e.Do(t, "GET", "/v1/self", "cert-at", token, ""); code != 200 {
			t.Error(text)
		}
	}
	if code, _, text := e.Do(t, "DELETE", "/v1/members/cert-at/tokens/token-1", exchange.Admin, e.AdminToken(), ""); code != 200 {
		t.Fatal(text)
	}
	if code, _, _ := e.Do(t, "GET", "/v1/self", "cert-at", first, ""); code != 401 {
		t.Error("the revoked one still works:", code)
	}
	code, _, text := e.Do(t, "GET", "/v1/self", "cert-at", second, "")
	if code != 200 || !strings.Contains(text, `"token-2"`) {
		t.Error(code, text)
	}
	_, _, text = e.Do(t, "GET", "/v1/members/cert-at/tokens", exchange.Admin, e.AdminToken(), "")
	if !strings.Contains(text, "last_used") || strings.Contains(text, "token-1") || strings.Contains(text, exchange.HashToken(second)) {
		t.Error(text)
	}
}
