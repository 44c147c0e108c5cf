package policy

import (
	"net/netip"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// reserved are the ranges that no infected host of anybody's constituency has:
// the special-purpose registries of IANA (RFC 6890 and its successors). Addresses of NAT64, Teredo (in 2001::/23) and 6to4
// stand for IPv4 addresses, private ones among them.
var reserved = func() (list []netip.Prefix) {
	for _, s := range []string{
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24",
		"192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
		"64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7",
	} {
		list = append(list, netip.MustParsePrefix(s))
	}
	return list
}()

// Refused says why an address cannot be an infected host's on a feed, or "".
func Refused(a netip.Addr, r *exchange.Register, f *exchange.Feed) string {
	switch {
	case exchange.IsAccount(a):
		return "" // whether it stands for one is the event's to say
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(), a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return "is no host's address (unspecified, loopback, multicast, link-local or broadcast)"
	}
	for _, p := range r.Own {
		if p.Contains(a) {
			return "is in " + p.String() + ", which is the exchange's own"
		}
	}
	if f.AllowReserved {
		return ""
	}
	for _, p := range reserved {
		if p.Contains(a) {
			return "is in " + p.String() + ", which is private or reserved; a feed with allow_reserved takes it"
		}
	}
	if a.Is6() && !global.Contains(a) {
		return "is outside " + global.String() + ", which is all that is handed out of IPv6; a feed with allow_reserved takes it"
	}
	return ""
}

// global is what is handed out of IPv6. Of IPv4 the platform address of a cloud (Azure) is nobody's host.
var (
	global   = netip.MustParsePrefix("2000::/3")
	platform = netip.MustParseAddr("168.63.129.16")
)

// Public tells whether an address is one of the public Internet, which no network of the operator's is.
func Public(a netip.Addr) bool {
	if a = a.Unmap(); a.Is6() && (!global.Contains(a)) {
		return false
	}
	return a.IsGlobalUnicast() && a != platform && !slices.ContainsFunc(reserved, func(p netip.Prefix) bool { return p.Contains(a) })
}

// RefusedEvent says why the event's address cannot be an infected host's on a feed, or "".
func RefusedEvent(e *exchange.Event, r *exchange.Register, f *exchange.Feed) string {
	if exchange.IsAccount(e.Address) && e.Account == "" {
		return "is in " + exchange.Accounts.String() + ", which is reserved"
	}
	return Refused(e.Address, r, f)
}
