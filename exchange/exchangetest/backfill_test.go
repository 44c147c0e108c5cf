package exchangetest_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// yesterday is the day on which hosts were seen.
var yesterday = time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)

// logOf is a log of hosts of 240.2.0.0/16, seen yesterday one after the other, in
// Austria.
func logOf(from, to int) string {
	var b strings.Builder
	b.WriteString("ip,timestamp,cc\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&b, "240.2.%d.%d,%s,AT\n", i>>8, i&255, yesterday.Add(time.Duration(i)*time.Second/4).Format(time.RFC3339))
	}
	return b.String()
}

// indicatorsOf lists a collection's indicators, by what they name, in their order.
func indicatorsOf(t *testing.T, e *exchangetest.Exchange, collection string) (list []string) {
	t.Helper()
	objects, _ := e.Pull(t, collection, taxiiclient.Cursor{}, taxii.Filter{Types: []string{"indicator"}})
	for _, text := range objects {
		_, pattern, _ := strings.Cut(text, "value = '")
		address, _, _ := strings.Cut(pattern, "'")
		list = append(list, address)
	}
	return list
}

const filled = `
members:
  - {id: cert-at, name: CERT.at, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}}
  - {id: dcu, name: Digital Crimes Unit, kind: publisher, clearance: amber+strict}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock, types: [bot]}, default_tlp: amber, allow_reserved: true, backfill: 30d}
`

const joined = `
  - {id: late, name: Late, kind: network-owner, clearance: amber, constituency: {prefixes: ["240.2.0.0/17"]}}
`

// A member that joins gets what is there, each host once and in order, while others are
// published; whoever was there gets nothing again.
func TestAMemberThatJoinsGetsWhatIsThere(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, filled)
	const old, live = 4200, 1000
	e.Publish(t, "rustock", logOf(0, old))
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.2.0.1,"+yesterday.Add(-40*24*time.Hour).Format(time.RFC3339)+",AT\n240.2.0.2,"+yesterday.Add(20*time.Hour).Format(time.RFC3339)+",AT\n")
	e.Publish(t, "rustock", "ip,timestamp,cc,tlp\n240.2.100.1,"+yesterday.Format(time.RFC3339)+",AT,amber+strict\n")

	// It is said before.
	token := e.AdminToken()
	file := strings.Replace(filled, "feeds:", strings.TrimPrefix(joined, "\n")+"feeds:", 1)
	status, _, text := e.Do(t, "POST", "/v1/register?dry_run", exchange.Admin, token, file)
	if want := fmt.Sprintf(`"backfill":[{"member":"late","feed":"rustock","hosts":%d}]`, old); status != 200 || !strings.Contains(text, want) {
		t.Errorf("%d %s, want %s", status, text, want)
	}
	published := make(chan *exchange.Receipt, 1)
	if status, _, text := e.Do(t, "POST", "/v1/register", exchange.Admin, token, file); status != 200 {
		t.Fatal(text)
	}
	go func() { published <- e.Publish(t, "rustock", logOf(old, old+live)) }()
	e.Settled(t)
	if r := <-published; r.Collections["late"] != live {
		t.Errorf("live: %+v", r)
	}

	got := indicatorsOf(t, e, "late")
	count := make(map[string]int)
	last := -1
	for _, address := range got {
		count[address]++
		var a, b int
		if _, err := fmt.Sscanf(address, "240.2.%d.%d", &a, &b); err != nil {
			t.Fatal(address, err)
		}
		if n := a<<8 | b; n < old && n != 2 {
			if n < last {
				t.Fatalf("%s comes after host %d", address, last)
			}
			last = n
		}
	}
	if len(got) != old+live || len(count) != old+live {
		t.Errorf("%d indicators of %d hosts, want %d", len(got), len(count), old+live)
	}
	// What is too old, or not for it, is not there.
	if before := indicatorsOf(t, e, "cert-at"); len(before) != old+live+2 {
		t.Errorf("cert-at has %d indicators", len(before))
	}
	if own := indicatorsOf(t, e, "feed-rustock"); len(own) != old+live+2 {
		t.Errorf("the feed's own collection has %d indicators", len(own))
	}
	// It is told why.
	list := explained(t, e, "late", e.Token(t, "late"), url.Values{"address": {"240.2.1.1"}, "day": {yesterday.Format(time.DateOnly)}})
	if len(list) != 1 || !list[0].Backfill || list[0].Grants[0].Key.Value != "240.2.0.0/17" {
		t.Errorf("explain: %+v", list)
	}

	// A new start, and a register that changes otherwise, give nothing again; a rebuilt
	// view is the same.
	dir := e.Dir
	e.Stop(t)
	e = exchangetest.Open(t, dir)
	e.Apply(t, strings.Replace(file, "name: Late", "name: Later", 1))
	e.Settled(t)
	if again := indicatorsOf(t, e, "late"); len(again) != len(got) {
		t.Errorf("%d indicators after a new start", len(again))
	}
	// It gains half of what it had not, and loses the rest: it gets the one, and nothing
	// more of the other.
	e.Publish(t, "rustock", strings.ReplaceAll(logOf(0, 10), "240.2.", "240.3."))
	e.Apply(t, strings.Replace(file, `["240.2.0.0/17"]`, `["240.3.0.0/16"]`, 1))
	e.Settled(t)
	e.Publish(t, "rustock", logOf(old+live, old+live+10))
	if now := indicatorsOf(t, e, "late"); len(now) != len(got)+10 {
		t.Errorf("%d indicators after the change", len(now))
	}
}

