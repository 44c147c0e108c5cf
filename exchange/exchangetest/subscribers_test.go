package exchangetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// subscribed starts to receive cert-at's collection, and returns the numbers of the blocks that come.
func subscribed(t *testing.T, e *exchangetest.Exchange, token, from string) <-chan uint64 {
	t.Helper()
	blocks := make(chan uint64, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() { cancel(); <-done })
	go func() {
		defer close(done)
		err := client(e, "cert-at", token).Subscribe(ctx, "cert-at", from, func(b *apiclient.Block) error {
			blocks <- b.Number
			return nil
		})
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	return blocks
}

func receives(t *testing.T, who string, blocks <-chan uint64, want ...uint64) {
	t.Helper()
	for _, n := range want {
		select {
		case got := <-blocks:
			if got != n {
				t.Fatalf("%s has got block %d, not %d", who, got, n)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("%s does not get block %d", who, n)
		}
	}
}

// Each subscriber of a member gets everything, and none ends or moves another, nor the member's
// durable consumer.
func TestSubscribersDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	token := e.Token(t, "cert-at")
	publish := func(i int) {
		e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc\n240.0.0.%d,2026-03-19T00:00:00Z,AT\n", i))
	}
	publish(1)
	first := subscribed(t, e, token, "start")
	receives(t, "the first", first, 1)
	second := subscribed(t, e, token, "start")
	receives(t, "the second", second, 1)
	publish(2)
	third := subscribed(t, e, token, "2")
	receives(t, "the first", first, 2)
	receives(t, "the second", second, 2)
	receives(t, "the third", third, 2)
	durable, err := e.Journal.Deliveries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for c := range durable {
		if c.Own == "" {
			t.Errorf("%s was used", c.Name())
		}
	}
	// What went out to them is on record.
	audited(t, e, func(a *exchange.AuditEntry) bool {
		return a.Action == exchange.AuditConnected && a.Member == "cert-at" && a.From == "127.0.0.1"
	})
	own, err := e.Journal.OwnConsumers(t.Context(), "cert-at")
	if err != nil || len(own) != 3 {
		t.Fatal(own, err)
	}
	// Nobody else may pull from them.
	nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-pl", e.Token(t, "cert-pl")), nats.CustomInboxPrefix("_INBOX.cert-pl"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	for _, c := range own {
		if m, err := nc.Request("$JS.API.CONSUMER.MSG.NEXT.TOCSIN_BLOCKS."+c.Name(), []byte(`{"batch":1,"no_wait":true}`), time.Second); err == nil {
			t.Errorf("cert-pl has got an answer of %s: %s", c.Name(), m.Data)
		}
	}
	// One member's subscribers are bounded.
	codes := make(map[int]int)
	for range 40 {
		code, _, _ := e.Do(t, "POST", "/v1/collections/cert-at/subscription?ephemeral=true", "cert-at", token, "")
		codes[code]++
	}
	if codes[http.StatusOK] != 32-3 || codes[http.StatusTooManyRequests] != 40-29 {
		t.Error(codes)
	}
}

