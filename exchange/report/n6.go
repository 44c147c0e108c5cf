package report

import (
	"fmt"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// n6 is what CERT Polska's n6 gives by REST or in its stream. Each address of an
// event is a host of its own.
type n6 struct{ keep bool }

// n6Known are the keys that are read.
const n6Known = " id source restriction category time type name proto sport dip dport count address tlp "

// n6Named are the categories whose fqdn is the address's own name. In all others, such as bots and
// scanning, it can be that of the destination.
var n6Named = map[string]bool{"phish": true, "malurl": true, "cnc": true, "deface": true, "backdoor": true, "spam-url": true}

type n6Event struct {
	ID          scalar  `json:"id"`
	Source      scalar  `json:"source"`
	Restriction scalar  `json:"restriction"`
	Category    scalar  `json:"category"`
	Time        scalar  `json:"time"`
	Type        scalar  `json:"type"`
	Name        scalar  `json:"name"`
	Proto       scalar  `json:"proto"`
	SrcPort     scalar  `json:"sport"`
	Dst         scalar  `json:"dip"`
	DstPort     scalar  `json:"dport"`
	FQDN        scalar  `json:"fqdn"`
	Count       scalar  `json:"count"`
	TLP         marking `json:"tlp,case:ignore"`
	Address     []struct {
		IP      scalar  `json:"ip"`
		Country scalar  `json:"cc"`
		ASN     scalar  `json:"asn"`
		TLP     marking `json:"tlp,case:ignore"`
	} `json:"address"`
}

func (n6) end(*found) {}

func (n n6) value(line int, raw []byte, to *found) {
	var e n6Event
	if err := decode(line, raw, &e); err != nil {
		to.problem(err)
		return
	}
	label, floor := tlp.None, tlp.None
	var err error
	switch e.Restriction {
	case "public":
		label = tlp.Clear
	case "need-to-know":
		floor = tlp.Green
	case "internal":
		floor = tlp.AmberStrict
	default:
		err = rowError(line, "restriction", "%.40q is none of public, need-to-know, internal, so nobody may be shown it", string(e.Restriction))
	}
	switch {
	case err != nil:
	case e.Type == "bl-delist", e.Type == "bl-expire":
		err = rowError(line, "type", "%s takes an entry off a list: it is no sighting", e.Type)
	case len(e.Address) == 0:
		err = rowError(line, "address", "no address")
	}
	if err != nil {
		to.problem(err)
		return
	}
	more := extra{keep: n.keep}
	more.addText(raw, n6Known)
	for i, a := range e.Address {
		d := newDraft(line)
		d.Label, d.Floor, d.Extra = label, floor, more.String()
		at := fmt.Sprintf("address[%d].", i)
		d.set("ip", at+"ip", a.IP)
		d.set("cc", at+"cc", a.Country)
		d.set("asn", at+"asn", a.ASN)
		d.set("timestamp", "time", e.Time)
		d.set("port", "sport", e.SrcPort)
		d.set("malware", "name", e.Name)
		d.set("protocol", "proto", e.Proto)
		d.set("provider", "source", e.Source)
		d.set("dst_ip", "dip", e.Dst)
		d.set("dst_port", "dport", e.DstPort)
		d.set("id", "id", e.ID)
		d.set("count", "count", e.Count)
		if n6Named[string(e.Category)] {
			d.set("hostname", "fqdn", e.FQDN)
		}
		d.set(labelField, labelField, scalar(e.TLP))
		d.set(labelField, at+labelField, scalar(a.TLP))
		d.end(to)
	}
}
