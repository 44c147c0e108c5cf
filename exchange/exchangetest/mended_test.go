package exchangetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// An exchange that is stopped while its view catches up is whole afterwards.
func TestStoppingWhileTheViewCatchesUp(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(6000, "2026-03-19", "AT", "PL"))
	want, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	dir := e.Dir
	e.Stop(t)
	for range 4 {
		if err := node.Rebuild(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		opened := make(chan struct{})
		go func() { // the start is cut off somewhere in the middle
			defer close(opened)
			n, err := node.Open(ctx, node.Options{Dir: dir})
			if err == nil {
				err = n.Close(context.Background())
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}()
		cancel()
		<-opened
		e = exchangetest.Open(t, dir)
		got, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
		if len(got) != len(want) || len(e.View.Broken()) != 0 {
			t.Fatalf("%d objects, want %d; broken: %v", len(got), len(want), e.View.Broken())
		}
		e.Stop(t)
	}
}

// The same hosts with long texts, and then again: what a record holds of
// earlier ones still fits a message.
func TestLongTextsOfEarlierRecordsFit(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	long := strings.Repeat("x", 256)
	var first, second strings.Builder
	first.WriteString("timestamp,ip,cc,malware,provider,protocol,hostname\n")
	second.WriteString("timestamp,ip,cc\n")
	for i := range 4000 {
		fmt.Fprintf(&first, "2026-03-19 12:00:00,240.0.%d.%d,AT,%s,%s,tcp,%s\n", i>>8, i&255, long, long, long)
		fmt.Fprintf(&second, "2026-03-19 00:00:00,240.0.%d.%d,AT\n", i>>8, i&255)
	}
	for _, source := range []string{first.String(), second.String()} {
		if r := e.Publish(t, "rustock", source); r.Events != 4000 {
			t.Fatalf("%d events, problems %v", r.Events, r.Problems)
		}
	}
	if r := e.Publish(t, "rustock", "timestamp,ip,malware\n2026-03-19 00:00:00,240.0.0.1,"+long+"x\n"); r.Events != 1 || len(r.Notes) != 1 || r.Notes[0].Column != "malware" {
		t.Errorf("257 bytes: %+v", r)
	}
}

// A publisher that is cut off in the middle of a body can send it again under
// its key.
func TestACutBodyDoesNotUseItsKeyUp(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	for i := range 6 {
		body := rows(3000, fmt.Sprintf("2026-03-%02d", i+1), "AT")
		key := fmt.Sprint("key-", i)
		cut, cancel := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, e.HTTPURL()+"/v1/feeds/rustock/events", cut)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(exchange.Admin, e.AdminToken())
		req.Header.Set("Idempotency-Key", key)
		go func() {
			_, _ = io.Copy(cancel, bytes.NewReader([]byte(body[:len(body)*2/3])))
			_ = cancel.CloseWithError(errors.New("cut off"))
		}()
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
		status, _, text := e.Do(t, "POST", "/v1/feeds/rustock/events", exchange.Admin, e.AdminToken(), body, "Idempotency-Key", key)
		var r exchange.Receipt
		if err := json.Unmarshal([]byte(text), &r); status != 200 || err != nil || r.Events+r.Duplicates != 3000 {
			t.Fatalf("%d: %d %s", i, status, text)
		}
	}
}

func TestALabelAboveTheNewCeilingStandsInTheWay(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", header+"2026-03-19 00:00:00,240.0.0.1,1,1,AT,rustock,198.51.100.7,80,amber+strict\n")
	change := func(member string) error {
		f, err := register.Parse([]byte("members: [" + member + "]"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = e.Register.Change(t.Context(), "test", func(r *exchange.Register) error { f.Apply(r, false, r.Members[0].Created); return nil })
		return err
	}
	var invalid *register.Invalid
	for _, m := range []string{
		"{id: cert-at, kind: csirt, clearance: amber}", "{id: dcu, kind: publisher, clearance: green}", "{id: cert-at, kind: network-owner}",
	} {
		if err := change(m); !errors.As(err, &invalid) || !strings.Contains(err.Error(), "amber+strict") {
			t.Errorf("%s: %v", m, err)
		}
	}
	if err := change("{id: cert-pl, kind: csirt, clearance: green}"); err != nil {
		t.Errorf("a collection that holds nothing: %v", err)
	}
}

// A host that its publisher places in two countries on one day is both teams',
// from then on, whichever chunk says what.
// A host that is seen at two places on a day is an observation of each: a team is given what was decided for it. A row
// of which nobody knows where the host was is nobody's.
func TestAHostSeenAtTwoPlacesIsTwoObservations(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	row := func(hour int, cc string) string {
		return fmt.Sprintf("%s2026-03-19 %02d:00:00,240.9.1.3,1,1,%s,rustock,198.51.100.7,80,\n", header, hour, cc)
	}
	for hour, cc := range []string{"AT", "PL", "", "AT"} {
		r := e.Publish(t, "rustock", row(hour, cc))
		if r.Collections["cert-at"]+r.Collections["cert-pl"]+r.Unclaimed != 1 || (cc == "") != (r.Unclaimed == 1) {
			t.Errorf("%q: %+v", cc, r)
		}
	}
	for c, versions := range map[string]int{"cert-at": 2, "cert-pl": 1, "unclaimed": 1} {
		objects, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{Types: []string{"observed-data"}, Versions: []taxii.VersionFilter{{Keyword: "all"}}})
		if len(objects) != versions {
			t.Errorf("%s has %d versions, want %d", c, len(objects), versions)
		}
	}
}

func TestAWithheldEventMayComeAgainWithAnotherLabel(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	post := func(label string) (r exchange.Receipt) {
		_, _, text := e.Do(t, "POST", "/v1/feeds/rustock/events?tlp="+label, exchange.Admin, e.AdminToken(), "ip,timestamp,cc\n240.0.0.1,2026-03-19 00:00:00,AT\n")
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(text)
		}
		return r
	}
	for i, c := range []struct {
		label                    string
		events, duplicates, cert int64
	}{{"red", 1, 0, 0}, {"red", 0, 1, 0}, {"amber", 1, 0, 1}, {"amber", 0, 1, 0}, {"red", 0, 1, 0}} {
		if r := post(c.label); r.Events != c.events || r.Duplicates != c.duplicates || r.Collections["cert-at"] != c.cert {
			t.Errorf("%d, %s: %+v", i, c.label, r)
		}
	}
}

func TestAddedAfterBeforeTimeBegan(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	for range 3 {
		e.Publish(t, "rustock", rows(300, "2026-03-19", "AT"))
		e.Publish(t, "rustock", rows(300, "2026-03-20", "AT"))
	}
	get := func(query string) string {
		_, _, body := e.Do(t, "GET", "/exchange/collections/cert-at/manifest/?limit=5000"+query, exchange.Admin, e.AdminToken(), "")
		return body
	}
	want := get("")
	for _, at := range []string{"1900-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z"} {
		if got := get("&added_after=" + at); got != want {
			t.Errorf("%s: %d bytes, want %d", at, len(got), len(want))
		}
	}
}
