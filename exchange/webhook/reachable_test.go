package webhook_test

import (
	"net/netip"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
)

func TestWebhooksReachWhatTheyMay(t *testing.T) {
	r := &exchange.Register{Own: []netip.Prefix{netip.MustParsePrefix("193.171.255.0/24")}}
	allow := []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
	for _, c := range []struct {
		url, address string
		allow        []netip.Prefix
		may          bool
	}{
		{"https://a.example/", "8.8.8.8", nil, true},
		{"https://a.example/", "10.1.0.1", nil, false},
		{"https://a.example/", "10.1.0.1", allow, true},
		{"https://a.example/", "::ffff:10.1.0.1", allow, true},
		{"https://a.example/", "10.2.0.1", allow, false},
		{"http://a.example/", "10.1.0.1", allow, true},
		{"http://a.example/", "8.8.8.8", allow, false},
		{"HTTP://a.example/", "8.8.8.8", allow, false},
		{"https://a.example/", "193.171.255.2", nil, false},
	} {
		w := &exchange.Webhook{URL: c.url, Send: exchange.SendBundle, Allow: c.allow}
		if err := webhook.Reachable(w, netip.MustParseAddr(c.address), r); (err == nil) != c.may {
			t.Error(c.url, c.address, c.allow, err)
		}
	}
}
