package register

import (
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// markings checks what markings are said to mean.
func (c *checker) markings(r *exchange.Register) {
	for i := range r.Markings {
		m := &r.Markings[i]
		typ, err := stix.ParseID(m.ID)
		_, ours := tlp.FromMarking(m.ID)
		switch _, bad := m.Level(); {
		case err != nil || typ != "marking-definition" || strings.ToLower(m.ID) != m.ID:
			c.add("marking %.80q: want the id of a marking-definition, in lower case", m.ID)
		case ours:
			c.add("marking %s is a TLP label: it means that", m.ID)
		case bad != nil:
			c.add("marking %s: means %.40q: want %s or a TLP label", m.ID, m.Means, exchange.MarkingIgnore)
		}
	}
}

// identities checks that nobody speaks for another member's identity.
func (c *checker) identities(r *exchange.Register) {
	of := make(map[string]string)
	for i := range r.Members {
		of[r.IdentityID(r.Members[i].ID)] = r.Members[i].ID
	}
	for i := range r.Members {
		m := &r.Members[i]
		for _, id := range m.Identities {
			if other, taken := of[id]; taken && other != m.ID {
				c.add("members %s and %s: both are to speak for %s: take it from one of them", other, m.ID, id)
			}
			of[id] = m.ID
		}
	}
}
