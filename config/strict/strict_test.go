package strict_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/config/strict"
)

type names []string

func (n *names) UnmarshalScalar(text string) error {
	*n = names{text}
	return nil
}

type member struct {
	ID       string         `yaml:"id"`
	Prefixes []netip.Prefix `yaml:"prefixes,omitempty"`
	Readers  names          `yaml:"readers"`
	Weight   uint8          `yaml:"weight"`
	Public   bool           `yaml:"public"`
	Hidden   string
}

type file struct {
	Members []member          `yaml:"members"`
	IDs     map[string]string `yaml:"ids"`
	Since   time.Time         `yaml:"since"`
}

func TestWhatIsRead(t *testing.T) {
	got := new(file)
	lines, problems := strict.Parse([]byte(`# a comment
members:
  - &a {id: 007, prefixes: [240.0.0.0/8, "2001:db8::/32"], readers: all, weight: 255, public: true}
  - *a
  - id: NO
    readers: [x, 'y']
    prefixes:
ids: {a: "1", b: x}
since: 2026-03-19T00:04:07Z
`), got)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	a := member{ID: "007", Prefixes: []netip.Prefix{netip.MustParsePrefix("240.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, Readers: names{"all"}, Weight: 255, Public: true}
	want := &file{Members: []member{a, a, {ID: "NO", Readers: names{"x", "y"}}}, IDs: map[string]string{"a": "1", "b": "x"}, Since: time.Date(2026, 3, 19, 0, 4, 7, 0, time.UTC)}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); d != "" {
		t.Error(d)
	}
	if lines["members[2].id"] != 5 || lines["since"] != 9 {
		t.Error(lines)
	}
}

func TestAllThatIsWrongIsSaid(t *testing.T) {
	for text, want := range map[string][]string{
		"members:\n  - {id: x, colour: red}\n  - {id: [y], weight: 256, public: yes}\nsince: now\n": {
			"line 2: unknown key members[0].colour: there are members[0].id, members[0].prefixes, members[0].readers, members[0].weight, members[0].public",
			"line 3: members[1].id wants a value", "line 3: members[1].weight: \"256\" is not a whole number from 0 to 255",
			"line 3: members[1].public: \"yes\" is not true or false", "line 4: since: parsing time",
		},
		"members: [{prefixes: [240.0.0.0/8, x]}]": {"line 1: members[0].prefixes[1]: netip.ParsePrefix(\"x\")"},
		"members: x":                             {"line 1: members wants a list"},
		"members: [x]":                           {"line 1: members[0] wants keys and values below it"},
		"- x":                                    {"line 1: the file wants keys and values below it"},
		"ids: {a: 1}\nids: {b: 2}":               {"line 2: ids stands twice, first on line 1"},
		"ids: {a: 1, a: 2}":                      {"line 1: ids.a stands twice, first on line 1"},
		"ids: {a: *b}":                           {"line 1: there is no &b before it"},
		"ids: {}\n---\nids: {}":                  {"line 3: a second document"},
		"members: [{hidden: x}]":                 {"line 1: unknown key members[0].hidden"},
		"members: [{id: ]":                       {"["},
		"since: {}":                              {"line 1: since wants a value"},
		"<<: {since: 1}":                         {"line 1: unknown key <<"},
		"members: [{id: null}]":                  {"line 1: members[0].id wants a value"},
		"ids: &a {a: *a}":                        {"line 1: ids.a wants a value"},
		"\x00":                                   {""},
		"members: [{readers: {a: b}}]":           {"line 1: members[0].readers wants a list"},
		"ids: {a: [1]}":                          {"line 1: ids.a wants a value"},
		"members: [{prefixes: [[240.0.0.0/8]]}]": {"line 1: members[0].prefixes[0] wants a value"},
		"members: [{prefixes: 240.0.0.0/8, id: a}]":  {"line 1: members[0].prefixes wants a list"},
		"members:\n- id: a\n  id: b\n- {weight: -1}": {"line 3: members[0].id stands twice, first on line 2", "line 4: members[1].weight: \"-1\" is not"},
	} {
		_, problems := strict.Parse([]byte(text), new(file))
		for _, w := range want {
			if !slices.ContainsFunc(problems, func(p strict.Problem) bool { return strings.HasPrefix(p.String(), w) }) {
				t.Errorf("%q: %v, want %q", text, problems, w)
			}
		}
	}
}

func TestAliasesThatMultiplyAreBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString("members:\n- &a0 {id: x}\n- prefixes: []\n")
	for i := range 40 {
		fmt.Fprintf(&text, "- readers: &b%d [", i)
		for range 10 {
			if i > 0 {
				fmt.Fprintf(&text, "*b%d, ", i-1)
			}
		}
		text.WriteString("x]\n")
	}
	if _, problems := strict.Parse([]byte(text.String()), new(file)); len(problems) == 0 {
		t.Error("lists of lists are texts")
	}
}

func TestWhatNestsTooDeepIsRefused(t *testing.T) {
	for _, text := range []string{
		"members: " + strings.Repeat("[", 100_000), "members:\n" + strings.Repeat("- ", 100_000), strings.Repeat("{a: ", 100_000),
		"members: [" + strings.Repeat(`"]",[`, 1000), `members: [" #",` + strings.Repeat("[", 1000), "# \r" + strings.Repeat("[", 1000),
	} {
		if _, problems := strict.Parse([]byte(text), new(file)); len(problems) != 1 || !strings.Contains(problems[0].Reason, "too deep") {
			t.Error(problems)
		}
	}
	lines := "members:\n" + strings.Repeat("  - {id: \"Team #1 [\", readers: [a, b]} # {[\n", 1000)
	if _, problems := strict.Parse([]byte(lines), new(file)); len(problems) != 0 {
		t.Error("what is in quotes and comments is no depth:", problems)
	}
	if _, problems := strict.Parse([]byte("\xef\xbb\xbfids: {a: b}"), new(file)); len(problems) != 0 {
		t.Error("a byte order mark:", problems)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("members:\n  - &a {id: x, prefixes: [240.0.0.0/8], readers: all}\n  - *a\nids: {a: b}\nsince: 2026-03-19T00:04:07Z\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		_, problems := strict.Parse(text, new(file))
		for _, p := range problems {
			if p.Reason == "" {
				t.Fatal("a problem without a reason")
			}
		}
	})
}

// BenchmarkParse reads a register of owners with 70 prefixes each; its figure per owner
// does not grow with their number.
func BenchmarkParse(b *testing.B) {
	for _, owners := range []int{100, 10_000} {
		var text strings.Builder
		text.WriteString("members:\n")
		for i := range owners {
			fmt.Fprintf(&text, "  - {id: owner-%d, prefixes: [", i)
			for j := range 70 {
				fmt.Fprintf(&text, "240.%d.%d.%d/32, ", i>>8, i&255, j)
			}
			text.WriteString("]}\n")
		}
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			for b.Loop() {
				f := new(file)
				if _, problems := strict.Parse([]byte(text.String()), f); len(problems) > 0 || len(f.Members) != owners {
					b.Fatal(problems)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(owners), "ns/owner")
		})
	}
}
