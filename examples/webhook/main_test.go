package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

func TestTakesAPing(t *testing.T) {
	e := exchangetest.Start(t, exchangetest.Register)
	var out bytes.Buffer
	r := &receiver{out: &out}
	server := httptest.NewServer(r)
	defer server.Close()
	e.Apply(t, `webhooks: [{id: soc, member: cert-at, collection: cert-at, url: "`+server.URL+`", allow: [127.0.0.1/32]}]`)
	token := e.Token(t, "cert-at")
	_, _, key := e.Do(t, "GET", "/v1/members/cert-at/webhook-key", "cert-at", token, "")
	_, key, _ = strings.Cut(key, `"key":"`)
	key, _, _ = strings.Cut(key, `"`)
	var err error
	if r.key, err = standardwebhooks.NewWebhook(key); err != nil {
		t.Fatal(err)
	}
	code, _, text := e.Do(t, "POST", "/v1/webhooks/soc/ping", "cert-at", token, "")
	if code != http.StatusOK || !strings.Contains(text, `"taken":true`) || !strings.Contains(out.String(), `{"type":"ping"`) {
		t.Error(code, text, out.String())
	}
	out.Reset()
	res, err := http.Post(server.URL, "application/json", strings.NewReader(`{"type":"ping"}`))
	if err != nil {
		t.Fatal(err)
	}
	if _ = res.Body.Close(); res.StatusCode != http.StatusUnauthorized || out.Len() > 0 {
		t.Error(res.Status, out.String())
	}
}
