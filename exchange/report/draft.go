package report

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// draft fills in an event field by field and keeps the first error.
type draft struct {
	exchange.Event
	err error
}

func newDraft(line int) *draft { return &draft{Event: exchange.Event{Line: line, Count: 1}} }

// set fills in a field from what stands under a name, if anything does.
func (d *draft) set(field, name string, value scalar) {
	value = scalar(strings.TrimSpace(string(value)))
	if value == "" || d.err != nil {
		return
	}
	if err := fieldByName[field].set(&d.Event, []byte(value)); err != nil {
		d.err = rowError(d.Line, name, "%v", err)
	}
}

// end adds the event, or what is wrong with it.
func (d *draft) end(to *found) {
	if d.err != nil {
		to.problem(d.err)
		return
	}
	to.event(&d.Event)
}

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
