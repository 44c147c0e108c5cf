package report

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Shadowserver's reports are CSV. Column order changes, so the header is read; what a row tells of is said by the type of
// the report, which is in the file's name: 2026-03-19-event4_sinkhole_http-example.csv is of type event4_sinkhole_http.
// Where a source has no such name its columns tell.

// reportName stands for the type of a report in rules.
const reportName = "(report)"

const resolverReason = "tells of a resolver: src_ip of a sinkhole DNS report is never the infected host, and there is nothing to route"

// shadowserver is plain with rules of its own. Hosts that attack, scan or spread malware are somebody's to clean.
var shadowserver = table{flat: true, names: plain.names, rules: []rule{
	{reportName, "event?_sinkhole_dns", nothing, resolverReason, ""},
	{reportName, "*honeypot_ddos*", nothing, "is of victims of attacks", ""},
	{reportName, "*ddos_target", nothing, "is of victims of attacks", ""},
	{reportName, "ddos_amplification", nothing, "is of victims of attacks", ""},
	{reportName, "sandbox_*", nothing, "is of what malware called in a sandbox", ""},
	{reportName, "device_id*", nothing, "says which devices there are, and nothing of an infection", ""},
	{reportName, "bl[oa]c*list*", nothing, "is of addresses that others have listed", ""},
	{"tag", "*webshell*", infected, "", ""}, // scan_exchange: somebody was there
	{"tag", "*implant*", infected, "", ""},
	{reportName, "scan_synful*", infected, "", ""},
	{reportName, "scan*", exposed, "", ""},
	{reportName, "population*", exposed, "", ""},
	{reportName, "*ip_spoofer", exposed, "", ""},
	{reportName, "ssl_*", exposed, "", ""},
	{reportName, "open_*", exposed, "", ""},
	{reportName, "accessible_*", exposed, "", ""},
	{reportName, "vulnerable_*", exposed, "", ""},
	{reportName, "*sinkhole*", infected, "", ""},
	{reportName, "*drone*", infected, "", ""},
	{reportName, "compromised_*", infected, "", ""},
	{reportName, "malware_url", infected, "", ""},
	{reportName, "phish_url", infected, "", ""},
	{reportName, "spam_url", infected, "", ""},
	{reportName, "*honeypot*", infected, "", ""},
	{reportName, "hp_*", infected, "", ""},
	{reportName, "event?_ddos_participant", infected, "", ""},
	{reportName, "*", nothing, "is a type of report that is not known here, and its columns do not tell what it is of", ""},
}}

// hides are columns that are not the affected host's in the reports that have them.
var hides = []struct{ report, column, hidden string }{
	{"*", "http_referer_ip", "src_"}, // who came from a compromised page: the page's host is meant
	{"spam_url", "", "src_"},         // who sent the spam; the address is that of the page it advertises
}

func hidden(report string, columns []string, name string) bool {
	return slices.ContainsFunc(hides, func(h struct{ report, column, hidden string }) bool {
		return (h.report == "*" || h.report == report) && (h.column == "" || slices.Contains(columns, h.column)) && strings.HasPrefix(name, h.hidden)
	})
}

var reportFile = regexp.MustCompile(`^\d{4}-\d\d-\d\d-([a-z][a-z0-9_]*)[-.]`)

// reportType is the type of a report by its file's name, else by its columns, as the type that is like it. It is "" for what is no
// report of Shadowserver's.
func reportType(opt Options, columns []string) string {
	named := ""
	if m := reportFile.FindStringSubmatch(strings.ToLower(opt.Name)); m != nil {
		if named = m[1]; slices.ContainsFunc(shadowserver.rules, func(x rule) bool {
			is, _ := path.Match(x.like, named)
			return x.name == reportName && x.like != "*" && is
		}) {
			return named
		}
	}
	has := func(names ...string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(columns, n) })
	}
	dotted := slices.ContainsFunc(columns, func(n string) bool { return strings.Contains(n, ".") }) // as IntelMQ's
	shaped := opt.Format == Shadowserver || !dotted && (has("src_ip") || has("severity", "geo") || has("severity", "email"))
	switch {
	case !shaped:
		return ""
	case has("query_type", "src_ip"):
		return "event4_sinkhole_dns"
	case has("avg_pps", "max_pps"):
		return "event4_honeypot_ddos"
	case has("md5hash") && !has("infection"):
		return "sandbox_conn"
	case has("infection"), has("family"), has("src_ip"):
		return "event4_sinkhole"
	case has("email"):
		return "compromised_account"
	case has("url", "sha256"):
		return "malware_url"
	case has("ip", "port", "tag"), has("ip", "port", "severity"):
		return "scan"
	}
	return cmp.Or(named, "unknown")
}
