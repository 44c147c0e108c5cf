package report

import (
	"bytes"
	"errors"
	"fmt"
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

func parseAddress(v []byte) (netip.Addr, error) {
	if a, ok := parseIPv4(v); ok {
		return a, nil
	}
	if len(v) > 64 {
		return netip.Addr{}, errors.New("is not an IP address")
	}
	a, err := netip.ParseAddr(string(v))
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", v)
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

var (
	spacedLayouts = []string{time.DateTime, "2006-01-02 15:04:05Z07:00"}
	isoLayouts    = []string{time.RFC3339Nano, "2006-01-02T15:04:05"}
)

func setTime(ev *exchange.Event, v []byte) error {
	if len(v) > 64 {
		return errors.New("is not a time")
	}
	at, err := parseTime(v)
	if err != nil {
		return fmt.Errorf("%q is not a time: use 2026-03-19T00:04:07Z, or 2026-03-19 00:04:07 in UTC", v)
	}
	// What is before the process began needs no look at the clock.
	if at.Before(earliest) || at.After(began) && at.After(time.Now().Add(24*time.Hour)) {
		return fmt.Errorf("%q is before 2000 or more than a day ahead", v)
	}
	ev.Observed = at.UTC().Truncate(time.Millisecond)
	return nil
}

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
	s, layouts := string(v), spacedLayouts
	if len(s) > 10 && s[10] != ' ' {
		layouts = isoLayouts
	}
	for _, layout := range layouts {
		if at, err = time.Parse(layout, s); err == nil {
			break
		}
	}
	return at, err
}

func setPort(to *uint16, v []byte) error {
	n, err := strconv.ParseUint(string(v), 10, 16)
	if err != nil {
		return fmt.Errorf("%.20q is not a port (0 to 65535)", v)
	}
	*to = uint16(n)
	return nil
}

func setASN(ev *exchange.Event, v []byte) error {
	s := string(v)
	if len(s) > 2 && strings.EqualFold(s[:2], "AS") {
		s = s[2:]
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return fmt.Errorf("%.20q is not an AS number", v)
	}
	ev.ASN = uint32(n)
	return nil
}

// setCountry takes two letters; other two-character codes, which look-up tables
// use for proxies and the unknown, say nothing.
func setCountry(ev *exchange.Event, v []byte) error {
	if len(v) > 2 {
		return fmt.Errorf("%.20q is not a country (two letters, ISO 3166-1)", v)
	}
	if cc := strings.ToUpper(string(v)); exchange.ValidCountry(cc) {
		ev.Country = cc
	}
	return nil
}

func setText(to *string, v []byte) error {
	switch {
	case len(v) > maxText:
		return fmt.Errorf("is %d bytes long, %d is the limit", len(v), maxText)
	case printable(v):
	case !utf8.Valid(v):
		return errors.New("is not UTF-8")
	case bytes.ContainsFunc(v, func(r rune) bool { return r < 0x20 || r == 0x7f }):
		return errors.New("holds a control character")
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

func setHostname(ev *exchange.Event, v []byte) error {
	if err := setText(&ev.Hostname, v); err != nil {
		return err
	}
	ev.Hostname = strings.ToLower(strings.TrimSuffix(ev.Hostname, "."))
	return nil
}

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
		return "", fmt.Errorf("is %d bytes long, %d is the limit", len(v), maxProtocol)
	}
	err = setText(&name, v)
	return strings.ToLower(name), err
}

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

func setCount(ev *exchange.Event, v []byte) error {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < 1 || n > 1e12 {
		return fmt.Errorf("%.30q is not a count (1 to 1000000000000)", v)
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
