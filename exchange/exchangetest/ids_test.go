package exchangetest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// An outsider who knows the source and everything about a host, but not the secret, computes none of its objects' ids.
// An exchange that is restored from a copy of the data directory makes the same ones.
func TestIDsOfHostsAreNotComputedWithoutTheSecret(t *testing.T) {
	t.Parallel()
	const hosts = 250
	dir := t.TempDir()
	e := exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Secret: []byte("what nobody knows")})
	e.Apply(t, exchangetest.Register)
	var rows strings.Builder
	rows.WriteString("ip,timestamp,cc,asn,port\n")
	address := func(i int) string { return fmt.Sprintf("240.0.%d.%d", i/200, i%200+1) }
	for i := range hosts {
		fmt.Fprintf(&rows, "%s,2026-03-19T10:00:00Z,AT,64500,%d\n", address(i), 1024+i)
	}
	e.Publish(t, "rustock", rows.String())
	objects, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{Types: []string{"observed-data", "indicator", "sighting", "relationship", "malware", "location", "identity", "course-of-action"}})
	seen := make(map[string]bool)
	for _, o := range objects {
		seen[property(o, "id")[0]] = true
	}
	if len(seen) < 5*hosts {
		t.Fatalf("%d ids", len(seen))
	}
	feed := e.Register.Current().Feed("rustock")
	known := 0
	for i := range hosts {
		of := exchange.HostDay{}.At(exchange.Location{Country: "AT", ASN: 64500})
		if _, err := fmt.Sscan(strconv.Itoa(20531), &of.Day); err != nil {
			t.Fatal(err)
		}
		if err := of.Address.UnmarshalText([]byte(address(i))); err != nil {
			t.Fatal(err)
		}
		for _, typ := range []string{"observed-data", "indicator", "sighting"} {
			if seen[e.HostObject("rustock", typ, address(i), "2026-03-19", exchange.Location{Country: "AT", ASN: 64500})] {
				known++
			}
			// The recipe under secrets that can be guessed, and as it was before there was one.
			for _, secret := range [][]byte{nil, {}, make([]byte, 32), []byte("the secret of tests"), []byte("the secret of the demo, which is none")} {
				if id := exchange.NewIDs(secret).Of(typ, feed.Recipe(of, 1)...); seen[id] {
					t.Fatal("computed:", id)
				}
			}
			if id := stix.DerivedID(typ, "address", address(i), "day", "2026-03-19", "operation", feed.Operation, "publisher", feed.By()); seen[id] {
				t.Fatal("computed:", id)
			}
			if id := stix.DerivedID(typ, feed.Recipe(of, 1)...); seen[id] {
				t.Fatal("computed:", id)
			}
		}
	}
	if known != 3*hosts {
		t.Errorf("with the secret, %d of %d are known: the recipe is another than this test's", known, 3*hosts)
	}
	for _, id := range []string{
		stix.DerivedID("identity", "member", "dcu"), stix.DerivedID("malware", "malware", "rustock", "operation", "rustock", "publisher", "dcu"),
		stix.DerivedID("location", "country", "AT", "publisher", "dcu"), stix.DerivedID("course-of-action", "operation", "rustock", "publisher", "dcu"),
	} {
		if seen[id] {
			t.Error("computed:", id)
		}
	}
	ids := e.Register.Current().IDs
	for id := range seen {
		if !ids.Made(id) && id != "identity--"+strings.TrimPrefix(stix.DerivedID("identity", "project", "tocsin"), "identity--") {
			t.Error("not known for ours:", id)
		}
	}
	before := e.HostObject("rustock", "observed-data", "240.9.9.9", "2026-03-19", exchange.Location{})
	e.Stop(t)
	restored := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(restored, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	e = exchangetest.Open(t, restored) // with another secret for a new one, which it is not
	if after := e.HostObject("rustock", "observed-data", "240.9.9.9", "2026-03-19", exchange.Location{}); after != before {
		t.Errorf("restored, the exchange makes %s, not %s", after, before)
	}
}
