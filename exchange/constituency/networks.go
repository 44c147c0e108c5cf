package constituency

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxNetworkProblems is how many problems of a networks file are listed.
const maxNetworkProblems = 100

// ParseNetworks reads a networks table: CSV with the columns prefix, asn and
// cc, in any order, a header line first; asn and cc may be empty. Any row that
// is not good makes the whole table unusable, because a hole in it would
// misplace addresses: then the error lists the lines.
func ParseNetworks(r io.Reader) ([]exchange.Network, error) {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	in.TrimLeadingSpace = true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("the networks file is empty: want a header line with prefix, asn and cc")
	}
	if err != nil {
		return nil, fmt.Errorf("networks: %w", err)
	}
	head = slices.Clone(head)
	head[0] = strings.TrimPrefix(head[0], "\ufeff")
	at := func(name string) int {
		return slices.IndexFunc(head, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
	}
	prefix, asn, cc := at("prefix"), at("asn"), at("cc")
	if prefix < 0 || asn < 0 && cc < 0 {
		return nil, fmt.Errorf("networks: the header is %.200q: want prefix, and asn or cc or both", strings.Join(head, ","))
	}
	var rows []exchange.Network
	var problems []error
	for len(problems) < maxNetworkProblems {
		rec, err := in.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		var row exchange.Network
		if err == nil {
			row, err = network1(rec, prefix, asn, cc)
		}
		if err != nil {
			problems = append(problems, atLine(in, rec, err))
			continue
		}
		rows = append(rows, row)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return rows, nil
}

// atLine names the line of a record that is not good, or that could not be read.
func atLine(in *csv.Reader, rec []string, err error) error {
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", syntax.Line, syntax.Err)
	case len(rec) == 0:
		return err
	}
	line, _ := in.FieldPos(0)
	return fmt.Errorf("line %d: %w", line, err)
}

func network1(rec []string, prefix, asn, cc int) (n exchange.Network, err error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(rec[prefix]))
	if err != nil || p.Addr().Is4In6() {
		return n, fmt.Errorf("%.60q is not a prefix", rec[prefix])
	}
	n.Prefix = p.Masked()
	if asn >= 0 {
		if s := strings.TrimSpace(rec[asn]); s != "" {
			v, err := exchange.ParseASN(s)
			if err != nil {
				return n, err
			}
			n.ASN, n.NoASN = v, v == 0
		}
	}
	if cc >= 0 {
		s := strings.TrimSpace(rec[cc])
		if len(s) != 0 && len(s) != 2 {
			return n, fmt.Errorf("%.20q is not a country (two letters, ISO 3166-1)", s)
		}
		n.Country = exchange.Country(s)
	}
	return n, nil
}

// FormatNetworks writes the table in the form that ParseNetworks reads, sorted; what
// several rows say of a prefix is one row.
func FormatNetworks(rows []exchange.Network) []byte {
	var b bytes.Buffer
	b.WriteString("prefix,asn,cc\n")
	for _, n := range joined(rows) {
		asn := ""
		if n.ASN != 0 || n.NoASN {
			asn = strconv.FormatUint(uint64(n.ASN), 10)
		}
		fmt.Fprintf(&b, "%s,%s,%s\n", n.Prefix, asn, n.Country)
	}
	return b.Bytes()
}

// joined sorts rows and makes one of those of a prefix: the later counts for what it
// says.
func joined(rows []exchange.Network) []exchange.Network {
	sorted := slices.Clone(rows)
	slices.SortStableFunc(sorted, func(a, b exchange.Network) int { return a.Prefix.Compare(b.Prefix) })
	out := sorted[:0]
	for _, n := range sorted {
		if len(out) == 0 || out[len(out)-1].Prefix != n.Prefix {
			out = append(out, n)
			continue
		}
		have := &out[len(out)-1]
		if n.ASN != 0 || n.NoASN {
			have.ASN, have.NoASN = n.ASN, n.NoASN
		}
		have.Country = cmp.Or(n.Country, have.Country)
	}
	return out
}
