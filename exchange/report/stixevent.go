package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// sighting adds the hosts of observed-data.
func (s *stixObjects) sighting(o *stixObject, to *found) {
	hosts := s.hosts(o)
	if len(hosts) > 1 && s.lacksTraffic(o) {
		to.problem(rowError(o.line, "object_refs", "the network-traffic that it refers to is not there, so nobody can tell which address called which"))
		return
	}
	for _, host := range hosts {
		if host.refused {
			continue // that is named already
		}
		w := s.begin(o)
		s.about(host)
		w.label = s.said(host.ID)
		if host.Type == "email-addr" {
			w.add("email-addr", []byte(host.Value))
		} else {
			address, err := single(host.Value)
			if err != nil {
				w.fail("object_refs", "%v", err)
			}
			w.add("value", []byte(address))
		}
		w.add("first_observed", []byte(o.First))
		w.add("last_observed", []byte(o.Last))
		w.add("number_observed", []byte(o.Number))
		contacts := s.evidence(w, o)
		calls := s.calls(o, host.ID)
		for _, t := range calls {
			w.label = max(w.label, s.said(t.ID))
			if dst := s.get(t.Dst); dst != nil {
				w.label = max(w.label, s.said(dst.ID))
				s.about(dst)
			}
		}
		if contacts == nil && len(calls) > 1 {
			for _, t := range calls {
				c := stixContact{SrcPort: t.SrcPort, DstPort: t.DstPort}
				if c.Time = o.Last; t.Start != "" {
					c.Time = scalar(t.Start)
				}
				if dst := s.get(t.Dst); dst != nil {
					c.Dst = scalar(dst.Value)
				}
				contacts = append(contacts, c)
			}
		}
		// A traffic has to name a protocol; our extension says what is known of it.
		if len(calls) > 0 && o.Extensions[exchange.HostEvidenceID].Operation == "" {
			w.called(calls[0], s.get(calls[0].Dst), contacts == nil)
		}
		s.contacts(w, o, contacts, to)
	}
	if len(hosts) == 0 {
		to.problem(rowError(o.line, "object_refs", "no host among what it refers to: no address, or only such as were called"))
	}
}

// called adds what a host's traffic says: its protocols, and where it stands for all contacts its ports and destination.
func (w *row) called(t, dst *stixObject, alone bool) {
	for i, p := range t.Protocols[:min(len(t.Protocols), 2)] {
		w.add([]string{"protocols", "protocols[1]"}[i], []byte(p))
	}
	if !alone {
		return
	}
	w.add("src_port", []byte(t.SrcPort))
	w.add("dst_port", []byte(t.DstPort))
	if dst != nil {
		w.add("dst_ref", []byte(dst.Value))
	}
}

// evidence adds what extensions say. It returns the contacts that they list.
func (s *stixObjects) evidence(w *row, o *stixObject) (contacts []stixContact) {
	x, ours := o.Extensions[exchange.HostEvidenceID]
	if !ours {
		w.add("malware.name", []byte(o.malware))
		for _, x = range o.Extensions {
			if x.Country+x.ASN+x.Malware != "" {
				break
			}
		}
		x.Hostname, x.Protocol = "", "" // those of others may mean anything
	}
	w.add("extension.country", []byte(x.Country))
	w.add("extension.asn", []byte(x.ASN))
	w.add("extension.malware", []byte(x.Malware))
	w.add("extension.provider", []byte(x.Provider))
	w.add("extension.exposed", []byte(x.Exposed))
	w.add("extension.hostname", []byte(x.Hostname))
	transport, application, _ := strings.Cut(string(x.Protocol), " ")
	w.add("extension.protocol", []byte(transport))
	w.add("extension.protocol[1]", []byte(application))
	if x.Extra.Kind() == '{' {
		_ = walk(x.Extra, func(name string, v jsontext.Value) error { w.extra.add(name, scalarText(v)); return nil })
	}
	if !ours {
		return nil
	}
	return x.Contacts
}

// contacts adds a row for each contact of a host, or one where none is known. All together have the count of the
// observation.
func (s *stixObjects) contacts(w *row, o *stixObject, list []stixContact, to *found) {
	if len(list) == 0 {
		s.finish(w, o, to)
		return
	}
	total, _ := strconv.ParseInt(string(o.Number), 10, 64) // 0 where it is none: lint has refused that
	slices.SortStableFunc(list, func(a, b stixContact) int { return cmp.Compare(b.Time, a.Time) })
	for i, c := range list {
		x := w.clone()
		x.add("contact.time", []byte(c.Time))
		x.add("contact.src_port", []byte(c.SrcPort))
		x.add("contact.dst_ip", []byte(c.Dst))
		x.add("contact.dst_port", []byte(c.DstPort))
		number := &x.picks[fieldByName["count"].index]
		if number.value = []byte("1"); i == 0 {
			number.value = strconv.AppendInt(nil, max(1, total-int64(len(list)-1)), 10)
		}
		if i < len(list)-1 { // the oldest contact is the one since when the host is known
			x.picks[fieldByName["first_seen"].index].field = nil
		}
		s.finish(x, o, to)
	}
}

// said is the highest label that an object carries, or a report gives it.
func (s *stixObjects) said(id string) tlp.Level {
	said := max(s.labels[id], s.context[id])
	if s.known != nil {
		said = max(said, s.known.labels[id])
	}
	return said
}

// begin makes a row of an object.
func (s *stixObjects) begin(o *stixObject) *row {
	w := s.row.clone()
	if o.Revoked {
		w.add("revoked", []byte("true"))
	}
	if o.Type == "indicator" {
		w.add("malware.name", []byte(o.malware))
	}
	w.add("id", []byte(o.ID))
	return w
}

// finish adds the event of a row that was made of an object.
func (s *stixObjects) finish(w *row, o *stixObject, to *found) {
	if w.label = max(w.label, s.said(o.ID)); w.label > tlp.Red {
		to.problem(rowError(o.line, "object_marking_refs", "it stands in a context that is marked with what is no TLP marking known here"))
		return
	}
	w.event(o.line, to)
	to.rows[len(to.rows)-1].of = o
}
