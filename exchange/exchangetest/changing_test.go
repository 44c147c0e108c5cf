package exchangetest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// While events stream in, the register changes again and again: each record was decided
// under the one version that it names, and none under two.
func TestEveryEventIsDecidedUnderOneVersion(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, filled)
	const hosts = 12_000
	stop := make(chan struct{})
	changed := make(chan int)
	go func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				changed <- n
				return
			case <-time.After(20 * time.Millisecond):
			}
			prefix := []string{"240.2.0.0/17", "240.2.0.0/18", "240.2.64.0/18"}[n%3]
			e.Apply(t, strings.Replace(filled, "feeds:", fmt.Sprintf("  - {id: late, name: Late, kind: network-owner, clearance: amber, constituency: {prefixes: [%q]}}\nfeeds:", prefix), 1))
		}
	}()
	e.Publish(t, "rustock", logOf(0, hosts))
	close(stop)
	versions := <-changed
	e.Settled(t)

	events, under := 0, make(map[uint64]bool)
	var last time.Time
	var pause time.Duration
	routers := make(map[uint64]*constituency.Router)
	err := e.Journal.EachIntake(t.Context(), "rustock", 0, func(in *record.Intake, _ uint64) error {
		if in.Backfill {
			return nil
		}
		if !last.IsZero() {
			pause = max(pause, in.At.Sub(last))
		}
		last, under[in.Register] = in.At, true
		r := routers[in.Register]
		if r == nil {
			reg, err := e.Register.At(t.Context(), in.Register)
			if err != nil {
				return err
			}
			r = constituency.New(reg.Members, nil, reg.Feed("rustock"))
			routers[in.Register] = r
		}
		for i := range in.Events {
			a := &in.Events[i]
			events++
			var want, got []string
			for _, m := range r.Route(a.Address, a.Location, a.Hostname) {
				want = append(want, m.Member+" "+m.Key.Value)
			}
			for _, g := range in.Decisions[a.Decision].Grants {
				got = append(got, g.Collection+" "+g.Key.Value)
			}
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				return fmt.Errorf("register %d, %s: %s", in.Register, a.Address, d)
			}
		}
		return nil
	})
	if err != nil || events != hosts {
		t.Fatal(events, err)
	}
	t.Logf("%d changes; records under %d versions; the longest time between two records was %v", versions, len(under), pause)
	if len(under) < 2 {
		t.Error("no change came between")
	}
	// However it changed: nobody has a host twice.
	count := make(map[string]int)
	for _, address := range indicatorsOf(t, e, "late") {
		if count[address]++; count[address] > 1 {
			t.Fatalf("%s is there twice", address)
		}
	}
}
