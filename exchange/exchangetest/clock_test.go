package exchangetest_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// A machine's clock that is wrong, at a start or while the exchange runs, deletes nothing and leaves no stamp of its own.
func TestAClockThatIsWrongDoesNoHarm(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var off atomic.Int64
	open := func() *exchangetest.Exchange {
		return exchangetest.OpenWith(t, node.Options{
			Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", KeepAudit: 400 * 24 * time.Hour,
			Wall: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		})
	}
	e := open()
	e.Apply(t, retaining)
	m := as(t, e, "cert-at")
	last := time.Time{}
	rise := func() time.Time {
		t.Helper()
		e.Publish(t, "rustock", hosts(int(time.Now().UnixNano()%50_000), 1, ""))
		if why := m.add("board", sample(int(time.Now().UnixNano()%1_000_000), version1, "")); why != "" {
			t.Fatal(why)
		}
		e.Settled(t)
		at := e.View.Stats("board").Last
		if !at.After(last) {
			t.Errorf("a stamp of %v behind one of %v", at, last)
		}
		last = at
		return at
	}
	near := func(at time.Time) {
		t.Helper()
		if d := time.Since(at); d < -time.Minute || d > time.Minute {
			t.Errorf("a stamp of %v, at %v", at, time.Now())
		}
	}
	near(rise())
	receipt, err := (&apiclient.Client{Server: e.HTTPURL(), User: exchange.Admin, Token: e.AdminToken(), HTTP: taxiiclient.NewHTTP()}).Publish(t.Context(), strings.NewReader(hosts(1, 5, "")), apiclient.Publication{Feed: "rustock"})
	if err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	// While it runs: two years ahead, and right again; an hour back; a day ahead.
	for _, x := range []time.Duration{2 * year, 0, 24 * time.Hour, 0} {
		off.Store(int64(x))
		near(rise())
	}
	off.Store(int64(-time.Hour))
	rise()
	off.Store(0)
	rise()
	records := func() int {
		t.Helper()
		n, err := e.Journal.VerifyAudit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, had := records(), everything(t, e)
	e.Stop(t)
	// A start two years ahead.
	off.Store(int64(2 * year))
	e = open()
	m = member{t, e, m.id, m.token}
	differ(t, everything(t, e), had)
	if n := records(); n < before {
		t.Errorf("%d records of the audit are left of %d", n, before)
	}
	if code, _, text := e.Do(t, "GET", "/v1/receipts/"+strings.Join(append(receipt.Receipts, receipt.ID), ""), exchange.Admin, e.AdminToken(), ""); code != 200 {
		t.Error(code, text)
	}
	if code, _, text := e.Do(t, "GET", "/metrics", exchange.Admin, e.AdminToken(), ""); code != 200 || !strings.Contains(text, "\ntocsin_clock_doubted 1\n") {
		t.Error("there is no alarm", code)
	}
	rise()
	off.Store(0)
	near(rise())
	e.Stop(t)
}
