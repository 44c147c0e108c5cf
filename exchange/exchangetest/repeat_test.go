package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

const repeating = `members:
  - {id: dcu, name: DCU, kind: publisher, clearance: red}
  - {id: cert-at, name: CERT.at, kind: csirt, clearance: amber, constituency: {countries: [AT]}}
  - {id: cert-pl, name: CERT Polska, kind: csirt, clearance: red, constituency: {countries: [PL]}}
  - {id: isp, name: ISP, kind: network-owner, clearance: amber, constituency: {prefixes: [240.0.0.0/28]}}
feeds:
  - {id: calm, publisher: dcu, operation: calm, malware: {name: Calm}, default_tlp: amber, profile: observation, allow_reserved: true, repeat: 24h}
`

// sighted is an observed-data object of a collection.
type sighted struct {
	ID, Modified string
	Number       int64    `json:"number_observed"`
	Last         string   `json:"last_observed"`
	Labels       []string `json:"labels"`
}

// observations are all versions that a collection has, as a member reads them.
func observations(t *testing.T, e *exchangetest.Exchange, collection, member string) []sighted {
	t.Helper()
	_, _, text := e.Do(t, "GET", "/exchange/collections/"+collection+"/objects/?match[type]=observed-data&match[version]=all", member, e.Token(t, member), "", "Accept", taxii.MediaType)
	var got struct{ Objects []sighted }
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err, text)
	}
	return got.Objects
}

func seen(address, country string, at time.Time) string {
	return fmt.Sprintf("ip,timestamp,cc\n%s,%s,%s\n", address, at.Format(time.RFC3339), country)
}

// clean reports an address clean, as a member, and returns status and answer.
func clean(t *testing.T, e *exchangetest.Exchange, member, token, address string, at time.Time) (int, api.CleanAnswer) {
	t.Helper()
	body, err := json.Marshal(api.CleanReport{Hosts: []api.CleanHost{{Address: address, At: at}}})
	if err != nil {
		t.Fatal(err)
	}
	status, _, text := e.Do(t, "POST", "/v1/clean", member, token, string(body))
	var out api.CleanAnswer
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(status, text)
	}
	return status, out
}

func TestRepeatsAreHeldBack(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, repeating)
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	after := func(d time.Duration) *exchange.Receipt {
		return e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(d)))
	}
	if r := after(0); r.Suppressed != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	for _, d := range []time.Duration{time.Hour, 23 * time.Hour} { // the second is on another day
		if r := after(d); r.Events != 1 || r.Suppressed != 1 || r.Withheld != 0 || len(r.Collections) != 0 {
			t.Fatalf("%v: %+v", d, r)
		}
		if r := after(d); r.Duplicates != 1 {
			t.Fatalf("again %v: %+v", d, r)
		}
	}
	if got := observations(t, e, "cert-at", "cert-at"); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("cert-at has %+v", got)
	}
	// The publisher's own collection knows it all.
	if got := observations(t, e, "feed-calm", "dcu"); len(got) != 3 || got[1].Number != 2 {
		t.Errorf("feed-calm has %+v", got)
	}
	_, _, text := e.Do(t, "GET", "/v1/explain?address=240.0.1.1&day=2026-03-20", exchange.Admin, e.AdminToken(), "")
	if !strings.Contains(text, `"collection":"cert-at","key":{"kind":"country","value":"AT"},"allow":false,"rule":"repeat"`) {
		t.Error(text)
	}

	// It is the journal that knows: a view that is made anew holds back the same.
	e.Stop(t)
	if err := os.RemoveAll(filepath.Join(e.Dir, "view")); err != nil {
		t.Fatal(err)
	}
	e = exchangetest.Open(t, e.Dir)
	after = func(d time.Duration) *exchange.Receipt {
		return e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(d)))
	}
	if r := after(23*time.Hour + time.Minute); r.Suppressed != 1 {
		t.Fatalf("%+v", r)
	}
	// A day after it was given, it is given again, with all that was held back of that day.
	if r := after(24 * time.Hour); r.Suppressed != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	if got := observations(t, e, "cert-at", "cert-at"); len(got) != 2 || got[1].Number != 3 {
		t.Errorf("cert-at has %+v", got)
	}
	// Whoever was not given the host gets it at once.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "PL", start.Add(25*time.Hour))); r.Collections["cert-pl"] != 1 || len(r.Collections) != 1 || r.Suppressed != 0 {
		t.Fatalf("%+v", r)
	}
	// And a label that rises does not wait.
	if r := e.Publish(t, "calm", "ip,timestamp,cc,tlp\n240.0.1.1,2026-03-20T12:00:00Z,PL,red\n"); r.Suppressed != 0 || r.Withheld == 0 {
		t.Fatalf("%+v", r)
	}
}