// grantsIn counts, in the journal, how often each version of a host's day was given to a
// member: a pull would show it once in any case.
func grantsIn(t *testing.T, e *exchangetest.Exchange, member string) (hosts, twice int) {
	t.Helper()
	count := make(map[string]int)
	err := e.Journal.EachIntake(t.Context(), "rustock", 0, func(in *record.Intake, _ uint64) error {
		for i := range in.Observations {
			o := &in.Observations[i]
			for _, g := range in.Decisions[o.Decision].Grants {
				if g.Collection == member && g.Allow {
					count[fmt.Sprint(o.Address, o.Day, o.Modified)]++
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range count {
		if n > 1 {
			twice++
		}
	}
	return len(count), twice
}

// lateWith is the register with a member of some prefixes.
func lateWith(prefixes string) string {
	return strings.Replace(filled, "feeds:", fmt.Sprintf("  - {id: late, name: Late, kind: network-owner, clearance: amber, constituency: {prefixes: [%s]}}\nfeeds:", prefixes), 1)
}

func TestAKeyThatComesAgainGivesNothingTwice(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, filled)
	e.Publish(t, "rustock", logOf(0, 1000))
	e.Publish(t, "rustock", strings.ReplaceAll(logOf(0, 1000), "240.2.", "240.3."))
	for _, prefixes := range []string{`"240.2.0.0/17"`, `"240.9.0.0/16"`, `"240.2.0.0/17"`} { // lost and regained
		e.Apply(t, lateWith(prefixes))
		e.Settled(t)
	}
	e.Apply(t, lateWith(`"240.9.0.0/16"`)) // one right after the other
	e.Apply(t, lateWith(`"240.2.0.0/17"`))
	e.Apply(t, lateWith(`"240.2.0.0/17", "240.3.0.0/17"`))
	e.Settled(t)
	if hosts, twice := grantsIn(t, e, "late"); hosts != 2000 || twice != 0 {
		t.Errorf("%d hosts were given, %d of them twice", hosts, twice)
	}
}

func TestNothingIsLostOfWhatIsPublishedWhileAMemberJoins(t *testing.T) {
	t.Parallel()
	const hosts, rounds = 6000, 2
	for round := range rounds {
		e := exchangetest.Start(t, filled)
		published := make(chan *exchange.Receipt, 1)
		go func() { published <- e.Publish(t, "rustock", logOf(0, hosts)) }()
		<-time.After(time.Duration(50+60*round) * time.Millisecond)
		e.Apply(t, lateWith(`"240.2.0.0/16"`))
		<-published
		e.Settled(t)
		if got, twice := grantsIn(t, e, "late"); got != hosts || twice != 0 {
			t.Errorf("round %d: %d of %d hosts were given, %d of them twice", round, got, hosts, twice)
		}
		e.Stop(t)
	}
}
