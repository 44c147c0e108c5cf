package report

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// field is one thing an event can say, the names under which sources say it,
// preferred first, and how its text is read.
type field struct {
	name    string
	aliases []string
	set     func(ev *exchange.Event, value []byte) error
	// text is where set puts what it makes of the value alone, of a field that is often the
	// same row after row; nil for others.
	text func(ev *exchange.Event) *string
}

// maxText is the longest text field in bytes, maxProtocol that of a protocol's
// name. The journal's records rest on it: see exchange.MaxText.
const (
	maxText     = 256
	maxProtocol = 32
)

var fields = []*field{
	{"ip", []string{"http_referer_ip", "src_ip", "source.ip", "source_ip", "source_identifier", "address"}, setAddress, nil},
	{emailField, nil, setEmail, nil},
	{"timestamp", []string{"time.source", "time", "observed_at"}, setTime, nil},
	{"port", []string{"src_port", "source.port", "source_port", "sport"}, func(ev *exchange.Event, v []byte) error { return setPort(&ev.Port, v) }, nil},
	{"asn", []string{"http_referer_asn", "src_asn", "source.asn", "source_asn"}, setASN, nil},
	{"cc", []string{"http_referer_geo", "src_geo", "source.geolocation.cc", "geo", "country"}, setCountry, func(ev *exchange.Event) *string { return &ev.Country }},
	{"hostname", []string{"http_referer_hostname", "src_hostname", "source.reverse_dns"}, setHostname, nil},
	{"malware", []string{"infection", "malware.name", "malware_family", "family"}, setMalware, func(ev *exchange.Event) *string { return &ev.Malware }},
	{"protocol", []string{"protocol.transport", "proto"}, setProtocol, nil},
	{"application", []string{"protocol.application"}, setApplication, nil},
	{"provider", []string{"public_source", "extra.public_source", "feed.provider", "reporter.org"}, func(ev *exchange.Event, v []byte) error { return setText(&ev.Provider, v) }, func(ev *exchange.Event) *string { return &ev.Provider }},
	{"dst_ip", []string{"destination.ip", "destination_ip", "dip"}, setDst, nil},
	{"dst_port", []string{"destination.port", "destination_port", "dport"}, func(ev *exchange.Event, v []byte) error { return setPort(&ev.DstPort, v) }, nil},
	{"id", []string{"event_id", "extra.event_id", "report_id"}, func(ev *exchange.Event, v []byte) error { return setText(&ev.PublisherID, v) }, nil},
	{labelField, nil, setLabel, nil},
	{floorField, nil, setFloor, nil},
	{"count", nil, setCount, nil},
}

// emailField is an account that was compromised, where a row has no address.
const emailField = "email"

// The fields that restrict who may be shown a row. Their names are read in any case, and where a
// row has several of them, each counts.
const (
	labelField = "tlp"
	floorField = "tlp_floor"
)

// restricts reports whether the field is one of those.
func (f *field) restricts() bool { return f != nil && (f.name == labelField || f.name == floorField) }

var fieldByName = func() map[string]*field {
	m := make(map[string]*field)
	for _, f := range fields {
		m[f.name] = f
	}
	return m
}()

func fieldNames() []string {
	var names []string
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

// named is a field as one name stands for it. Where several names of a field
// are there, the one of the lowest rank counts: one mapped by hand, then the
// aliases in their order, then the field's own name, because a report that has
// both src_port and port means the former.
type named struct {
	*field
	rank int
}

// mapped returns the field for every name a source may use. A name that the
// map gives away no longer means what it did.
func mapped(rename map[string]string) map[string]named {
	m := make(map[string]named)
	for _, f := range fields {
		for i, a := range f.aliases {
			m[a] = named{f, i}
		}
		m[f.name] = named{f, len(f.aliases)}
	}
	for from, to := range rename {
		m[from] = named{fieldByName[to], -1}
	}
	return m
}

// assign gives each column its field, so that a field is filled by one column
// only, but for those that restrict. Sources whose address is not an infected host's are refused.
func assign(columns []string, rename map[string]string) ([]*field, error) {
	names := mappedLower(rename)
	best := make(map[*field]int)
	for i, c := range columns {
		if c != "" && slices.Index(columns, c) != i {
			return nil, fmt.Errorf("column %.60q stands twice", c)
		}
		n := names[c]
		if n.field == nil || n.restricts() {
			continue
		}
		if j, taken := best[n.field]; !taken || n.rank < names[columns[j]].rank {
			best[n.field] = i
		}
	}
	if i, ok := best[fieldByName["ip"]]; ok && columns[i] == "src_ip" && slices.Contains(columns, "query_type") {
		return nil, errors.New(resolverReason)
	}
	ip := fieldByName["ip"]
	_, accounts := best[fieldByName[emailField]]
	for _, must := range []string{"ip", "timestamp"} {
		f := fieldByName[must]
		if _, ok := best[f]; !ok && (f != ip || !accounts) {
			return nil, fmt.Errorf("no column for %s (one of %s; or name yours with --map column=%s); the header is: %s",
				must, strings.Join(append([]string{must}, f.aliases...), ", "), must, bound(strings.Join(columns, ",")))
		}
	}
	list := make([]*field, len(columns))
	for f, i := range best {
		list[i] = f
	}
	for i, c := range columns {
		if f := names[c].field; f.restricts() {
			list[i] = f
		}
	}
	return list, nil
}

// mappedLower is mapped for names in lower case.
func mappedLower(rename map[string]string) map[string]named {
	lower := make(map[string]string, len(rename))
	for from, to := range rename {
		lower[strings.ToLower(from)] = to
	}
	return mapped(lower)
}

// columnsOf lists the columns that can fill a field.
func columnsOf(columns []string, rename map[string]string, f *field) (list []int) {
	names := mappedLower(rename)
	for i, c := range columns {
		if names[c].field == f {
			list = append(list, i)
		}
	}
	return list
}

const resolverReason = "in a sinkhole DNS report src_ip is a resolver, never the infected host: there is nothing to route here"

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
	return nil
}