// Programs of a member that give a name have a durable consumer each: everything comes to each, it keeps its place, and goes
// with the member's right to the collection.
func TestNamedConsumersKeepTheirPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	token := e.Token(t, "cert-at")
	named := func(query string) (durable string) {
		t.Helper()
		code, _, text := e.Do(t, "POST", "/v1/collections/cert-at/subscription?"+query, "cert-at", token, "")
		var s api.Subscription
		if err := json.Unmarshal([]byte(text), &s); code != http.StatusOK || err != nil {
			t.Fatal(code, text)
		}
		return s.Durable
	}
	next := func(durable, want string) {
		t.Helper()
		nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", token), nats.CustomInboxPrefix("_INBOX.cert-at"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		c, err := js.Consumer(t.Context(), exchange.BlocksStream, durable)
		if err != nil {
			t.Fatal(err)
		}
		m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil {
			t.Fatalf("%s gives no block %s: %v", durable, want, err)
		}
		if got := m.Headers().Get("Tocsin-Block"); got != want {
			t.Errorf("%s gives block %s, not %s", durable, got, want)
		}
		if err := m.DoubleAck(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i := range 3 {
		e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc\n240.0.0.%d,2026-03-19T00:00:00Z,AT\n", i+1))
	}
	siem, tickets := named("name=siem"), named("name=tickets&from=2")
	next(siem, "1")
	next(tickets, "2")
	httpAt, natsAt := strings.TrimPrefix(e.HTTPURL(), "http://"), strings.TrimPrefix(e.NATSURL(), "nats://")
	e.Stop(t)
	e = exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: httpAt, NATS: natsAt})
	if again := named("name=siem"); again != siem {
		t.Errorf("siem is at %s, then at %s", siem, again)
	}
	next(siem, "2")
	next(named("name=tickets&from=start"), "1")
	next(siem, "3")
	for _, query := range []string{"name=../x", "name=a.b", "name=", "name=&from=now", "name=siem&ephemeral=true", "name=" + strings.Repeat("x", 49)} {
		if code, _, text := e.Do(t, "POST", "/v1/collections/cert-at/subscription?"+query, "cert-at", token, ""); code != http.StatusBadRequest {
			t.Error(query, code, text)
		}
	}
	code, _, text := e.Do(t, "POST", "/v1/collections/cert-at/subscription?name=siem", "cert-pl", e.Token(t, "cert-pl"), "")
	if code != http.StatusNotFound {
		t.Error("cert-pl makes a consumer of cert-at's:", code, text)
	}
	codes := make(map[int]int)
	for i := range 40 {
		code, _, _ := e.Do(t, "POST", fmt.Sprintf("/v1/collections/cert-at/subscription?name=n%d", i), "cert-at", token, "")
		codes[code]++
	}
	if codes[http.StatusOK] != 32-2 || codes[http.StatusTooManyRequests] != 40-30 {
		t.Error(codes)
	}
	for _, want := range []string{`{"removed":true}`, `{"removed":false}`} {
		if code, _, text := e.Do(t, "DELETE", "/v1/collections/cert-at/subscription?name=n0", "cert-at", token, ""); code != http.StatusOK || strings.TrimSpace(text) != want {
			t.Error("one that is not needed any more:", code, text)
		}
	}
	if code, _, text := e.Do(t, "DELETE", "/v1/collections/cert-at/subscription?name=siem", "cert-pl", e.Token(t, "cert-pl"), ""); code != http.StatusNotFound {
		t.Error("cert-pl removes a consumer of cert-at's:", code, text)
	}
	named("name=n39")
	if code, _, text := e.Do(t, "POST", "/v1/collections/community/subscription?name=siem", "cert-at", token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	e.Apply(t, "collections: [{id: community, ceiling: green, readers: [cert-pl]}]")
	own, err := e.Journal.OwnConsumers(t.Context(), "cert-at")
	if err != nil || len(own) != 32 || slices.ContainsFunc(own, func(c journal.Consumer) bool { return c.Collection != "cert-at" }) {
		t.Errorf("32 consumers of cert-at are left, and none of what it reads no more: %v %v", own, err)
	}
}

// A subscriber goes on where it was when the exchange comes back without its consumer.
func TestASubscriberSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	token := e.Token(t, "cert-at")
	fresh := subscribed(t, e, token, "now") // when there is nothing yet
	for own := 0; own == 0; <-time.After(5 * time.Millisecond) {
		list, err := e.Journal.OwnConsumers(t.Context(), "cert-at")
		if own = len(list); err != nil {
			t.Fatal(err)
		}
	}
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T00:00:00Z,AT\n")
	receives(t, "who began before there was anything", fresh, 1)
	blocks, late := subscribed(t, e, token, "start"), subscribed(t, e, token, "now")
	receives(t, "it", blocks, 1)
	for used := 0; used < 3; <-time.After(5 * time.Millisecond) { // late passes over what is there
		list, err := e.Journal.Deliveries(t.Context())
		if used = len(list); err != nil {
			t.Fatal(err)
		}
	}
	httpAt, natsAt := strings.TrimPrefix(e.HTTPURL(), "http://"), strings.TrimPrefix(e.NATSURL(), "nats://")
	e.Stop(t)
	e = exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: httpAt, NATS: natsAt})
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.2,2026-03-19T00:00:00Z,AT\n")
	receives(t, "it", blocks, 2)
	receives(t, "who began now, and got nothing before the restart,", late, 2)
}

// Failed log-ins over NATS are held to the same limit as over HTTP, and the audit has their address.
func TestGuessesOverNATSAreLimited(t *testing.T) {
	t.Parallel()
	e := limited(t, api.Limits{Logins: 0.01})
	token := e.Token(t, "cert-at")
	connect := func(token string) error {
		nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", token), nats.NoReconnect())
		if err == nil {
			nc.Close()
		}
		return err
	}
	const burst = 20
	for i := range burst + 2 {
		began := time.Now()
		if err := connect("guess"); err == nil {
			t.Fatal("a wrong token was taken")
		}
		if late := time.Since(began) >= time.Second; late != (i >= burst) {
			t.Errorf("guess %d is answered after %v", i, time.Since(began))
		}
	}
	if err := connect(token); err != nil {
		t.Error("the member is locked out:", err)
	}
	if code, _, _ := e.Do(t, "GET", "/v1/self", "cert-at", "guess", ""); code != http.StatusTooManyRequests {
		t.Error("over HTTP guessing goes on:", code)
	}
	for _, action := range []exchange.AuditAction{exchange.AuditFailedLogin, exchange.AuditLimited} {
		audited(t, e, func(a *exchange.AuditEntry) bool {
			return a.Action == action && a.Channel == exchange.ChannelNATS && a.From == "127.0.0.1"
		})
	}
	var failed int64
	err := e.Journal.EachAudit(t.Context(), time.Time{}, func(a *exchange.AuditEntry) bool {
		if a.Action == exchange.AuditFailedLogin && slices.Contains([]exchange.Channel{exchange.ChannelNATS}, a.Channel) {
			failed += max(a.Times, 1)
		}
		return true
	})
	if err != nil || failed != burst {
		t.Errorf("%d failed log-ins on record, %d before the limit: %v", failed, burst, err)
	}
}

