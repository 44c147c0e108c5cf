package report

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// parseIPv4 reads an IPv4 address as it usually stands, without making a string of it;
// what it does not read is netip's to judge.
func parseIPv4(v []byte) (a netip.Addr, ok bool) {
	var octets [4]byte
	at, n, digits := 0, 0, 0
	for _, c := range v {
		switch {
		case c >= '0' && c <= '9' && (digits == 0 || n > 0) && n*10+int(c-'0') <= 255:
			n, digits = n*10+int(c-'0'), digits+1
		case c == '.' && digits > 0 && at < 3:
			octets[at] = byte(n)
			at, n, digits = at+1, 0, 0
		default:
			return a, false
		}
	}
	octets[at] = byte(n)
	return netip.AddrFrom4(octets), at == 3 && digits > 0
}

// fault is what is wrong with a value. Of many rows with the same fault one is shown.
type fault struct {
	what, value string
	read        bool // all the same, and otherwise than it stands there
}

func (f *fault) Error() string {
	if f.value == "" {
		return f.what
	}
	return fmt.Sprintf("%q %s", f.value, f.what)
}

func wrong(value []byte, format string, args ...any) error {
	return &fault{what: fmt.Sprintf(format, args...), value: string(value[:min(len(value), 64)])}
}

func parseAddress(v []byte) (netip.Addr, error) {
	if a, ok := parseIPv4(v); ok {
		return a, nil
	}
	if len(v) > 64 {
		return netip.Addr{}, wrong(nil, "is not an IP address")
	}
	a, err := netip.ParseAddr(string(v))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, wrong(v, "is not an IP address")
	}
	return a.Unmap(), nil
}

func setAddress(ev *exchange.Event, v []byte) (err error) {
	ev.Address, err = parseAddress(v)
	return err
}

// setEmail leaves it to complete whether the row is of an account.
func setEmail(ev *exchange.Event, v []byte) error { return setText(&ev.Account, v) }

func setDst(ev *exchange.Event, v []byte) (err error) {
	ev.Dst, err = parseAddress(v)
	return err
}

// earliest bounds the times that are believed; the other bound is a day ahead.
var earliest = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

var began = time.Now()

func setTime(ev *exchange.Event, v []byte) error { return setInstant(&ev.Observed, v) }

func setFirst(ev *exchange.Event, v []byte) error { return setInstant(&ev.First, v) }

func setInstant(to *time.Time, v []byte) error {
	if len(v) > 64 {
		return wrong(nil, "is not a time")
	}
	at, err := parseTime(v)
	if err != nil {
		return wrong(v, "is not a time: use 2026-03-19T00:04:07Z, or 2026-03-19 00:04:07 in UTC")
	}
	// What is before the process began needs no look at the clock.
	if at.Before(earliest) || at.After(began) && at.After(time.Now().Add(24*time.Hour)) {
		return wrong(v, "is before 2000 or more than a day ahead")
	}
	*to = at.UTC().Truncate(time.Millisecond)
	return nil
}

// parseTime reads a time as sources write it: ISO 8601 with T or a space, in UTC where no zone is named; or the seconds,
// or milliseconds, since 1970.
func parseTime(v []byte) (at time.Time, err error) {
	const usual = len(time.DateTime)
	if len(v) == usual && v[10] == ' ' { // in the other form it is read several times as fast
		var iso [usual + 1]byte
		copy(iso[:], v)
		iso[10], iso[usual] = 'T', 'Z'
		if at.UnmarshalText(iso[:]) == nil {
			return at, nil
		}
	}
	if at.UnmarshalText(v) == nil {
		return at, nil
	}
	s := strings.ToUpper(string(v))
	if n, err := strconv.ParseFloat(s, 64); err == nil && isEpoch(s) {
		if n >= 1e11 {
			return time.UnixMilli(int64(n)), nil
		}
		return time.UnixMicro(int64(math.Round(n * 1e6))), nil
	}
	for _, zone := range []string{" UTC", " GMT", "UTC"} {
		s = strings.TrimSuffix(s, zone)
	}
	s, leap := leapSecond(s)
	if len(s) > 10 && s[10] == ' ' {
		s = s[:10] + "T" + s[11:]
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02T15:04:05Z07", "2006-01-02T15:04:05 Z07:00", "2006-01-02T15:04:05 Z0700"} {
		if at, err = time.Parse(layout, s); err == nil {
			return at.Add(leap), nil
		}
	}
	return at, err
}

// isEpoch tells whether a number is one of seconds or milliseconds since 1970.
func isEpoch(s string) bool {
	whole, _, _ := strings.Cut(s, ".")
	return strings.Trim(whole, "0123456789") == "" && (len(whole) >= 9 && len(whole) <= 10 || len(whole) >= 12 && len(whole) <= 13)
}

// leapSecond makes a 60th second the 59th, and says how much is to be added then.
func leapSecond(s string) (string, time.Duration) {
	if len(s) >= len(time.DateTime) && s[16:19] == ":60" {
		return s[:17] + "59" + s[19:], time.Second
	}
	return s, 0
}

