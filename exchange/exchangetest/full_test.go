package exchangetest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// On a full disk, requests that would write are refused at once with the reason. Stored objects can be
// read, and publishing works again once there is room.
func TestAFullDiskRefusesWithItsReason(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, labelled)
	const rows = "ip,timestamp,cc\n240.0.0.1,2026-03-19T00:00:00Z,AT\n"
	e.Publish(t, "rustock", rows)
	token := e.Token(t, "cert-at")
	at := member{t, e, "cert-at", token}
	if why := at.add("low", sample(1, version1, green)); why != "" {
		t.Fatal(why)
	}
	e.Stop(t)
	e = exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Reserve: 1 << 60})
	for _, c := range []struct{ method, path, user, token, body, typ string }{
		{"POST", "/v1/feeds/rustock/events", exchange.Admin, e.AdminToken(), strings.Replace(rows, "0.1", "0.2", 1), "text/csv"},
		{"POST", "/exchange/collections/low/objects/", "cert-at", token, envelope(sample(2, version1, green)), taxii.MediaType},
		{"DELETE", "/exchange/collections/low/objects/" + sampleID(1) + "/", "cert-at", token, "", taxii.MediaType},
		{"POST", "/v1/clean", "cert-at", token, `{"hosts":[{"address":"240.0.0.1"}]}`, "application/json"},
	} {
		began := time.Now()
		code, h, text := e.Do(t, c.method, c.path, c.user, c.token, c.body, "Content-Type", c.typ, "Accept", "*/*")
		if code != http.StatusInsufficientStorage || !strings.Contains(text, "disk is full") || !strings.Contains(text, `"http_status":"507"`) || time.Since(began) > 5*time.Second {
			t.Errorf("%s %s: %d %s after %v", c.method, c.path, code, text, time.Since(began))
		}
		if strings.Contains(text, dir) || strings.HasPrefix(c.path, "/exchange") && h.Get("Content-Type") != taxii.MediaType {
			t.Errorf("%s %s: %v %s", c.method, c.path, h, text)
		}
	}
	began := time.Now()
	_, err := client(e, exchange.Admin, e.AdminToken()).Publish(t.Context(), strings.NewReader(strings.Replace(rows, "0.1", "0.2", 1)), apiclient.Publication{Feed: "rustock"})
	if err == nil || !strings.Contains(err.Error(), "disk is full") || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if got := (member{t, e, "cert-at", token}).has("low", 1); len(got) != 1 {
		t.Error("what is there cannot be read:", got)
	}
	if n := len(idsOf(t, e, "cert-at")); n == 0 {
		t.Error("what is there cannot be read")
	}
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	if r := e.Publish(t, "rustock", strings.Replace(rows, "0.1", "0.2", 1)); r.Events != 1 {
		t.Errorf("%+v", r)
	}
}