// Who reads a collection over NATS again and again, from its start, is in the audit each time.
func TestEachReadingOverNATSIsAudited(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	token := e.Token(t, "cert-at")
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T00:00:00Z,AT\n")
	const times = 4
	for range times {
		code, _, text := e.Do(t, "POST", "/v1/collections/cert-at/subscription?from=start", "cert-at", token, "")
		if code != http.StatusOK {
			t.Fatal(code, text)
		}
		nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", token), nats.CustomInboxPrefix("_INBOX.cert-at"))
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		stream, durable := exchange.Consumer("cert-at", "cert-at")
		c, err := js.Consumer(t.Context(), stream, durable)
		if err != nil {
			t.Fatal(err)
		}
		if m, err := c.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil || m.DoubleAck(t.Context()) != nil {
			t.Fatal(err)
		}
		nc.Close()
	}
	if err := e.Journal.AuditDeliveries(t.Context()); err != nil {
		t.Fatal(err)
	}
	var found int64
	for deadline := time.Now().Add(10 * time.Second); found < times && time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		found = 0
		err := e.Journal.EachAudit(t.Context(), time.Time{}, func(a *exchange.AuditEntry) bool {
			if a.Action == exchange.AuditRead && a.Channel == exchange.ChannelNATS && strings.HasPrefix(a.Detail, "up to block") {
				found += max(a.Times, 1)
			}
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found != times {
		t.Errorf("read %d times, and the audit has %d", times, found)
	}
}

// Who floods the exchange over NATS is cut and not let in for a while; others are not touched.
func TestWhoFloodsNATSIsCut(t *testing.T) {
	t.Parallel()
	e := limited(t, api.Limits{Requests: 200})
	token, other := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	connect := func(member, token string) (*nats.Conn, error) {
		return nats.Connect(e.NATSURL(), nats.UserInfo(member, token), nats.NoReconnect(), nats.CustomInboxPrefix("_INBOX."+member))
	}
	calm, err := connect("cert-pl", other)
	if err != nil {
		t.Fatal(err)
	}
	defer calm.Close()
	nc, err := connect("cert-at", token)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	stream, durable := exchange.Consumer("cert-at", "cert-at")
	for deadline := time.Now().Add(20 * time.Second); !nc.IsClosed() && time.Now().Before(deadline); {
		for range 100 {
			_ = nc.PublishRequest("$JS.API.CONSUMER.INFO."+stream+"."+durable, nc.NewRespInbox(), nil) // it is cut meanwhile
		}
		<-time.After(time.Millisecond)
	}
	if !nc.IsClosed() {
		t.Error("the flood goes on")
	}
	if nc, err := connect("cert-at", token); err == nil {
		nc.Close()
		t.Error("it is let in at once")
	}
	if calm.IsClosed() {
		t.Error("another member is cut with it")
	}
	if code, _, text := e.Do(t, "GET", "/v1/self", "cert-at", token, ""); code != http.StatusOK {
		t.Error("over HTTP it is refused as well:", text)
	}
	audited(t, e, func(a *exchange.AuditEntry) bool {
		return a.Action == exchange.AuditLimited && a.Member == "cert-at" && a.Channel == exchange.ChannelNATS
	})
}

// Who connects again and again to send a little each time is cut as well.
func TestWhoFloodsNATSByConnectingIsCut(t *testing.T) {
	t.Parallel()
	e := limited(t, api.Limits{Requests: 200})
	token := e.Token(t, "cert-at")
	stream, durable := exchange.Consumer("cert-at", "cert-at")
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		nc, err := nats.Connect(e.NATSURL(), nats.UserInfo("cert-at", token), nats.NoReconnect(), nats.CustomInboxPrefix("_INBOX.cert-at"))
		if err != nil {
			audited(t, e, func(a *exchange.AuditEntry) bool {
				return a.Action == exchange.AuditLimited && a.Member == "cert-at" && a.Channel == exchange.ChannelNATS
			})
			return
		}
		for range 150 {
			_ = nc.PublishRequest("$JS.API.CONSUMER.INFO."+stream+"."+durable, nc.NewRespInbox(), nil) // it may be cut
		}
		_ = nc.Flush()
		nc.Close()
	}
	t.Error("the flood goes on")
}
