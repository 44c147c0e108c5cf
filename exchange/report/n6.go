package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// n6 is what CERT Polska's n6 gives by REST or in its stream. Each address of an
// event is a host of its own: its keys stand behind "address.".
type n6 struct{ row *row }

var n6Table = table{
	names: []names{
		{"ip", []string{"address.ip"}},
		{"timestamp", []string{"time"}},
		{"port", []string{"sport"}},
		{"asn", []string{"address.asn"}},
		{"cc", []string{"address.cc"}},
		{"hostname", []string{n6Name}},
		{"malware", []string{"name"}},
		{"protocol", []string{"proto"}},
		{"provider", []string{"source"}},
		{"dst_ip", []string{"dip"}},
		{"dst_port", []string{"dport"}},
		{"id", []string{"id"}},
		{"count", []string{"count"}},
		{labelField, []string{labelField, "address." + labelField}},
	},
	rules: []rule{
		{"type", "bl-delist", nothing, n6Off, ""},
		{"type", "bl-expire", nothing, n6Off, ""},
		{"status", "delisted", nothing, n6Off, ""},
		{"status", "expired", nothing, n6Off, ""},
		{"status", "replaced", nothing, n6Off, ""},
		{"category", "amplifier", exposed, "", "name"},
		{"category", "vulnerable", exposed, "", "name"},
		{"category", "bots", infected, "", ""},
		{"category", "backdoor", infected, "", ""},
		{"category", "cnc", infected, "", ""},
		{"category", "deface", infected, "", ""},
		{"category", "dos-attacker", infected, "", ""},
		{"category", "malurl", infected, "", ""},
		{"category", "phish", infected, "", ""},
		{"category", "proxy", infected, "", ""},
		{"category", "scanning", infected, "", ""},
		{"category", "server-exploit", infected, "", ""},
		{"category", "spam", infected, "", ""},
		{"category", "spam-url", infected, "", ""},
		{"category", "dos-victim", nothing, "is of a victim of an attack", ""},
		{"category", "flow*", nothing, "is of traffic, and of no host that is infected", ""},
		{"category", "dns-query", nothing, "is of a resolver or what it was asked, and of no host that is infected", ""},
		{"category", "leak", nothing, "is of what was lost, and of no host that is infected", ""},
		{"category", "malware-action", nothing, "is of what malware does, and of no host that is infected", ""},
		{"category", "sandbox-url", nothing, "is of what malware called in a sandbox", ""},
		{"category", "webinject", nothing, "is of a page that malware aims at", ""},
		{"category", "*", nothing, "is no category of infected or exposed hosts", ""},
	},
}

const n6Off = "takes an entry off a list: it is no sighting"

// n6Named are the categories whose fqdn is the address's own name. In all others, such as bots and
// scanning, it can be that of the destination. n6Name is what it stands under there.
var (
	n6Named = []string{"phish", "malurl", "cnc", "deface", "backdoor", "spam-url"}
	n6Name  = "fqdn (of " + strings.Join(n6Named, ", ") + ")"
)

// n6Restrictions say who may be shown an event: under which label, or at least under which.
var n6Restrictions = map[string]struct{ label, floor tlp.Level }{
	"public": {label: tlp.Clear}, "need-to-know": {floor: tlp.Green}, "internal": {floor: tlp.AmberStrict},
}

func (n6) end(*found) {}

func (n n6) value(line int, raw []byte, to *found) {
	w := n.row
	w.clear()
	var addresses jsontext.Value
	var restriction, category, fqdn scalar
	err := walk(raw, func(name string, value jsontext.Value) error {
		switch strings.ToLower(name) {
		case "address":
			addresses = value
			return nil
		case "restriction":
			restriction = scalarOf(value)
			return nil
		case "fqdn":
			fqdn = scalarOf(value)
			return nil
		case "category":
			category = scalarOf(value)
		}
		return w.value(name, value)
	})
	if err != nil {
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	}
	if slices.Contains(n6Named, string(category)) {
		w.add(n6Name, []byte(fqdn))
	} else {
		w.extra.add("fqdn", []byte(fqdn))
	}
	shown, known := n6Restrictions[string(restriction)]
	if !known {
		w.fail("restriction", "%.40q is none of public, need-to-know, internal, so nobody may be shown it", string(restriction))
	}
	w.label, w.floor = shown.label, shown.floor
	var list []jsontext.Value
	if addresses != nil {
		list, err = members(addresses)
	}
	for i, address := range list {
		h := w
		if i < len(list)-1 {
			h = w.clone()
		}
		h.place = [2]string{fmt.Sprintf("address[%d].", i), "address."}
		if err = h.object(address, "address."); err != nil {
			err = fmt.Errorf("address[%d]: %w", i, err)
			break
		}
		h.event(line, to)
	}
	switch {
	case err != nil:
		to.problem(rowError(line, "", "%s", bound(err.Error())))
	case len(list) == 0:
		to.problem(rowError(line, "address", "no address"))
	}
}
