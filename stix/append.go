package stix

import (
	"bytes"
	"strconv"
	"time"
	"unicode/utf8"
)

// TimeLayout is how we write times: UTC, exactly three decimals (STIX 2.1
// section 3.2 wants that of created and modified).
const TimeLayout = "2006-01-02T15:04:05.000Z"

// ParseTime reads a STIX timestamp: RFC 3339 in UTC, ending in Z, with up to nine
// decimals.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	// Go takes more than RFC 3339 does, and offsets, which STIX does not have.
	if n := len(s); err != nil || n < 20 || n > 30 || s[13] != ':' || s[n-1] != 'Z' || s[19] == ',' {
		return time.Time{}, objectErr("%.60q is not a timestamp", s)
	}
	return t.UTC(), nil
}

// AppendTime appends t as TimeLayout has it, without quotes.
func AppendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, sec := t.Clock()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, TimeLayout)
	}
	b = append(b, byte('0'+year/1000), byte('0'+year/100%10), byte('0'+year/10%10), byte('0'+year%10), '-')
	b = append(append2(b, int(month)), '-')
	b = append(append2(b, day), 'T')
	b = append(append2(b, hour), ':')
	b = append(append2(b, minute), ':')
	b = append(append2(b, sec), '.')
	ms := t.Nanosecond() / 1e6
	return append(b, byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10), 'Z')
}

// appendShortTime is AppendTime without zeros at the end of the fraction, as python-stix2 and others write times of
// observables, whose identifiers are made of them.
func appendShortTime(b []byte, t time.Time) []byte {
	b = AppendTime(b, t)
	b = bytes.TrimRight(b[:len(b)-1], "0")
	return append(bytes.TrimSuffix(b, []byte{'.'}), 'Z')
}

func append2(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// AppendString appends s as a JSON string, quotes included, escaped as RFC 8785
// has it; bytes that are not UTF-8 become U+FFFD.
func AppendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
			b = append(append(b, s[start:i]...), "\ufffd"...)
			i++
			start = i
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, s)
	}
	return append(b, ']')
}

// The property writers below append a comma and then the property.

func appendProperty(b []byte, name, value string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return AppendString(b, value)
}

func appendTimeProperty(b []byte, name string, t time.Time) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':', '"')
	return append(AppendTime(b, t), '"')
}

func appendIntProperty(b []byte, name string, n int64) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return strconv.AppendInt(b, n, 10)
}

func appendListProperty(b []byte, name string, list []string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return appendStrings(b, list)
}
