package report

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFormatsAreDescribedAsTheyAreRead(t *testing.T) {
	if os.Getenv("TOCSIN_UPDATE") != "" {
		if err := os.WriteFile("FORMATS.md", []byte(describe()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("FORMATS.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(text), describe()); d != "" {
		t.Error(d)
	}
}

// describe writes, as Markdown, how each format is read: its table. FORMATS.md is it.
func describe() string {
	var b strings.Builder
	b.WriteString(`# Formats

How rows become events, for each format: which of its names fill a field, and which of its types tell of an
infection. This page is made of the tables that the program reads with
(` + "`TOCSIN_UPDATE=1 go test ./exchange/report -run Formats`" + `).

Of several names the first one with a value in a row counts; of labels each. A name that ` + "`--map`" + ` gives a field
stands above them. A field that cannot be read is left out and noted in the receipt, but for address, account, time,
label and what is exposed, without which there is no event. Names are read in any case. Columns and keys that
nothing is read from are listed as ` + "`unread`" + `.

What tells of something exposed (open to everybody, or vulnerable) is an event of its own: routed the same, with a
note instead of an indicator, and never a reason to call a host infected. What tells of neither is rejected, and the
receipt says why.

Two rows are one event when they say the same: address, port, time, count, AS number, country, hostname, malware,
protocol, provider, destination and the publisher's id. So the same contact from two formats is one event only where
both say all of that; else it is counted twice, in one observation. The same event under another label is not a
second one: a higher label raises it.
`)
	for _, f := range []struct {
		title string
		table *table
		rules []rule
	}{
		{"Shadowserver", &shadowserver, shadowserver.rules},
		{"CSV, JSON lines and IntelMQ", &plain, plain.rules},
		{"n6", &n6Table, n6Table.rules},
		{"IDEA0", &ideaTable, ideaTable.rules},
		{"XARF 4", &xarfTable, xarfTable.rules},
		{"STIX 2.1, and observed-data of STIX 2.0", &stixTable, stixTable.rules},
		{"MISP", &mispTable, mispTable.rules},
	} {
		fmt.Fprintf(&b, "\n## %s\n\n| field | names |\n|---|---|\n", f.title)
		for _, n := range f.table.names {
			var names []string
			for _, name := range n.from {
				names = append(names, "`"+strings.ReplaceAll(name, "|", `\|`)+"`")
			}
			fmt.Fprintf(&b, "| %s | %s |\n", n.field, strings.Join(names, ", "))
		}
		if len(f.rules) == 0 {
			continue
		}
		b.WriteString("\n| where | is like | it tells of |\n|---|---|---|\n")
		for _, x := range f.rules {
			what := map[tells]string{infected: "an infection", exposed: "something exposed", nothing: "nothing: it " + x.why}[x.tells]
			fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", x.name, x.like, what)
		}
		b.WriteString("\nThe first line that applies counts. Where none does, since the row has none of these, it is an infection.\n")
	}
	b.WriteString(`
Of n6, ` + "`restriction`" + ` is the label: public is CLEAR, need-to-know GREEN at least, internal AMBER+STRICT at least; in
other categories than those named ` + "`fqdn`" + ` can be the destination's name, and is not read. Of MISP, the distribution
of an attribute, its object and its event restricts the label: one organisation and sharing groups are AMBER+STRICT
at least, communities GREEN. In a Shadowserver file with http_referer_ip the columns of src_ are those of visitors,
and in spam_url those of the sender: nothing is read from them.
`)
	return b.String()
}
