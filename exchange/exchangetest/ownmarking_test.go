package exchangetest_test

import (
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// What leaves has at least the marking of its own bytes, also where a newer version of the object, in
// another collection, has a lower one.
func TestWhatLeavesKeepsItsOwnMarking(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string][2]string{"the lower one is newer": {version1, version2}, "the lower one is older": {version2, version1}} {
		t.Run(name, func(t *testing.T) {
			e := ringing(t, t.TempDir(), strict)
			at, r := as(t, e, "cert-at"), newReceiver(t)
			e.Apply(t, "webhooks:\n"+hookLine("soc", "cert-at", "strict", r.URL, "bundle"))
			must := func(collection, object string) {
				t.Helper()
				if why := at.add(collection, object); why != "" {
					t.Fatal(why)
				}
			}
			// Until both versions are there, the webhook's receiver is down.
			var up atomic.Bool
			r.set(func(w http.ResponseWriter, _ *http.Request) bool {
				if !up.Load() {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
				return up.Load()
			})
			must("strict", strings.Replace(sample(2, version1, green), "198.51.100.1", "198.51.100.2", 1)) // which may leave
			must("strict", sample(1, versions[0], amberStrict))
			if versions[0] == version1 {
				must("mid", sample(1, versions[1], green))
			} else if at.add("mid", sample(1, versions[1], green)) == "" {
				t.Error("an older version has lowered the label")
			}
			up.Store(true)
			waitFor(t, "the webhook", func() bool { st := at.hook("soc"); return !st.State.After.Before(st.Newest) })
			if sent := r.objects(); slices.Contains(sent, sampleID(1)) || !slices.Contains(sent, sampleID(2)) {
				t.Error("the webhook was sent", sent)
			}
			if got := (&misp{member: at, collection: "strict"}).values(); len(got) != 1 || got["198.51.100.2"] != "tlp:green" {
				t.Error("MISP is given", got)
			}
			if versions[0] == version1 {
				if got := (&misp{member: at, collection: "mid"}).values(); len(got) != 1 {
					t.Error("the lower version may leave:", got)
				}
			}
		})
	}
}
