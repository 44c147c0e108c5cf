package constituency

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/oschwald/maxminddb-golang/v2"
	"go4.org/netipx"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// The formats of tables that say where addresses are.
const (
	TableCSV    = "csv"    // prefix,asn,cc with a header line
	TableRanges = "ranges" // from,to and AS number or country or both, comma or tab
	TableRIR    = "rir"    // the registries' delegated-extended files
	TablePfx2as = "pfx2as" // RouteViews
	TableMMDB   = "mmdb"   // MaxMind's database format
)

// TableFormats lists the formats that are read.
func TableFormats() []string {
	return []string{TableCSV, TableRanges, TableRIR, TablePfx2as, TableMMDB}
}

// ParseTable reads a table in a format, "" for the one that its content shows. Any row
// that is not good makes the whole table unusable: a hole in it would misplace
// addresses.
func ParseTable(text []byte, format string) ([]exchange.Network, error) {
	if format == "" {
		format = tableFormat(text)
	}
	switch format {
	case TableCSV:
		return ParseNetworks(bytes.NewReader(text))
	case TableRanges:
		return parseRanges(text)
	case TableRIR:
		return eachLine(text, rirLine)
	case TablePfx2as:
		return eachLine(text, pfx2asLine)
	case TableMMDB:
		return parseMMDB(text)
	}
	return nil, fmt.Errorf("format %.40q is not read (use one of %s)", format, strings.Join(TableFormats(), ", "))
}

// tableFormat tells the format by content.
func tableFormat(text []byte) string {
	if bytes.Contains(text[max(0, len(text)-128<<10):], []byte("\xab\xcd\xefMaxMind.com")) {
		return TableMMDB
	}
	first := ""
	for line := range bytes.Lines(text[:min(len(text), 64<<10)]) {
		if s := strings.TrimSpace(string(line)); s != "" && s[0] != '#' {
			first = s
			break
		}
	}
	if strings.Count(first, "|") >= 3 {
		return TableRIR
	}
	part := strings.FieldsFunc(strings.ToLower(first), func(r rune) bool { return r == ',' || r == '\t' || r == '"' })
	if len(part) < 2 {
		return TableCSV
	}
	_, err0 := netip.ParseAddr(part[0])
	_, err1 := netip.ParseAddr(part[1])
	switch {
	case err0 == nil && err1 == nil, part[0] == "start", part[0] == "start_ip", part[0] == "range_start":
		return TableRanges
	case err0 == nil && strings.Count(first, "\t") == 2:
		return TablePfx2as
	}
	return TableCSV
}

// eachLine reads a table line by line. A line may be of no prefix at all.
func eachLine(text []byte, read func(line string) ([]exchange.Network, error)) (rows []exchange.Network, err error) {
	var problems []error
	number := 0
	for raw := range bytes.Lines(text) {
		if number++; len(problems) >= maxNetworkProblems {
			break
		}
		line := strings.TrimSpace(string(raw))
		if line == "" || line[0] == '#' {
			continue
		}
		some, err := read(line)
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		rows = append(rows, some...)
	}
	if len(problems) == 0 && len(rows) == 0 {
		problems = append(problems, errors.New("the table has no prefix"))
	}
	return rows, errors.Join(problems...)
}

// rirLine reads a line of a delegated-extended file: registry, country, type, start,
// value, date, status. Only what is allocated or assigned counts; the value of IPv4 is
// a count of addresses, which need not be one prefix.
func rirLine(line string) ([]exchange.Network, error) {
	part := strings.Split(line, "|")
	if len(part) > 5 && part[5] == "summary" || len(part) > 0 && part[0] != "" && part[0][0] >= '0' && part[0][0] <= '9' {
		return nil, nil // the version and summary lines
	}
	if len(part) < 7 {
		return nil, fmt.Errorf("%.80q has %d fields, of registry|cc|type|start|value|date|status", line, len(part))
	}
	cc, typ, start, value, status := strings.ToUpper(part[1]), part[2], part[3], part[4], part[6]
	if cc != "" && len(cc) != 2 {
		return nil, fmt.Errorf("%.20q is not a country (two letters, ISO 3166-1)", cc)
	}
	if cc = exchange.Country(cc); typ == "asn" || status != "allocated" && status != "assigned" || cc == "" {
		return nil, nil
	}
	from, err := netip.ParseAddr(start)
	if err != nil {
		return nil, fmt.Errorf("%.60q is not an IP address", start)
	}
	n, err := strconv.ParseUint(value, 10, 33)
	if err != nil || n == 0 {
		return nil, fmt.Errorf("%.20q is neither a count of addresses nor a prefix length", value)
	}
	switch {
	case typ == "ipv6" && from.Is6() && n <= 128:
		return []exchange.Network{{Prefix: netip.PrefixFrom(from, int(n)).Masked(), Country: cc}}, nil
	case typ == "ipv4" && from.Is4():
		a := from.As4()
		last := uint64(a[0])<<24 | uint64(a[1])<<16 | uint64(a[2])<<8 | uint64(a[3])
		if last += n - 1; last > 1<<32-1 {
			return nil, fmt.Errorf("%d addresses from %s on are too many", n, from)
		}
		return between(from, netip.AddrFrom4([4]byte{byte(last >> 24), byte(last >> 16), byte(last >> 8), byte(last)}), exchange.Network{Country: cc})
	}
	return nil, fmt.Errorf("%.20q of %s is not read", typ, start)
}