func TestRelapsesGoThroughAtOnce(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, repeating)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	e.Publish(t, "calm", seen("240.0.1.1", "AT", start))
	for _, bad := range []struct {
		member, token, address string
		at                     time.Time
		status                 int
	}{
		{"cert-pl", pl, "240.0.1.1", start.Add(time.Hour), 200},      // another's
		{"cert-at", at, "240.0.1.2", start.Add(time.Hour), 200},      // never seen
		{"cert-at", at, "240.0.1.1", start.Add(-time.Hour), 200},     // not yet
		{"cert-at", at, "240.0.1.1", time.Now().Add(time.Hour), 200}, // the future
		{"cert-at", at, "240.0.1.300", start.Add(time.Hour), 200},    // no address
		{"cert-at", at, "240.0.1.1", time.Date(1960, 1, 1, 0, 0, 0, 0, time.UTC), 200},
		{"cert-at", at, "someone@example.at", start.Add(time.Hour), 200}, // no such account
	} {
		if status, got := clean(t, e, bad.member, bad.token, bad.address, bad.at); status != bad.status || got.Cleaned != 0 || status == 200 && len(got.Problems) != 1 {
			t.Errorf("%+v: %d %+v", bad, status, got)
		}
	}
	for _, body := range []string{`{"fed":"calm","hosts":[{"address":"240.0.1.1"}]}`, `{"hosts":[]}`, `[]`, `{"hosts":[{"address":"240.0.1.1"}]} x`, `{"hosts":[{"address":"240.0.1.1"}]}]`, ``} {
		if status, _, text := e.Do(t, "POST", "/v1/clean", "cert-at", at, body); status != 400 {
			t.Error(body, status, text)
		}
	}
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(2*time.Hour))); r.Suppressed != 1 {
		t.Fatalf("what was refused counts: %+v", r)
	}
	if _, c := clean(t, e, "cert-at", at, "240.0.1.1", start.Add(3*time.Hour)); c.Cleaned != 1 {
		t.Fatalf("%+v", c)
	}
	// What was seen before it was clean, and comes late, is no relapse.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(150*time.Minute))); r.Suppressed != 1 {
		t.Fatalf("%+v", r)
	}
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(4*time.Hour))); r.Suppressed != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	got := observations(t, e, "cert-at", "cert-at")
	if last := got[len(got)-1]; !slices.Equal(last.Labels, []string{"relapse"}) || last.Last != "2026-03-19T14:00:00.000Z" {
		t.Errorf("%+v", got)
	}
	// The next one is a repeat again; a later day is no relapse of its own.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(5*time.Hour))); r.Suppressed != 1 {
		t.Fatalf("%+v", r)
	}
	e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(48*time.Hour)))
	got = observations(t, e, "cert-at", "cert-at")
	if last := got[len(got)-1]; last.Labels != nil || last.Last != "2026-03-21T10:00:00.000Z" {
		t.Errorf("%+v", got)
	}
}

// What a team was never given it cannot ask about, were it its own by now.
func TestWhoJoinsReportsNothingOfThePast(t *testing.T) {
	t.Parallel()
	for _, repeat := range []string{", repeat: 24h", ""} {
		file := strings.Replace(repeating, ", repeat: 24h", repeat, 1)
		e := exchangetest.Start(t, file)
		start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
		e.Publish(t, "calm", seen("240.0.1.1", "AT", start))
		e.Apply(t, strings.Replace(file, "countries: [PL]", "countries: [AT, PL]", 1))
		if _, c := clean(t, e, "cert-pl", e.Token(t, "cert-pl"), "240.0.1.1", start.Add(time.Hour)); c.Cleaned != 0 {
			t.Errorf("%q: it learns that the host was seen: %+v", repeat, c)
		}
		if _, c := clean(t, e, "cert-at", e.Token(t, "cert-at"), "240.0.1.1", start.Add(time.Hour)); c.Cleaned != 1 {
			t.Errorf("%q: %+v", repeat, c)
		}
		r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(2*time.Hour)))
		got := observations(t, e, "cert-pl", "cert-pl")
		if r.Collections["cert-pl"] != 1 || r.Collections["cert-at"] != 1 || len(got) != 1 || !slices.Equal(got[0].Labels, []string{"relapse"}) {
			t.Errorf("%q: %+v %+v", repeat, r, got)
		}
	}
}

// It was seen again before the team said that it had been clean in between.
func TestARelapseThatWasSeenAlready(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, repeating)
	at := e.Token(t, "cert-at")
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	for _, d := range []time.Duration{0, 29 * time.Hour} {
		e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(d)))
	}
	if _, c := clean(t, e, "cert-at", at, "240.0.1.1", start.Add(23*time.Hour)); c.Cleaned != 1 {
		t.Fatalf("%+v", c)
	}
	r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(30*time.Hour)))
	got := observations(t, e, "cert-at", "cert-at")
	if last := got[len(got)-1]; r.Suppressed != 0 || !slices.Equal(last.Labels, []string{"relapse"}) || last.Number != 2 {
		t.Errorf("%+v %+v", r, got)
	}
}

