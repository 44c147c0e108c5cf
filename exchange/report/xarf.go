package report

import (
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// xarf is XARF v4: one report of one host each. Its category and type, joined by a slash, stand under xarfKind, and the
// family that its tags name under xarfTag.
type xarf struct{ row *row }

var xarfTable = table{
	known: []string{"category", "type"},
	names: []names{
		{"ip", []string{"source_identifier"}},
		{"timestamp", []string{"timestamp"}},
		{"port", []string{"source_port"}},
		{"malware", []string{"malware_family", xarfTag}},
		{"protocol", []string{"protocol"}},
		{"provider", []string{"reporter.org"}},
		{"dst_ip", []string{"destination_ip", xarfC2}},
		{"dst_port", []string{"destination_port"}},
		{"id", []string{"report_id"}},
		{labelField, []string{labelField}}, // XARF has none; some senders add it
	},
	rules: []rule{
		{"bot_type", "search_engine", nothing, "is a crawler, and not infected", ""},
		{xarfKind, "connection/infected_host", infected, "", ""},
		{xarfKind, "infrastructure/botnet", infected, "", ""},
		{xarfKind, "infrastructure/compromised_server", infected, "", ""},
		{xarfKind, "content/remote_compromise", infected, "", ""},
		{xarfKind, "vulnerability/*", exposed, "", "type"},
		{xarfKind, "*/*", nothing, "tells of no infection: connection/infected_host, infrastructure/botnet, infrastructure/compromised_server and content/remote_compromise do", ""},
	},
}

const (
	xarfKind = "category/type"
	xarfTag  = "tags: malware:"
	xarfC2   = "c2_server (an address)"
)

func (xarf) end(*found) {}

func (x xarf) value(line int, raw []byte, to *found) {
	w := x.row
	w.clear()
	var version, category, typ scalar
	err := walk(raw, func(name string, value jsontext.Value) error {
		switch text := scalarOf(value); strings.ToLower(name) {
		case "xarf_version":
			version = text
			return nil
		case "category":
			category = text
		case "type":
			typ = text
		case "c2_server":
			if _, err := netip.ParseAddr(string(text)); err == nil {
				name = xarfC2
			}
		case "tags":
			return each(value, func(_ int, tag jsontext.Value) error {
				if family, ok := strings.CutPrefix(string(scalarOf(tag)), "malware:"); ok {
					w.add(xarfTag, []byte(family))
				}
				return nil
			})
		case "version":
			if version == "" {
				version = text
			}
		}
		return w.value(name, value)
	})
	switch {
	case err != nil:
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	case version == "":
		w.fail("xarf_version", "is missing: XARF version 4 is read")
	case !strings.HasPrefix(string(version), "4"):
		w.fail("xarf_version", "%.20q is not read: version 4 is", string(version))
	}
	w.add(xarfKind, []byte(category+"/"+typ))
	w.event(line, to)
}
