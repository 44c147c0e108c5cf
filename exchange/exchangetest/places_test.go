package exchangetest_test

import (
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// One contact that is published with two locations is one network-traffic object of two observations. It is there once,
// and for as long as one of them is.
func TestAContactWithTwoLocations(t *testing.T) {
	t.Parallel()
	const head = "timestamp,ip,port,cc,asn,tlp\n"
	one, two := "2026-03-19 12:00:00,240.1.0.9,4000,AT,64501,amber\n", "2026-03-19 12:00:00,240.1.0.9,4000,AT,64502,amber\n"
	for name, chunks := range map[string][]string{"in one chunk": {one + two}, "in two": {one, two}} {
		e := exchangetest.Start(t, exchangetest.Register)
		publish := func(rows string) {
			e.Publish(t, "rustock", head+rows)
			e.Settled(t)
		}
		ids := func(typ string) (list []string) {
			seen := make(map[string]bool)
			for _, c := range []string{"isp-one", "feed-rustock"} {
				objects, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{Types: []string{typ}})
				for _, o := range objects {
					id := property(o, "id")[0]
					if seen[c+id] {
						t.Errorf("%s: %s is twice in %s", name, id, c)
					}
					if seen[c+id] = true; c == "isp-one" {
						list = append(list, id)
					}
				}
			}
			return list
		}
		for _, rows := range chunks {
			publish(rows)
		}
		if n := len(ids("network-traffic")); n != 1 || len(ids("observed-data")) != 2 {
			t.Errorf("%s: %d contacts", name, n)
		}
		publish("2026-03-19 12:00:01,240.1.0.9,4000,AT,64501,amber+strict\n")
		if n := len(ids("network-traffic")); n != 1 || len(ids("observed-data")) != 1 {
			t.Errorf("%s: the observation that stays has %d contacts", name, n)
		}
		publish("2026-03-19 12:00:01,240.1.0.9,4000,AT,64502,amber+strict\n")
		if left := append(ids("network-traffic"), ids("observed-data")...); len(left) != 0 {
			t.Errorf("%s: left are %v", name, left)
		}
		_, _, gone := e.Do(t, "GET", "/v1/collections/isp-one/withdrawn", "isp-one", e.Token(t, "isp-one"), "")
		if strings.Contains(gone, "network-traffic") || !strings.Contains(gone, "observed-data") {
			t.Errorf("%s: observables are named in what was withdrawn: %s", name, gone)
		}
		e.Stop(t)
	}
}
