package report

import (
	"fmt"
	"net/netip"
	"strings"
)

// single returns the address that a text names which may be an address, a prefix or a
// range from-to: a range of one is that address, and one of more is no host.
func single(text string) (string, error) {
	text = strings.TrimSpace(text)
	many := fmt.Errorf("%.60q is a range of addresses: an infection is of one host, so name each", text)
	if p, err := netip.ParsePrefix(text); err == nil {
		if !p.IsSingleIP() {
			return "", many
		}
		return p.Addr().String(), nil
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return text, nil
	}
	a, _ := netip.ParseAddr(strings.TrimSpace(from))
	b, _ := netip.ParseAddr(strings.TrimSpace(to))
	if a.IsValid() && b.IsValid() && a != b {
		return "", many
	}
	if a.IsValid() && a == b {
		return a.String(), nil
	}
	return text, nil
}