// pfx2asLine reads a line of RouteViews' pfx2as: prefix, length, AS numbers. Where several
// announce it, no one can be told.
func pfx2asLine(line string) ([]exchange.Network, error) {
	part := strings.Fields(line)
	if len(part) != 3 {
		return nil, fmt.Errorf("%.80q has %d fields, of prefix, length, AS number", line, len(part))
	}
	p, err := netip.ParsePrefix(part[0] + "/" + part[1])
	if err != nil {
		return nil, fmt.Errorf("%.60q is not a prefix", part[0]+"/"+part[1])
	}
	origins := strings.FieldsFunc(part[2], func(r rune) bool { return strings.ContainsRune("_,{}", r) })
	slices.Sort(origins)
	if origins = slices.Compact(origins); len(origins) != 1 {
		return []exchange.Network{{Prefix: p.Masked(), NoASN: true}}, nil
	}
	asn, err := exchange.ParseASN(origins[0])
	return []exchange.Network{{Prefix: p.Masked(), ASN: asn, NoASN: asn == 0}}, err
}

// between is what a range of addresses says, as prefixes.
func between(from, to netip.Addr, say exchange.Network) (rows []exchange.Network, err error) {
	r := netipx.IPRangeFrom(from.Unmap(), to.Unmap())
	if !r.IsValid() {
		return nil, fmt.Errorf("%s to %s is no range of addresses", from, to)
	}
	for _, p := range r.Prefixes() {
		say.Prefix = p
		rows = append(rows, say)
	}
	return rows, nil
}

// parseRanges reads ranges: with a header line that names start, end, asn and cc or
// country, or without one; then a column of two letters is a country, and one of a
// number an AS number.
func parseRanges(text []byte) (rows []exchange.Network, err error) {
	in := csv.NewReader(bytes.NewReader(text))
	in.ReuseRecord, in.FieldsPerRecord, in.LazyQuotes, in.Comment = true, -1, true, '#'
	if first, _, _ := bytes.Cut(text, []byte{'\n'}); bytes.Contains(first, []byte{'\t'}) {
		in.Comma = '\t'
	}
	var head []string
	var problems []error
	for number := 1; len(problems) < maxNetworkProblems; number++ {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && number == 1 {
			if _, bad := netip.ParseAddr(rec[0]); bad != nil {
				for _, name := range rec {
					head = append(head, strings.ToLower(strings.TrimSpace(name)))
				}
				continue
			}
		}
		var some []exchange.Network
		if err == nil {
			some, err = rangeOf(rec, head)
		}
		if err != nil {
			problems = append(problems, atLine(in, rec, err))
			continue
		}
		rows = append(rows, some...)
	}
	if len(problems) == 0 && len(rows) == 0 {
		problems = append(problems, errors.New("the table has no range"))
	}
	return rows, errors.Join(problems...)
}

func rangeOf(rec, head []string) ([]exchange.Network, error) {
	if len(rec) < 3 {
		return nil, fmt.Errorf("%d fields, of from, to, and AS number or country", len(rec))
	}
	from, err0 := netip.ParseAddr(strings.TrimSpace(rec[0]))
	to, err1 := netip.ParseAddr(strings.TrimSpace(rec[1]))
	if err0 != nil || err1 != nil {
		return nil, fmt.Errorf("%.60q to %.60q is no range of addresses", rec[0], rec[1])
	}
	var say exchange.Network
	for i, value := range rec[2:] {
		value = strings.TrimSpace(value)
		name := ""
		if len(head) > i+2 {
			name = head[i+2]
		}
		letters := len(value) == 2 && value[0] > '9'
		switch {
		case value == "" || value == "-" || strings.EqualFold(value, "none"):
		case slices.Contains([]string{"cc", "country", "country_code", "iso_code"}, name), head == nil && letters && say.Country == "":
			if len(value) != 2 {
				return nil, fmt.Errorf("%.20q is not a country (two letters, ISO 3166-1)", value)
			}
			say.Country = exchange.Country(value)
		case slices.Contains([]string{"asn", "as", "as_number", "autonomous_system_number"}, name), head == nil && i == 0:
			asn, err := exchange.ParseASN(value)
			if err != nil {
				return nil, err
			}
			say.ASN, say.NoASN = asn, asn == 0
		}
	}
	return between(from, to, say)
}

// mmdbRecord is what the usual databases say of a network: MaxMind's and DB-IP's
// nest the country, others write it, and the AS number, as text.
type mmdbRecord struct {
	Country any    `maxminddb:"country"`
	Code    string `maxminddb:"country_code"`
	Number  uint32 `maxminddb:"autonomous_system_number"`
	ASN     any    `maxminddb:"asn"`
}

func parseMMDB(text []byte) (rows []exchange.Network, err error) {
	db, err := maxminddb.OpenBytes(text)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be read: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for r := range db.Networks() {
		var rec mmdbRecord
		if err := r.Decode(&rec); err != nil {
			return nil, fmt.Errorf("network %s: %w", r.Prefix(), err)
		}
		p := r.Prefix()
		if p.Addr().Is4In6() {
			p = netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
		}
		n := exchange.Network{Prefix: p.Masked(), ASN: rec.Number, Country: rec.Code}
		switch c := rec.Country.(type) {
		case string:
			n.Country = c
		case map[string]any:
			n.Country, _ = c["iso_code"].(string)
		}
		switch a := rec.ASN.(type) {
		case string:
			n.ASN, _ = exchange.ParseASN(a)
		case uint64:
			n.ASN = uint32(a)
		}
		n.Country = exchange.Country(n.Country)
		if n.ASN != 0 || n.Country != "" {
			rows = append(rows, n)
		}
	}
	if len(rows) == 0 {
		return nil, errors.New("the database says neither country nor AS number of any network")
	}
	return rows, nil
}
