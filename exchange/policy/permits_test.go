package policy_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// goesOut is what may leave by each channel, as FIRST's TLP 2.0 reads for this exchange: the highest label
// to somebody cleared for everything, and RED only where each reader is known by name.
var goesOut = map[exchange.Channel]tlp.Level{
	"taxii": tlp.Red, "web": tlp.Red, "nats": tlp.AmberStrict, "events": tlp.AmberStrict, "explain": tlp.AmberStrict,
	"misp": tlp.Amber, "webhook": tlp.Amber, "peer": tlp.Green, "export": tlp.Clear, "backup": tlp.Red, "log": tlp.Clear,
}

func TestEveryWayOutForEveryLabel(t *testing.T) {
	for _, channel := range policy.Channels() {
		most, known := goesOut[channel]
		if !known {
			t.Errorf("way out %s has no row here: which labels may leave by it?", channel)
			continue
		}
		for _, label := range append(tlp.Levels(), tlp.None, tlp.Unknown) {
			for _, clearance := range append(tlp.Levels(), tlp.None) {
				for _, named := range []bool{false, true} {
					for _, concerned := range []bool{false, true} {
						to := policy.Recipient{Clearance: clearance, Named: named, Concerned: concerned}
						want := label.Valid() && label <= most && label <= clearance
						if channel == exchange.ChannelPeer && concerned {
							want = label.Valid() && label <= min(tlp.Amber, clearance)
						}
						if label == tlp.Red && !named && channel != exchange.ChannelBackup {
							want = false
						}
						if got := policy.Permits(label, channel, to); got != want {
							t.Errorf("%s by %s to %+v: %v", label, channel, to, got)
						}
					}
				}
			}
		}
	}
	if policy.Permits(tlp.Clear, "pigeon", policy.Recipient{Clearance: tlp.Red, Named: true}) {
		t.Error("a channel that nobody knows lets something out")
	}
}

// Every channel that the source names has a row: a new way out fails here until somebody has thought about it. That
// ways out read nothing without a right to it by a channel, the compiler sees to (cmd/tocsin/waysout_test.go).
func TestNoWayOutIsForgotten(t *testing.T) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "../channel.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && strings.HasPrefix(v.Names[0].Name, "Channel") {
				name, _ := strconv.Unquote(lit.Value)
				if _, known := goesOut[exchange.Channel(name)]; !known || !slices.Contains(policy.Channels(), exchange.Channel(name)) {
					t.Errorf("%s has no row", v.Names[0].Name)
				}
			}
		}
		return true
	})
}
