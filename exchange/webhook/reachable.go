package webhook

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
)

// Reachable reports an error unless requests of the webhook may go to an address: one that is public
// and not the exchange's own, or one that it is allowed.
func Reachable(w *exchange.Webhook, a netip.Addr, r *exchange.Register) error {
	a = a.Unmap().WithZone("")
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	u, err := url.Parse(w.URL)
	switch {
	case slices.ContainsFunc(w.Allow, in):
		return nil
	case err != nil || u.Scheme != "https":
		return fmt.Errorf("%s is not under allow, so it has to be https", a)
	case !policy.Public(a):
		return fmt.Errorf("%s is no public address; the operator can allow it in the register", a)
	case slices.ContainsFunc(r.Own, in), ofThisMachine(a):
		return fmt.Errorf("%s is the exchange's own; the operator can allow it in the register", a)
	}
	return nil
}

// ofThisMachine tells whether an address is one of this machine's, or cannot be told from one.
func ofThisMachine(a netip.Addr) bool {
	list, err := net.InterfaceAddrs()
	return err != nil || slices.ContainsFunc(list, func(x net.Addr) bool {
		p, err := netip.ParsePrefix(x.String())
		return err == nil && p.Addr().Unmap().WithZone("") == a
	})
}
