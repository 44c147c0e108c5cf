package api

import (
	"net/http"
	"net/netip"
	"testing"
)

// X-Forwarded-For is believed of trusted proxies alone, from the last entry to the first that none of
// them has.
func TestWhereARequestComesFrom(t *testing.T) {
	proxies := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/64")}
	for _, c := range []struct {
		peer      string
		forwarded []string
		proxies   []netip.Prefix
		want      string
	}{
		{"127.0.0.1:1", nil, proxies, "127.0.0.1"},
		{"127.0.0.1:1", []string{"192.0.2.1"}, nil, "127.0.0.1"},
		{"127.0.0.1:1", []string{"192.0.2.1"}, proxies, "192.0.2.1"},
		{"192.0.2.7:1", []string{"192.0.2.1"}, proxies, "192.0.2.7"},
		{"127.0.0.1:1", []string{"198.51.100.1, 192.0.2.1"}, proxies, "192.0.2.1"},
		{"127.0.0.1:1", []string{"198.51.100.1", "192.0.2.1 , 10.1.1.1"}, proxies, "192.0.2.1"},
		{"127.0.0.1:1", []string{"10.9.9.9,10.1.1.1"}, proxies, "10.9.9.9"},
		{"127.0.0.1:1", []string{"192.0.2.1:567"}, proxies, "192.0.2.1"},
		{"127.0.0.1:1", []string{"192.0.2.1,nonsense"}, proxies, "127.0.0.1"},
		{"127.0.0.1:1", []string{"192.0.2.1,"}, proxies, "127.0.0.1"},
		{"[::ffff:10.0.0.1]:1", []string{"::ffff:192.0.2.1"}, proxies, "192.0.2.1"},
		{"[2001:db8::1%eth0]:1", []string{"2001:db8:1::5"}, proxies, "2001:db8:1::5"},
		{"pipe", []string{"192.0.2.1"}, proxies, ""},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		a := &API{Parts: Parts{BehindProxy: c.proxies}}
		if got := a.from(r); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}
