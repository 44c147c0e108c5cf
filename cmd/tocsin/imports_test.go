package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tocsin-exchange/tocsin/"

// allowed is the import graph: what each package of ours may import of ours. A
// new edge is a reviewed change to this table.
var allowed = map[string][]string{
	"stix/tlp":      {},
	"stix":          {"stix/pattern", "stix/tlp"},
	"stix/stixtest": {},
	"taxii":         {},
	// A manifest's identifiers are STIX's, and come in parts.
	"taxii/taxiiserver": {"stix", "taxii"},
	// A backend has to know what it keeps.
	"taxii/taxiiserver/taxiimem":  {"stix", "taxii", "taxii/taxiiserver"},
	"taxii/taxiiclient":           {"taxii"},
	"taxii/taxiiserver/taxiitest": {},
	"config":                      {"config/strict"},
	"config/strict":               {},
	"stix/pattern":                {},
	"stix/lint":                   {"stix", "stix/pattern", "stix/tlp"},
	// The nouns.
	"exchange": {"stix", "stix/tlp"},
	// What the journal holds, and who may have what, know the nouns alone.
	"exchange/record": {"exchange", "stix", "stix/tlp"},
	"exchange/policy": {"exchange", "stix", "stix/tlp"},
	"exchange/access": {"exchange", "exchange/policy", "exchange/wait"},
	// How parts wait for each other; it knows none of them.
	"exchange/wait": {},
	// What time it is.
	"exchange/clock":        {},
	"exchange/report":       {"exchange", "stix", "stix/lint", "stix/pattern", "stix/tlp"},
	"exchange/constituency": {"exchange"},
	"exchange/packaging":    {"exchange", "exchange/record", "stix", "stix/tlp"},
	"exchange/broker":       {"exchange"},
	// The files of nats-server's streams, which it reads beside the server.
	"exchange/broker/filestore": {},
	// What is kept elsewhere knows the messages of streams alone.
	"exchange/archive": {"exchange/record"},
	// What is to be forgotten, in records and texts.
	"exchange/erasure": {"exchange", "exchange/record", "stix"},
	// The two ways in. They say what they want of journal and view, and know neither.
	"exchange/admission":  {"exchange", "exchange/policy", "exchange/record", "exchange/wait", "stix/tlp"},
	"exchange/submission": {"exchange", "exchange/policy", "exchange/record", "exchange/wait", "stix", "stix/lint", "stix/tlp"},
	"exchange/journal":    {"exchange", "exchange/erasure", "exchange/policy", "exchange/record", "stix", "stix/tlp"},
	// The view: what its keys say of objects, Pebble, three packages with keys of their own that know nothing of each
	// other, and what puts them together.
	"exchange/view/key":     {"exchange/record", "stix"},
	"exchange/view/store":   {},
	"exchange/view/index":   {"exchange/policy", "exchange/record", "exchange/view/key", "exchange/view/store", "exchange/wait", "stix", "stix/tlp"},
	"exchange/view/hosts":   {"exchange", "exchange/record", "exchange/view/store"},
	"exchange/view/members": {"exchange/record", "exchange/view/key", "exchange/view/store", "stix", "stix/tlp"},
	"exchange/view": {
		"exchange", "exchange/record", "exchange/view/hosts", "exchange/view/index", "exchange/view/key", "exchange/view/members", "exchange/view/store", "exchange/wait", "stix",
	},
	// It says what it wants of journal and view, too.
	"exchange/removal": {"exchange", "exchange/record", "exchange/wait"},
	// Both files that people write are read in one way.
	"exchange/register": {"config/strict", "exchange", "exchange/policy", "stix", "stix/tlp"},
	// A way out reads the view.
	"exchange/misp":    {"exchange", "exchange/policy", "exchange/view", "stix", "stix/pattern", "stix/tlp"},
	"exchange/webhook": {"exchange", "exchange/policy", "exchange/view", "exchange/wait", "stix", "stix/tlp", "taxii"},
	// The HTTP face reads the view and the register, and parses what is published.
	"exchange/api": {
		"exchange", "exchange/access", "exchange/admission", "exchange/erasure", "exchange/misp", "exchange/policy", "exchange/record", "exchange/register", "exchange/report", "exchange/submission",
		"exchange/view", "exchange/wait", "exchange/webhook", "stix", "stix/lint", "stix/tlp", "taxii", "taxii/taxiiserver",
	},
	// The client of /v1 cuts sources as the server reads them.
	"exchange/apiclient": {"exchange", "exchange/record", "exchange/report", "stix"},
	"exchange/node": {
		"exchange", "exchange/access", "exchange/admission", "exchange/api", "exchange/archive", "exchange/broker", "exchange/broker/filestore", "exchange/clock", "exchange/constituency", "exchange/erasure", "exchange/journal",
		"exchange/packaging", "exchange/policy", "exchange/record", "exchange/register", "exchange/removal", "exchange/submission", "exchange/view", "exchange/webhook", "stix/tlp", "taxii", "taxii/taxiiserver",
	},
	// A conformance suite's exchange: names and rights between the real parts.
	"exchange/fixture": {"exchange", "exchange/api", "exchange/node", "exchange/record", "stix", "stix/tlp", "taxii", "taxii/taxiiserver"},
	// It measures the exchange from outside, and NATS and Pebble by themselves.
	"exchange/bench": {
		"examples/rustock", "exchange", "exchange/api", "exchange/apiclient", "exchange/archive", "exchange/broker", "exchange/node", "exchange/policy", "exchange/record", "exchange/register", "exchange/view", "exchange/view/store",
		"stix", "stix/tlp", "taxii", "taxii/taxiiclient",
	},
	// It is written from the rules alone, and knows none of the code.
	"exchange/exchangetest/oracle":      {},
	"exchange/exchangetest/things":      {"stix"},
	"exchange/exchangetest/faults":      {},
	"exchange/exchangetest/faults/disk": {},
	"exchange/exchangetest":             {"exchange", "exchange/access", "exchange/apiclient", "exchange/node", "exchange/packaging", "exchange/policy", "exchange/register", "taxii", "taxii/taxiiclient"},
	"examples/rustock":                  {},
	"examples/webhook":                  {},
	"examples/subscriber":               {}, // and exchangetest in its test
}

