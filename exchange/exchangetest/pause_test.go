package exchangetest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

// BenchmarkRegisterChange publishes 100,000 events, fifty a request, while the register
// changes and while it does not, and reports the longest time between two receipts
// of each. A thousand owners have 20,000 prefixes; each change is another's.
func BenchmarkRegisterChange(b *testing.B) {
	const owners, perRequest, requests = 1000, 50, 1000
	register := func(change int) string {
		var text strings.Builder
		text.WriteString("members:\n  - {id: dcu, name: DCU, kind: publisher}\n  - {id: cert-at, name: CERT.at, kind: csirt, constituency: {countries: [AT]}}\n")
		for i := range owners {
			fmt.Fprintf(&text, "  - {id: owner-%d, name: Owner, kind: network-owner, constituency: {prefixes: [", i)
			for j := range 20 {
				fmt.Fprintf(&text, "240.%d.%d.%d/29, ", i>>8, i&255, 8*j)
			}
			fmt.Fprintf(&text, "241.0.%d.0/24]}}\n", (i+change)%250)
		}
		text.WriteString("feeds:\n  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock}, profile: observation, allow_reserved: true}\n")
		return text.String()
	}
	for b.Loop() {
		e := exchangetest.Start(b, register(0))
		n := 0
		stream := func(each func()) (longest time.Duration) {
			last := time.Now()
			for i := range requests {
				var rows strings.Builder
				rows.WriteString("ip,timestamp,cc\n")
				for range perRequest {
					fmt.Fprintf(&rows, "240.%d.%d.%d,2026-03-19T00:00:00Z,AT\n", n>>16, n>>8&255, n&255)
					n++
				}
				status, _, text := e.Do(b, http.MethodPost, "/v1/feeds/rustock/events?wait=durable", exchange.Admin, e.AdminToken(), rows.String(), "Content-Type", "text/csv")
				if status != http.StatusOK && status != http.StatusAccepted {
					b.Fatal(status, text)
				}
				longest = max(longest, time.Since(last))
				last = time.Now()
				if i == requests/10 {
					each()
				}
			}
			return longest
		}
		stream(func() {}) // the caches are warm then
		without := stream(func() {})
		done, changes := make(chan struct{}), 0
		with := stream(func() {
			go func() {
				defer close(done)
				for changes < 5 {
					changes++
					e.Apply(b, register(changes))
				}
			}()
		})
		<-done
		b.ReportMetric(float64(without.Microseconds())/1000, "without-ms")
		b.ReportMetric(float64(with.Microseconds())/1000, "with-ms")
		b.ReportMetric(float64(changes), "changes")
		e.Stop(b)
	}
}
