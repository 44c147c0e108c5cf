package report_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// banner is an attacker's text in a quoted field: n line ends, and one of its lines reads as a row.
func banner(n int, row string) string {
	return strings.Repeat("x\n", n-1) + row + "\ny"
}

// What stands inside a quoted field is never a row, however the field or its row is damaged.
func TestNothingInsideAQuotedFieldIsARow(t *testing.T) {
	const head, invented, behind = "ip,timestamp,cc,asn,note\n", "240.60.9.9,2026-11-20 00:00:00,AT,23,x", "240.0.0.2,2026-11-20 00:00:00,AT,23,x\n"
	row := func(note string) string { return "240.0.0.1,2026-11-20 00:00:00,AT,23," + note + "\n" }
	long := strings.Repeat("z", 70<<10)
	for name, c := range map[string]struct {
		rows string
		want []string
	}{
		"within the bound":          {row(`"`+banner(16, invented)+`"`) + behind, []string{"240.0.0.1", "240.0.0.2"}},
		"18 line ends":              {row(`"`+banner(18, invented)+`"`) + behind, []string{"240.0.0.2", "line 2: a quoted field runs over more than 16 lines: lines 2 to 20 are rejected"}},
		"with quotes":               {row(`"`+banner(18, `""`+invented+`""`)+`"`) + behind, []string{"240.0.0.2", "line 2: a quoted field runs over more than 16 lines: lines 2 to 20 are rejected"}},
		"too few fields":            {`240.0.0.1,"` + banner(3, invented) + "\"\n" + behind, []string{"240.0.0.2", "line 2: has 2 fields, the header has 5 fields: lines 2 to 5 are rejected"}},
		"too many fields":           {row(`"`+banner(3, invented)+`",x`) + behind, []string{"240.0.0.2", "line 2: has 6 fields, the header has 5 fields: lines 2 to 5 are rejected"}},
		"never closed":              {row(`"`+banner(3, invented)) + behind, []string{"line 2: a quote is opened and not closed: lines 2 to 6 are rejected"}},
		"cut short":                 {strings.TrimSuffix(row(`"`+banner(18, invented)), "\ny\n"), []string{"line 2: a quote is opened and not closed: lines 2 to 19 are rejected"}},
		"longer than a row":         {row(`"`+strings.Repeat("x\n", 9)+strings.Repeat(strings.Repeat("w", 9000)+"\n", 9)+invented+"\n\"") + behind, []string{"240.0.0.2", "line 2: longer than 64 KiB: lines 2 to 21 are rejected"}},
		"a long first line":         {row(`"`+long+"\n"+invented+"\n\"") + behind, []string{"240.0.0.2", "line 2: longer than 64 KiB: lines 2 to 4 are rejected"}},
		"a long line within":        {row(`"a`+"\n"+long+`"",`+"\n"+invented+"\n\"") + behind, []string{"240.0.0.2", "line 2: longer than 64 KiB: lines 2 to 5 are rejected"}},
		"a long line that is alone": {row(long+`"`) + behind, []string{"240.0.0.2", "line 2: longer than 64 KiB"}},
	} {
		events, rejected, err := read(t, strings.NewReader(head+c.rows), report.Options{Format: report.CSV})
		if err != nil {
			t.Fatal(name, err)
		}
		var got []string
		for _, e := range events {
			got = append(got, e.Address.String())
		}
		if d := cmp.Diff(c.want, append(got, rejected...)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// Of a file that another writer of CSV has made of any texts, rows are read whole or rejected, and
// as many as there are.
func TestRowsOfAnyTextsAreReadOrRejected(t *testing.T) {
	piece := rapid.SampledFrom([]string{"\n", "\r\n", `"`, ",", "x", "240.60.9.9,2026-11-20 00:00:00,x", strings.Repeat("y", 9000), " ", "\n\n\n\n"})
	rapid.Check(t, func(t *rapid.T) {
		var b bytes.Buffer
		w := csv.NewWriter(&b)
		notes := rapid.SliceOfN(rapid.Map(rapid.SliceOfN(piece, 0, 30), func(l []string) string { return strings.Join(l, "") }), 1, 8).Draw(t, "notes")
		_ = w.Write([]string{"ip", "timestamp", "note"})
		var want []string
		for i, note := range notes {
			_ = w.Write([]string{fmt.Sprintf("240.0.0.%d", i), "2026-11-20 00:00:00", note})
			want = append(want, fmt.Sprintf("240.0.0.%d", i))
		}
		w.Flush()
		events, rejected, err := read(t, bytes.NewReader(b.Bytes()), report.Options{Format: report.CSV})
		if err != nil || len(events)+len(rejected) != len(notes) {
			t.Fatalf("%d events and %d rejected of %d rows: %v %v", len(events), len(rejected), len(notes), rejected, err)
		}
		for _, e := range events {
			for len(want) > 0 && want[0] != e.Address.String() {
				want = want[1:]
			}
			if len(want) == 0 {
				t.Fatalf("%v is nobody's row, or out of order", e.Address)
			}
		}
	})
}
