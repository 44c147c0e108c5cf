package constituency_test

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
)

// mmdb makes a database as MaxMind's is.
func mmdb(t testing.TB) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "test", IncludeReservedNetworks: true, RecordSize: 24})
	if err != nil {
		t.Fatal(err)
	}
	for prefix, value := range map[string]mmdbtype.Map{
		"240.1.0.0/16":  {"country": mmdbtype.Map{"iso_code": mmdbtype.String("AT")}},
		"240.2.0.0/16":  {"autonomous_system_number": mmdbtype.Uint32(7)},
		"240.3.0.0/16":  {"country_code": mmdbtype.String("PL"), "asn": mmdbtype.String("AS8")},
		"240.5.0.0/16":  {"asn": mmdbtype.Uint64(9)},
		"240.4.0.0/16":  {"city": mmdbtype.String("nothing of use")},
		"2001:db8::/32": {"country": mmdbtype.String("DE")},
	} {
		_, n, err := net.ParseCIDR(prefix)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(n, value); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := tree.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTablesOfAllFormats(t *testing.T) {
	for name, c := range map[string]struct{ text, format, want string }{
		"csv":    {"prefix,asn,cc\n240.1.0.0/16,7,AT\n240.2.0.0/16,0,\n240.3.0.0/16,,PL\n", constituency.TableCSV, "240.1.0.0/16,7,AT 240.2.0.0/16,0, 240.3.0.0/16,,PL"},
		"ranges": {"start,end,country,asn\n240.1.0.0,240.1.2.255,AT,7\n", constituency.TableRanges, "240.1.0.0/23,7,AT 240.1.2.0/24,7,AT"},
		"ranges without a header": {
			"240.1.0.0\t240.1.0.255\t7\tAT\tSOME-AS, with a comma\n2001:db8::\t2001:db8:ffff:ffff:ffff:ffff:ffff:ffff\t0\tNone\tNot routed\n", constituency.TableRanges,
			"240.1.0.0/24,7,AT 2001:db8::/32,0,",
		},
		"ranges behind a comment": {"# a comment\n240.1.0.0,240.1.0.255,7\n", constituency.TableRanges, "240.1.0.0/24,7,"},
		"ranges with other names": {"start_ip,end_ip,as,iso_code\n240.1.0.0,240.1.0.255,AS7,at\n240.2.0.0,240.2.0.255,-,ZZ\n", constituency.TableRanges, "240.1.0.0/24,7,AT 240.2.0.0/24,,"},
		"rir of everything":       {"x|AT|ipv4|0.0.0.0|4294967296|d|allocated\nx|DE|ipv6|::|128|d|assigned\nx|PL|ipv6|2001:db8::|128|d|assigned\n", constituency.TableRIR, "0.0.0.0/0,,AT ::/128,,DE 2001:db8::/128,,PL"},
		"ranges with spaces":      {"start,end,cc,asn\n240.1.0.0 , 240.1.0.255 , AT , 7 \n", constituency.TableRanges, "240.1.0.0/24,7,AT"},
		"ranges of countries":     {"240.1.0.0,240.1.0.0,AT\n", constituency.TableRanges, "240.1.0.0/32,,AT"},
		"rir": {
			"2|ripencc|20260319|5|19830705|20260318|+0100\nripencc|*|ipv4|*|3|summary\n" +
				"ripencc|AT|ipv4|240.1.0.0|768|20100101|allocated|x\nripencc|AT|asn|7|1|20100101|allocated|x\n" +
				"ripencc|PL|ipv4|240.2.0.0|256|20100101|assigned|x\nripencc||ipv4|240.3.0.0|256||available|\nripencc|DE|ipv4|240.4.0.0|256|20100101|reserved|x\n" +
				"ripencc|DE|ipv6|2001:db8::|32|20100101|allocated|x\n", constituency.TableRIR,
			"240.1.0.0/23,,AT 240.1.2.0/24,,AT 240.2.0.0/24,,PL 2001:db8::/32,,DE",
		},
		"pfx2as": {"240.1.0.0\t16\t7\n240.2.0.0\t16\t7_8\n240.3.0.0\t16\t7,8\n", constituency.TablePfx2as, "240.1.0.0/16,7, 240.2.0.0/16,0, 240.3.0.0/16,0,"},
		"mmdb":   {string(mmdb(t)), constituency.TableMMDB, "240.1.0.0/16,,AT 240.2.0.0/16,7, 240.3.0.0/16,8,PL 240.5.0.0/16,9, 2001:db8::/32,,DE"},
	} {
		for _, format := range []string{"", c.format} {
			rows, err := constituency.ParseTable([]byte(c.text), format)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			_, text, _ := strings.Cut(string(constituency.FormatNetworks(rows)), "\n")
			if got := strings.Join(strings.Fields(text), " "); got != c.want {
				t.Errorf("%s: got %s, want %s", name, got, c.want)
			}
		}
	}
}

func TestTablesThatAreNotSound(t *testing.T) {
	for name, c := range map[string]struct{ text, format, want string }{
		"rir, a count that goes over":  {"x|AT|ipv4|255.255.255.0|512|d|allocated\n", "", "line 1: 512 addresses from 255.255.255.0 on are too many"},
		"rir, no country":              {"x|AT|ipv4|240.0.0.0|256|d|allocated\nx|Austria|ipv4|240.0.0.0|256|d|allocated\n", "", `line 2: "AUSTRIA" is not a country`},
		"rir, a count of nothing":      {"x|AT|ipv4|240.0.0.0|0|d|allocated\n", "", "neither a count"},
		"rir, a length of too much":    {"x|AT|ipv6|2001:db8::|129|d|allocated\n", constituency.TableRIR, "line 1"},
		"ranges, nothing":              {"start,end,asn\n", constituency.TableRanges, "no range"},
		"ranges, a country of three":   {"start,end,cc\n240.0.0.1,240.0.0.9,AUT\n", "", "is not a country"},
		"rir, fields":                  {"x|AT|ipv4|240.0.0.0\n", constituency.TableRIR, "line 1: "},
		"rir, nothing":                 {"2|ripencc|20260319|5|19830705|20260318|+0100\n", "", "no prefix"},
		"pfx2as, no prefix":            {"240.0.0.0\t33\t7\n", "", `line 1: "240.0.0.0/33" is not a prefix`},
		"ranges, the wrong way round":  {"240.0.0.9,240.0.0.1,AT\n", "", "line 1: 240.0.0.9 to 240.0.0.1 is no range"},
		"ranges, of two families":      {"240.0.0.9,2001:db8::1,AT\n", "", "is no range"},
		"ranges, no AS number":         {"240.0.0.1,240.0.0.9,seven\n", "", `"seven" is not an AS number`},
		"mmdb, cut":                    {string(mmdb(t)[200:]), "", "cannot be read"},
		"a format that nobody has":     {"x", "xml", `format "xml" is not read`},
		"csv, lines that are not good": {"prefix,asn,cc\n240.1.0.0/16,7,AT\n240.1.0.0,7,AT\n240.2.0.0/16,seven,AT\n", constituency.TableCSV, "line 3: "},
		"empty":                        {"", "", "empty"},
		"a long line":                  {strings.Repeat("x|", 100_000), "", ""},
		"mmdb that is none, in format": {"x", constituency.TableMMDB, "cannot be read"},
	} {
		if _, err := constituency.ParseTable([]byte(c.text), c.format); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What one table does not say of a prefix, a wider one, or another table, does.
func TestTablesCompleteEachOther(t *testing.T) {
	rir, err := constituency.ParseTable([]byte("x|AT|ipv4|240.1.0.0|65536|d|allocated\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := constituency.ParseTable([]byte("240.1.2.0\t24\t7\n240.1.3.0\t24\t7_8\n240.1.0.0\t16\t9\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	r := constituency.New(nil, constituency.NewNetworks(append(rir, pfx...)), &exchange.Feed{})
	var got []string
	for _, a := range []string{"240.1.2.3", "240.1.3.3", "240.1.4.3", "240.2.0.0"} {
		p := r.Look(netip.MustParseAddr(a))
		got = append(got, fmt.Sprint(a, " ", p.ASN, " ", p.Country))
	}
	if d := cmp.Diff([]string{"240.1.2.3 7 AT", "240.1.3.3 0 AT", "240.1.4.3 9 AT", "240.2.0.0 0 "}, got); d != "" {
		t.Error(d)
	}
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("prefix,asn,cc\n240.1.0.0/16,7,AT\n"))
	f.Add([]byte("240.1.0.0,240.1.2.255,7,AT\n"))
	f.Add([]byte("x|AT|ipv4|240.1.0.0|768|d|allocated\nx|AT|ipv6|2001:db8::|32|d|allocated\n"))
	f.Add([]byte("240.1.0.0\t16\t7_8\n"))
	f.Add(mmdb(f))
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := constituency.ParseTable(text, "")
		if err != nil {
			return
		}
		canonical := constituency.FormatNetworks(rows)
		again, err := constituency.ParseNetworks(bytes.NewReader(canonical))
		if err != nil || !bytes.Equal(constituency.FormatNetworks(again), canonical) {
			t.Fatalf("the canonical form is not stable: %v", err)
		}
		for _, n := range rows {
			if !n.Prefix.IsValid() || n.Prefix != n.Prefix.Masked() {
				t.Fatalf("prefix %v", n.Prefix)
			}
		}
	})
}