// Back-filling gives nobody what was held back from them, and is remembered as given.
func TestBackfillAndRepeats(t *testing.T) {
	t.Parallel()
	file := strings.Replace(repeating, "repeat: 24h", "repeat: 24h, backfill: 30d", 1)
	e := exchangetest.Start(t, file)
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(-24 * time.Hour)
	for _, d := range []time.Duration{0, time.Minute} {
		e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(d)))
	}
	e.Apply(t, strings.NewReplacer("countries: [AT]", "countries: [AT, LI]", "countries: [PL]", "countries: [AT, PL]").Replace(file))
	e.Settled(t)
	if got := observations(t, e, "cert-at", "cert-at"); len(got) != 1 || got[0].Number != 1 {
		t.Errorf("cert-at has %+v", got)
	}
	if got := observations(t, e, "cert-pl", "cert-pl"); len(got) != 1 || got[0].Number != 2 {
		t.Errorf("cert-pl has %+v", got)
	}
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(2*time.Minute))); r.Suppressed != 1 || len(r.Collections) != 0 {
		t.Errorf("%+v", r)
	}
}

// Whoever is passed over for a day was given the host all the same.
func TestEventsOfOtherPlacesForgetNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, repeating)
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		after   time.Duration
		country string
		given   string
	}{{0, "AT", "cert-at"}, {24*time.Hour - time.Minute, "PL", "cert-pl"}, {24*time.Hour - 30*time.Second, "AT", ""}, {-time.Hour, "AT", ""}, {time.Hour, "", "unclaimed"}, {time.Hour, "PL", ""}} {
		r := e.Publish(t, "calm", seen("240.0.1.1", step.country, start.Add(step.after)))
		if r.Unclaimed > 0 {
			r.Collections = map[string]int64{"unclaimed": r.Unclaimed}
		}
		if r.Events != 1 || step.given == "" && (len(r.Collections) != 0 || r.Suppressed != 1) || step.given != "" && (r.Collections[step.given] != 1 || len(r.Collections) != 1) {
			t.Errorf("step %d: %+v", i, r)
		}
	}
}

// What a collection has been given is what a plain list of its members' last deliveries says,
// in whatever order sightings arrive.
func TestHeldBackAsAPlainListSays(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	e := exchangetest.Start(t, repeating)
	tokens := map[string]string{"cert-at": e.Token(t, "cert-at"), "isp": e.Token(t, "isp")}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	type host struct {
		sent     map[string]time.Time
		cleaned  time.Time
		relapsed bool
		first    time.Time
		days     map[string]time.Time // the last sighting of each
	}
	hosts := make(map[string]*host)
	for step := range 400 {
		now = now.Add(time.Duration(1+random.IntN(300)) * time.Minute)
		at := now.Add(-time.Duration(random.IntN(20)*random.IntN(4)) * time.Hour)
		address := fmt.Sprintf("240.0.%d.%d", random.IntN(2), 1+random.IntN(3))
		h := hosts[address]
		if h == nil {
			h = &host{sent: make(map[string]time.Time), days: make(map[string]time.Time)}
			hosts[address] = h
		}
		takers := []string{"cert-at"}
		if strings.HasPrefix(address, "240.0.0.") {
			takers = append(takers, "isp")
		}
		if random.IntN(5) == 0 {
			who := takers[random.IntN(len(takers))]
			want := 0
			if !h.first.IsZero() && !h.first.After(at) {
				want = 1
				if at.After(h.cleaned) {
					h.cleaned, h.relapsed = at, false
				}
			}
			if _, c := clean(t, e, who, tokens[who], address, at); c.Cleaned != want {
				t.Fatalf("seed %d, step %d: %+v", seed, step, c)
			}
			continue
		}
		r := e.Publish(t, "calm", fmt.Sprintf("ip,timestamp,cc,id\n%s,%s,AT,%d\n", address, at.Format(time.RFC3339), step))
		if h.first.IsZero() || at.Before(h.first) {
			h.first = at
		}
		day := at.Format(time.DateOnly)
		if at.After(h.days[day]) {
			h.days[day] = at
		}
		last := h.days[day]
		relapse := !h.cleaned.IsZero() && !h.relapsed && last.After(h.cleaned)
		h.relapsed = h.relapsed || relapse
		var held int64 = 1
		for _, who := range takers {
			sent, had := h.sent[who]
			given := !had || relapse || last.Sub(sent).Abs() >= 24*time.Hour
			if given {
				held = 0
				if last.After(sent) {
					h.sent[who] = last
				}
			}
			if (r.Collections[who] == 1) != given {
				t.Fatalf("seed %d, step %d: %s at %v: %+v, given to %s: %v", seed, step, address, at, r, who, given)
			}
		}
		if r.Suppressed != held || r.Events != 1 {
			t.Fatalf("seed %d, step %d: %+v", seed, step, r)
		}
	}
}
