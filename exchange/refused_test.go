package exchange

import (
	"net/netip"
	"testing"
)

func TestPublicAddresses(t *testing.T) {
	for _, s := range []string{
		"0.0.0.0", "127.0.0.1", "10.0.0.1", "172.16.9.9", "192.168.1.1", "100.64.0.1", "169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "240.0.0.1", "168.63.129.16",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::ffff:0:7f00:1", "64:ff9b::7f00:1", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "fc00::1", "fe80::1", "fec0::1", "fe00::1", "ff02::1", "100::1", "200::1", "4000::1",
	} {
		if Public(netip.MustParseAddr(s)) {
			t.Error(s, "is public")
		}
	}
	for _, s := range []string{"8.8.8.8", "::ffff:8.8.8.8", "193.171.255.2", "2a00:1450::1", "2001:4860:4860::8888", "2606:4700::1111"} {
		if !Public(netip.MustParseAddr(s)) {
			t.Error(s, "is not public")
		}
	}
}

func TestWebhooksReachWhatTheyMay(t *testing.T) {
	r := &Register{Own: []netip.Prefix{netip.MustParsePrefix("193.171.255.0/24")}}
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
		w := &Webhook{URL: c.url, Send: SendBundle, Allow: c.allow}
		if err := Reachable(w, netip.MustParseAddr(c.address), r); (err == nil) != c.may {
			t.Error(c.url, c.address, c.allow, err)
		}
	}
}
