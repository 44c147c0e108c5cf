package erasure

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Intake takes out of a record what is erased, and tells whether there was any. Records come in their order: a recall has nothing
// of the events that it takes back but their ids. What the record was packaged as keeps its places (record.Observation.Erase).
func (m *Matcher) Intake(in *record.Intake) (changed bool) {
	m.Of(in.At)
	events := len(in.Events)
	in.Events = slices.DeleteFunc(in.Events, func(a record.Accepted) bool {
		gone := m.Event(&a.Event)
		if gone {
			m.events[a.ID()] = true
		}
		return gone
	})
	if changed = len(in.Events) < events; changed {
		in.Hash = [32]byte{}
	}
	standIns := make(map[netip.Addr]int)
	standIn := func(a netip.Addr) int {
		n, known := standIns[a]
		if !known {
			n = len(standIns) + 1
			standIns[a] = n
		}
		return n
	}
	// Those of an earlier order keep theirs.
	for i := range in.Observations {
		o := &in.Observations[i]
		if o.Erased() {
			standIn(o.Address)
		}
	}
	for i := range in.Events {
		e := &in.Events[i]
		changed = m.called(&e.Dst, &e.DstPort) || changed
		changed = m.texts(&e.Hostname, &e.Malware, &e.Protocol, &e.Provider, &e.PublisherID) || changed
		changed = m.extra(&e.Extra) || changed
	}
	for i := range in.Observations {
		o := &in.Observations[i]
		if !o.Erased() && m.Observation(o) {
			o.Erase(standIn(o.Address))
			changed = true
		}
		for k := range o.Contacts {
			if c := &o.Contacts[k]; c.Dst.IsValid() && !record.IsErased(c.Dst) && m.Address(c.Dst) {
				c.Dst, c.DstPort = record.ErasedAddress(standIn(c.Dst)), 0
				changed = true
			}
		}
		changed = m.texts(&o.Malware, &o.Provider, &o.Protocol) || changed
		changed = m.extra(&o.Extra) || changed
		for k := range o.Hostnames {
			changed = m.texts(&o.Hostnames[k]) || changed
		}
	}
	return m.rest(in) || changed
}

// Observation tells whether an observation is of what is erased.
func (m *Matcher) Observation(o *record.Observation) bool {
	if o.Account != "" {
		return m.is("account " + o.Account)
	}
	return m.Address(o.Address)
}

// called takes out an address that a host called.
func (m *Matcher) called(a *netip.Addr, port *uint16) bool {
	if !a.IsValid() || !m.Address(*a) {
		return false
	}
	*a, *port = netip.Addr{}, 0
	return true
}

// texts takes out those that name what is erased.
func (m *Matcher) texts(list ...*string) (changed bool) {
	for _, s := range list {
		if *s != "" && m.Text([]byte(*s)) {
			*s, changed = "", true
		}
	}
	return changed
}

// extra takes it out of what a publisher has said besides, which is JSON.
func (m *Matcher) extra(s *string) bool {
	if *s == "" {
		return false
	}
	stays, changed := m.JSON([]byte(*s))
	if changed {
		if *s = string(stays); *s == Erased {
			*s = ""
		}
	}
	return changed
}

// rest takes out what else a record has: what members reported clean, recalls, the receipt, and by what its rows are known again.
func (m *Matcher) rest(in *record.Intake) (changed bool) {
	had := len(in.Cleaned) + len(in.Recalled) + len(in.Receipt.Problems) + len(in.Receipt.Notes)
	in.Cleaned = slices.DeleteFunc(in.Cleaned, func(c record.Cleaned) bool { return m.Address(c.Address) })
	in.Recalled = slices.DeleteFunc(in.Recalled, func(id exchange.EventID) bool { return m.events[id] })
	in.Receipt.Problems = slices.DeleteFunc(in.Receipt.Problems, func(p exchange.Problem) bool { return m.Text([]byte(p.Reason)) })
	in.Receipt.Notes = slices.DeleteFunc(in.Receipt.Notes, func(n exchange.Note) bool { return m.Text([]byte(n.Example)) || m.Text([]byte(n.Reason)) })
	changed = had > len(in.Cleaned)+len(in.Recalled)+len(in.Receipt.Problems)+len(in.Receipt.Notes)
	return m.texts(&in.Key, &in.Reason) || changed
}

// Hosts are the ids of what hosts were packaged as that are erased, and of their addresses.
type Hosts map[string]bool

// Objects lists the positions of a block's objects that name what is erased, or are of one of its hosts, and those objects that it
// has by their positions. text is its payload, decompressed.
func (m *Matcher) Objects(b *record.Block, text []byte, hosts Hosts) (gone []int, objects map[int][]byte, err error) {
	objects = make(map[int][]byte, b.Count)
	i := 0
	err = stix.Objects(text, func(raw []byte) error {
		for i < b.Count && !b.Has(i) {
			i++
		}
		objects[i] = raw
		if m.Text(raw) || len(hosts) > 0 && hosts.has(raw) {
			gone = append(gone, i)
		}
		i++
		return nil
	})
	return gone, objects, err
}

// IDOf is an object's id, "" where it has none.
func IDOf(raw []byte) string {
	head, err := stix.ParseHead(raw)
	if err != nil {
		return ""
	}
	return head.ID
}

// has tells whether an object is one of them, or traffic of one.
func (h Hosts) has(raw []byte) bool {
	head, err := stix.ParseHead(raw)
	if err != nil {
		return false
	}
	if h[head.ID] || head.Type != "network-traffic" {
		return h[head.ID]
	}
	var traffic struct {
		Source string `json:"src_ref"`
	}
	return json.Unmarshal(raw, &traffic) == nil && h[traffic.Source]
}
