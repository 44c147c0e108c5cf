package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
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

func clean(t *testing.T, e *exchangetest.Exchange, member, token, address string, at time.Time) api.Cleaned {
	t.Helper()
	body, err := json.Marshal(api.Clean{Hosts: []exchange.Cleaned{{Address: netip.MustParseAddr(address), At: at}}})
	if err != nil {
		t.Fatal(err)
	}
	status, _, text := e.Do(t, "POST", "/v1/clean", member, token, string(body))
	var out api.Cleaned
	if err := json.Unmarshal([]byte(text), &out); err != nil || status != 200 {
		t.Fatal(status, text)
	}
	return out
}

func TestRepeatsAreHeldBack(t *testing.T) {
	e := exchangetest.Start(t, repeating)
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	after := func(d time.Duration) *exchange.Receipt {
		return e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(d)))
	}
	if r := after(0); r.Held != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	for _, d := range []time.Duration{time.Hour, 23 * time.Hour} { // the second is on another day
		if r := after(d); r.Events != 1 || r.Held != 1 || r.Withheld != 0 || len(r.Collections) != 0 {
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
	if r := after(23*time.Hour + time.Minute); r.Held != 1 {
		t.Fatalf("%+v", r)
	}
	// A day after it was given, it is given again, with all that was held back of that day.
	if r := after(24 * time.Hour); r.Held != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	if got := observations(t, e, "cert-at", "cert-at"); len(got) != 2 || got[1].Number != 3 {
		t.Errorf("cert-at has %+v", got)
	}
	// Whoever was not given the host gets it at once.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "PL", start.Add(25*time.Hour))); r.Collections["cert-pl"] != 1 || len(r.Collections) != 1 || r.Held != 0 {
		t.Fatalf("%+v", r)
	}
	// And a label that rises does not wait.
	if r := e.Publish(t, "calm", "ip,timestamp,cc,tlp\n240.0.1.1,2026-03-20T12:00:00Z,PL,red\n"); r.Held != 0 || r.Withheld == 0 {
		t.Fatalf("%+v", r)
	}
}

func TestRelapsesGoThroughAtOnce(t *testing.T) {
	e := exchangetest.Start(t, repeating)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	start := time.Date(2026, 3, 19, 10, 0, 0, 0, time.UTC)
	e.Publish(t, "calm", seen("240.0.1.1", "AT", start))
	for name, bad := range map[string]api.Cleaned{
		"another's":  clean(t, e, "cert-pl", pl, "240.0.1.1", start.Add(time.Hour)),
		"never seen": clean(t, e, "cert-at", at, "240.0.1.2", start.Add(time.Hour)),
		"not yet":    clean(t, e, "cert-at", at, "240.0.1.1", start.Add(-time.Hour)),
		"the future": clean(t, e, "cert-at", at, "240.0.1.1", time.Now().Add(time.Hour)),
	} {
		if bad.Cleaned != 0 || len(bad.Problems) != 1 || bad.Problems[0].Line != 1 {
			t.Errorf("%s: %+v", name, bad)
		}
	}
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(2*time.Hour))); r.Held != 1 {
		t.Fatalf("what was refused counts: %+v", r)
	}
	if c := clean(t, e, "cert-at", at, "240.0.1.1", start.Add(3*time.Hour)); c.Cleaned != 1 {
		t.Fatalf("%+v", c)
	}
	// What was seen before it was clean, and comes late, is no relapse.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(150*time.Minute))); r.Collections["cert-at"] != 0 && len(observations(t, e, "cert-at", "cert-at")[1].Labels) != 0 {
		t.Fatalf("%+v", r)
	}
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(4*time.Hour))); r.Held != 0 || r.Collections["cert-at"] != 1 {
		t.Fatalf("%+v", r)
	}
	got := observations(t, e, "cert-at", "cert-at")
	if last := got[len(got)-1]; !slices.Equal(last.Labels, []string{"relapse"}) || last.Last != "2026-03-19T14:00:00.000Z" {
		t.Errorf("%+v", got)
	}
	// The next one is a repeat again; a later day is no relapse of its own.
	if r := e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(5*time.Hour))); r.Held != 1 {
		t.Fatalf("%+v", r)
	}
	e.Publish(t, "calm", seen("240.0.1.1", "AT", start.Add(48*time.Hour)))
	got = observations(t, e, "cert-at", "cert-at")
	if last := got[len(got)-1]; last.Labels != nil || last.Last != "2026-03-21T10:00:00.000Z" {
		t.Errorf("%+v", got)
	}
}

// What a collection has been given is what a plain list of its members' last deliveries says.
func TestHeldBackAsAPlainListSays(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 1))
	e := exchangetest.Start(t, repeating)
	tokens := map[string]string{"cert-at": e.Token(t, "cert-at"), "isp": e.Token(t, "isp")}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	sent, cleaned, last := make(map[string]time.Time), make(map[string]time.Time), make(map[string]time.Time)
	for step := range 300 {
		now = now.Add(time.Duration(1+random.IntN(300)) * time.Minute)
		address := fmt.Sprintf("240.0.%d.%d", random.IntN(2), 1+random.IntN(3))
		takers := []string{"cert-at"}
		if strings.HasPrefix(address, "240.0.0.") {
			takers = append(takers, "isp")
		}
		if random.IntN(5) == 0 {
			who := takers[random.IntN(len(takers))]
			want := 0
			if !last[address].IsZero() {
				want, cleaned[address] = 1, now
			}
			if c := clean(t, e, who, tokens[who], address, now); c.Cleaned != want {
				t.Fatalf("seed %d, step %d: %+v", seed, step, c)
			}
			continue
		}
		r := e.Publish(t, "calm", seen(address, "AT", now))
		last[address] = now
		var held int64 = 1
		for _, who := range takers {
			key := who + address
			given := sent[key].IsZero() || now.Sub(sent[key]) >= 24*time.Hour || !sent[key].After(cleaned[address])
			if given {
				sent[key], held = now, 0
			}
			if (r.Collections[who] == 1) != given {
				t.Fatalf("seed %d, step %d: %s at %v: %+v, given to %s: %v", seed, step, address, now, r, who, given)
			}
		}
		if r.Held != held {
			t.Fatalf("seed %d, step %d: %+v", seed, step, r)
		}
	}
}