// outside tells which packages of ours may know a module of others.
var outside = map[string][]string{
	"github.com/nats-io/nats-server": {"exchange/broker"},
	"github.com/nats-io/jwt":         {"exchange/broker"},
	"github.com/nats-io/nkeys":       {"exchange/broker"},
	"github.com/nats-io/nats.go":     {"exchange/broker", "exchange/journal", "exchange/register", "exchange/apiclient", "exchange/bench", "examples/subscriber"},
	"github.com/cockroachdb/pebble":  {"exchange/view", "exchange/view/hosts", "exchange/view/index", "exchange/view/members", "exchange/view/store", "exchange/bench"},
	"github.com/TcM1911/stix2":       {"exchange/packaging"},
	"github.com/spf13/cobra":         {"cmd/tocsin"},
	"github.com/santhosh-tekuri":     {"stix/stixtest"},
	"github.com/prometheus":          {"exchange/api"},
	"github.com/minio/minio-go":      {"exchange/archive"},
	"github.com/hanwen/go-fuse":      {"exchange/exchangetest/faults/disk"},
	"filippo.io/age":                 {"exchange/archive", "exchange/bench", "exchange/node", "cmd/tocsin"},
	"github.com/hashicorp":           {"taxii/taxiiclient", "exchange/apiclient", "exchange/webhook"},
}

func TestImportsGoDownwardsOnly(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.ImportPath}} {{join .Imports \" \"}}", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		list := strings.Fields(line)
		pkg := strings.TrimPrefix(list[0], module)
		may, known := allowed[pkg]
		if !known && pkg != "cmd/tocsin" {
			t.Errorf("package %s has no row in the import graph", pkg)
		}
		for _, imported := range list[1:] {
			if ours, ok := strings.CutPrefix(imported, module); ok {
				if pkg != "cmd/tocsin" && !slices.Contains(may, ours) {
					t.Errorf("%s may not import %s", pkg, ours)
				}
				continue
			}
			for prefix, who := range outside {
				if strings.HasPrefix(imported, prefix) && !slices.Contains(who, pkg) {
					t.Errorf("%s may not import %s", pkg, imported)
				}
			}
			if imported == "flag" || imported == "os/signal" {
				if pkg != "cmd/tocsin" && !strings.HasPrefix(pkg, "examples/") {
					t.Errorf("%s may not import %s: only the command knows flags and signals", pkg, imported)
				}
			}
			if imported == "log/slog" && (strings.HasPrefix(pkg, "stix") || pkg == "taxii") {
				t.Errorf("%s may not log", pkg)
			}
		}
	}
}
