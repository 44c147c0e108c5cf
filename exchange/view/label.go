package view

import (
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// LabelIn is the label of an object in a collection: of what members have added the one that it has on the
// whole exchange, but at least what these bytes carry themselves: a newer version may have lowered it.
// Of the rest it is the one that the object carries, None where that carries none. It is Unknown where it
// cannot be told: of what members add, addresses and other objects without versions keep no label.
func (v *View) LabelIn(c *exchange.Collection, raw []byte) (tlp.Level, error) {
	h, err := stix.ParseHead(raw)
	if err != nil {
		return tlp.Unknown, nil //nolint:nilerr // it says nothing that could be told
	}
	if c.OfMembers() {
		switch s, err := v.standingIn(c.ID, h.ID); {
		case err != nil:
			return tlp.Unknown, err
		case s != nil:
			return max(s.Label, h.KnownLabel()), nil // the operator has released what is not known here
		case h.Modified == "":
			return tlp.Unknown, nil
		}
	}
	label, _ := h.Label()
	return label, nil
}