func setPort(to *uint16, v []byte) error {
	n, err := strconv.ParseUint(string(v), 10, 16)
	if err != nil {
		return wrong(v, "is not a port (0 to 65535)")
	}
	*to = uint16(n)
	return nil
}

func setASN(ev *exchange.Event, v []byte) (err error) {
	if ev.ASN, err = exchange.ParseASN(string(v)); err != nil {
		return wrong(v, "is not an AS number")
	}
	return nil
}

// setCountry takes two letters; codes of no country, which look-up tables
// use for proxies and the unknown, say nothing.
func setCountry(ev *exchange.Event, v []byte) error {
	if len(v) > 2 {
		return wrong(v, "is not a country (two letters, ISO 3166-1)")
	}
	cc := exchange.Country(string(v))
	ev.Country = cc
	if cc != "" && !strings.EqualFold(cc, string(v)) {
		return &fault{what: "is read as " + cc + ", which is the country's code", value: string(v), read: true}
	}
	return nil
}

func setText(to *string, v []byte) error {
	switch {
	case len(v) > maxText:
		return wrong(nil, "is longer than %d bytes", maxText)
	case printable(v):
	case !utf8.Valid(v):
		return wrong(nil, "is not UTF-8")
	case bytes.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return wrong(nil, "holds a control character")
	}
	*to = string(v)
	return nil
}

// printable reports whether all is ASCII and can be seen.
func printable(v []byte) bool {
	for _, c := range v {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// setHostname takes a name as the DNS has it; one of other letters is read as the DNS writes it.
func setHostname(ev *exchange.Event, v []byte) error {
	if isHostname(v) { // as nearly all are
		ev.Hostname = string(v)
		return nil
	}
	var name string
	if err := setText(&name, v); err != nil {
		return err
	}
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if !printable([]byte(name)) {
		ascii, err := exchange.DomainName(name)
		if err != nil {
			return wrong(v, "is not a host's name")
		}
		name = ascii
	}
	if !isHostname(name) {
		return wrong(v, "is not a host's name")
	}
	ev.Hostname = name
	return nil
}

// isHostname tells whether the DNS can have a name, and it is no address: letters, digits, hyphens and underscores
// between dots (RFC 1035 section 2.3.1; underscores as they are used).
func isHostname[T string | []byte](name T) bool {
	label, digits := 0, 0 // of the label so far
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.' && label > 0:
			label, digits = 0, 0
			continue
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'z', c == '-', c == '_':
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return len(name) <= 253 && label > digits // the last is no number, as an address's
}

// setExposed takes what is open or vulnerable as one word, such as scan_rdp or open-rdp.
func setExposed(ev *exchange.Event, v []byte) error {
	word := strings.ToLower(string(v))
	if len(word) > maxExposed || strings.Trim(word, "abcdefghijklmnopqrstuvwxyz0123456789-_./:+") != "" {
		return wrong(v, "is not what is exposed (at most %d letters, digits and -_./:+)", maxExposed)
	}
	ev.Exposed = word
	return nil
}

const maxExposed = 64

// setProtocol and setApplication fill one field: the transport comes first,
// whichever column does.
func setProtocol(ev *exchange.Event, v []byte) error {
	transport, err := protocolName(v)
	if err != nil {
		return err
	}
	ev.Protocol = both(transport, ev.Protocol)
	return nil
}

func setApplication(ev *exchange.Event, v []byte) error {
	application, err := protocolName(v)
	if err != nil {
		return err
	}
	ev.Protocol = both(ev.Protocol, application)
	return nil
}

func both(transport, application string) string {
	if transport == "" || application == "" {
		return transport + application
	}
	return transport + " " + application
}

func protocolName(v []byte) (name string, err error) {
	if len(v) > maxProtocol {
		return "", wrong(v, "is longer than %d bytes", maxProtocol)
	}
	for _, usual := range usualProtocols {
		if string(v) == usual {
			return usual, nil
		}
	}
	err = setText(&name, v)
	return strings.ToLower(name), err
}

// usualProtocols are those of most rows: no string is made for them.
var usualProtocols = []string{"tcp", "udp", "http", "https", "dns", "icmp", "telnet", "ssh"}

// setLabel and setFloor keep the highest of several: a source may say it under more than one name.
func setLabel(ev *exchange.Event, v []byte) error { return raise(&ev.Label, v) }

func setFloor(ev *exchange.Event, v []byte) error { return raise(&ev.Floor, v) }

func raise(to *tlp.Level, v []byte) error {
	l, err := tlp.Parse(string(v))
	*to = max(*to, l)
	return err
}

// setMalware takes a family's name in lower case: sources write it in any.
func setMalware(ev *exchange.Event, v []byte) error {
	if err := setText(&ev.Malware, v); err != nil {
		return err
	}
	ev.Malware = strings.ToLower(ev.Malware)
	return nil
}

func unix(at int64) string { return time.Unix(at, 0).UTC().Format(time.RFC3339) }

// setCount takes a whole number, which some write as 20.0.
func setCount(ev *exchange.Event, v []byte) error {
	digits, zeros, _ := strings.Cut(string(v), ".")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 1 || n > 1e12 || strings.Trim(zeros, "0") != "" {
		return wrong(v, "is not a count (1 to 1000000000000)")
	}
	ev.Count = n
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
