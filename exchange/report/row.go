package report

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// appendRow appends an event as a JSON line, under the fields' own names, so that it
// reads as the event it was.
func appendRow(b []byte, ev *exchange.Event) []byte {
	text := func(name, value string) {
		if value == "" {
			return
		}
		b = append(append(append(b, ',', '"'), name...), '"', ':')
		b, _ = jsontext.AppendQuote(b, value)
	}
	number := func(name string, value int64) {
		if value != 0 {
			b = append(append(append(b, ',', '"'), name...), '"', ':')
			b = strconv.AppendInt(b, value, 10)
		}
	}
	label := func(name string, l tlp.Level) {
		if l != tlp.None {
			text(name, l.String())
		}
	}
	if ev.Account != "" {
		b, _ = jsontext.AppendQuote(append(b, `{"email":`...), ev.Account)
	} else {
		b = append(append(append(b, `{"ip":"`...), ev.Address.String()...), '"')
	}
	text("timestamp", ev.Observed.Format(stix.TimeLayout))
	if !ev.First.IsZero() {
		text("first_seen", ev.First.Format(stix.TimeLayout))
	}
	number("port", int64(ev.Port))
	number("asn", int64(ev.ASN))
	text("cc", ev.Country)
	text("hostname", ev.Hostname)
	text("malware", ev.Malware)
	transport, application, _ := strings.Cut(ev.Protocol, " ")
	text("protocol", transport)
	text("application", application)
	text("provider", ev.Provider)
	if ev.Dst.IsValid() {
		text("dst_ip", ev.Dst.String())
	}
	number("dst_port", int64(ev.DstPort))
	text("exposed", ev.Exposed)
	text("id", ev.PublisherID)
	label("tlp", ev.Label)
	label("tlp_floor", ev.Floor)
	number("count", ev.Count)
	if ev.Extra != "" {
		b = append(append(b, `,"extra":`...), ev.Extra...)
	}
	return append(b, '}', '\n')
}
