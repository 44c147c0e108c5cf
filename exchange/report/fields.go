package report

import (
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// field is one thing an event can say, and how its text is read.
type field struct {
	name string
	set  func(ev *exchange.Event, value []byte) error
	// must says that there is no event without it: a row is rejected where it cannot be read. Of others it is left out.
	must bool
	// text is where set puts what it makes of the value alone, of a field that is often the
	// same row after row; nil for others.
	text  func(ev *exchange.Event) *string
	index int // into fields
}

// maxText is the longest text field in bytes, maxProtocol that of a protocol's
// name. The journal's records rest on it: see exchange.MaxText.
const (
	maxText     = 256
	maxProtocol = 32
)

var fields = []*field{
	{name: "ip", set: setAddress, must: true},
	{name: emailField, set: setEmail, must: true},
	{name: "timestamp", set: setTime, must: true},
	{name: "first_seen", set: setFirst},
	{name: "port", set: func(ev *exchange.Event, v []byte) error { return setPort(&ev.Port, v) }},
	{name: "asn", set: setASN},
	{name: "cc", set: setCountry, text: func(ev *exchange.Event) *string { return &ev.Country }},
	{name: "hostname", set: setHostname},
	{name: "malware", set: setMalware, text: func(ev *exchange.Event) *string { return &ev.Malware }},
	{name: "protocol", set: setProtocol},
	{name: "application", set: setApplication},
	{name: "provider", set: func(ev *exchange.Event, v []byte) error { return setText(&ev.Provider, v) }, text: func(ev *exchange.Event) *string { return &ev.Provider }},
	{name: "dst_ip", set: setDst},
	{name: "dst_port", set: func(ev *exchange.Event, v []byte) error { return setPort(&ev.DstPort, v) }},
	{name: "exposed", set: setExposed, must: true},
	{name: "id", set: func(ev *exchange.Event, v []byte) error { return setText(&ev.PublisherID, v) }},
	{name: labelField, set: setLabel, must: true},
	{name: floorField, set: setFloor, must: true},
	{name: "count", set: setCount},
}

// plain is how the formats are read that have a row's values under names of their own choice: CSV and JSON lines,
// IntelMQ's and Shadowserver's names among them. Of names of one kind a source's own (src_) stands above the one that
// this format documents, and that above aliases.
var plain = table{flat: true, known: aboutSightings, rules: intelmqRules, names: []names{
	{"ip", []string{"http_referer_ip", "src_ip", "ip", "source.ip", "source_ip", "source_identifier", "address"}},
	{emailField, []string{"email"}},
	{"timestamp", []string{"timestamp", "time.source", "time", "observed_at", observationTime}},
	{"first_seen", []string{"first_seen"}},
	{"port", []string{"src_port", "port", "source.port", "source_port", "sport"}},
	{"asn", []string{"http_referer_asn", "src_asn", "asn", "source.asn", "source_asn"}},
	{"cc", []string{"http_referer_geo", "src_geo", "cc", "source.geolocation.cc", "geo", "country"}},
	{"hostname", []string{"http_referer_hostname", "src_hostname", "hostname", "source.reverse_dns", "source.fqdn"}},
	{"malware", []string{"malware", "infection", "malware.name", "malware_family", "family"}},
	{"protocol", []string{"protocol", "protocol.transport", "proto"}},
	{"application", []string{"application", "protocol.application"}},
	{"provider", []string{"provider", "public_source", "extra.public_source", "feed.provider", "reporter.org"}},
	{"dst_ip", []string{"dst_ip", "destination.ip", "destination_ip", "dip"}},
	{"dst_port", []string{"dst_port", "destination.port", "destination_port", "dport"}},
	{"exposed", []string{"exposed"}},
	{"id", []string{"id", "event_id", "extra.event_id", "report_id"}},
	{labelField, []string{labelField, "extra." + labelField}},
	{floorField, []string{floorField, "extra." + floorField}},
	{"count", []string{"count"}},
}}

// aboutSightings are columns that tocsin pull writes for people. extra is what an event's other columns were.
var aboutSightings = []string{"operation", "relapse", extraColumn}

const extraColumn = "extra"

// observationTime is when a collector noticed, which counts where a row has no other time.
const observationTime = "time.observation"

// emailField is an account that was compromised, where a row has no address.
const emailField = "email"

// The fields that restrict who may be shown a row. Where a row has several of them, each counts.
const (
	labelField = "tlp"
	floorField = "tlp_floor"
)

// restricts reports whether the field is one of those.
func (f *field) restricts() bool { return f != nil && (f.name == labelField || f.name == floorField) }

var fieldByName = func() map[string]*field {
	m := make(map[string]*field)
	for i, f := range fields {
		f.index = i
		m[f.name] = f
	}
	return m
}()

// The places of an address and an account in fields.
var ipIndex, emailIndex = fieldByName["ip"].index, fieldByName[emailField].index

func fieldNames() []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// complete checks that the row said what every event needs.
func complete(ev *exchange.Event) error {
	if email := ev.Account; email != "" && !ev.Address.IsValid() {
		if err := ev.SetAccount(email); err != nil {
			return rowError(ev.Line, emailField, "%v", err)
		}
	}
	if !ev.Address.IsValid() {
		return rowError(ev.Line, "ip", "no address")
	}
	if ev.Observed.IsZero() {
		return rowError(ev.Line, "timestamp", "no time")
	}
	if !ev.First.Before(ev.Observed) {
		ev.First = time.Time{}
	}
	return nil
}
