package report

import (
	"cmp"
	"net/netip"
	"strings"
)

// xarf is XARF v4: one report of one host each. Two of its types tell of
// infections.
type xarf struct{ keep bool }

// xarfKnown are the keys that are read.
const xarfKnown = " xarf_version report_id timestamp category type source_identifier source_port protocol destination_ip destination_port malware_family tlp "

type xarfReport struct {
	Version  scalar `json:"xarf_version"`
	ID       scalar `json:"report_id"`
	Time     scalar `json:"timestamp"`
	Category scalar `json:"category"`
	Type     scalar `json:"type"`
	Source   scalar `json:"source_identifier"`
	Port     scalar `json:"source_port"`
	Reporter struct {
		Org scalar `json:"org"`
	} `json:"reporter"`
	Protocol scalar  `json:"protocol"`
	Dst      scalar  `json:"destination_ip"`
	DstPort  scalar  `json:"destination_port"`
	Malware  scalar  `json:"malware_family"`
	C2       scalar  `json:"c2_server"`
	Tags     scalars `json:"tags"`
	TLP      marking `json:"tlp,case:ignore"` // XARF has none; some senders add it
}

func (xarf) end(*found) {}

func (x xarf) value(line int, raw []byte, to *found) {
	var r xarfReport
	if err := decode(line, raw, &r); err != nil {
		to.problem(err)
		return
	}
	kind := string(r.Category + "/" + r.Type)
	if kind != "connection/infected_host" && kind != "infrastructure/botnet" {
		to.problem(rowError(line, "type", "%.60q tells of no infection: connection/infected_host and infrastructure/botnet do", kind))
		return
	}
	d := newDraft(line)
	more := extra{keep: x.keep}
	more.addText(raw, xarfKnown)
	d.Extra = more.String()
	d.set("ip", "source_identifier", r.Source)
	d.set("timestamp", "timestamp", r.Time)
	d.set("port", "source_port", r.Port)
	malware := r.Malware
	for _, t := range r.Tags {
		if name, ok := strings.CutPrefix(string(t), "malware:"); ok {
			malware = cmp.Or(malware, scalar(name))
		}
	}
	d.set("malware", "malware_family", malware)
	d.set("protocol", "protocol", r.Protocol)
	d.set("provider", "reporter.org", r.Reporter.Org)
	d.set("dst_ip", "destination_ip", r.Dst)
	if _, err := netip.ParseAddr(string(r.C2)); err == nil && !d.Dst.IsValid() {
		d.set("dst_ip", "c2_server", r.C2)
	}
	d.set("dst_port", "destination_port", r.DstPort)
	d.set("id", "report_id", r.ID)
	d.set(labelField, labelField, scalar(r.TLP))
	d.end(to)
}
