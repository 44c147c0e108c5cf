package exchangetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/stixtest"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

const header = "timestamp,ip,port,asn,cc,malware,dst_ip,dst_port,tlp\n"

// rows makes n rows from address 240.0.0.0 on, countries in turn.
func rows(n int, day string, countries ...string) string {
	var b strings.Builder
	b.WriteString(header)
	for i := range n {
		fmt.Fprintf(&b, "%s %02d:%02d:%02d,240.0.%d.%d,%d,4200000000,%s,rustock,198.51.100.7,80,\n", day, i/3600%24, i/60%60, i%60,
			i>>8, i&255, 1024+i%60000, countries[i%len(countries)])
	}
	return b.String()
}

func heads(t *testing.T, objects []string) (list []stix.Head) {
	t.Helper()
	for _, o := range objects {
		h, err := stix.ParseHead([]byte(o))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, h)
	}
	return list
}

func ofType(t *testing.T, objects []string, typ string) (n int) {
	t.Helper()
	for _, h := range heads(t, objects) {
		if h.Type == typ {
			n++
		}
	}
	return n
}

// The same infection in three formats is one host, one address id, and objects
// that the OASIS schemas take.
func TestFormatsAgreeOnTheHost(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	valid := stixtest.New(t)
	for name, source := range map[string]string{
		"shadowserver": `"timestamp","protocol","src_ip","src_port","src_asn","src_geo","severity","dst_ip","dst_port","infection"` + "\n" +
			`"2026-03-19 00:04:07","tcp","203.0.113.45","49217","64511","PL","critical","198.51.100.7","80","rustock"` + "\n",
		"csv":   "timestamp,ip,port,asn,cc,malware,dst_ip,dst_port\n2026-03-19T00:04:07Z,203.0.113.45,49217,64511,PL,rustock,198.51.100.7,80\n",
		"jsonl": `{"time.source":"2026-03-19T00:04:07+00:00","source.ip":"203.0.113.45","source.port":49217,"source.asn":64511,"source.geolocation.cc":"PL","malware.name":"rustock","destination.ip":"198.51.100.7","destination.port":80,"feed.name":"x"}` + "\n",
	} {
		r := e.Publish(t, "rustock", source)
		if r.Rows != 1 || r.Events+r.Duplicates != 1 {
			t.Errorf("%s: %+v", name, r)
		}
	}
	for _, c := range []string{"cert-pl", "isp-one", "feed-rustock"} {
		objects, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{})
		n := 0
		for i, h := range heads(t, objects) {
			valid.Check(t, []byte(objects[i]))
			if h.ID == "ipv4-addr--cb9d70c5-d244-531c-9efb-bcae57adc793" {
				n++
			}
		}
		if n != 1 || ofType(t, objects, "observed-data") != 1 || ofType(t, objects, "ipv4-addr") != 2 {
			t.Errorf("%s has the address %d times:\n%s", c, n, strings.Join(objects, "\n"))
		}
	}
}

func TestPublishingAgainAddsNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	source := rows(3000, "2026-03-19", "AT", "PL", "SI")
	first := e.Publish(t, "rustock", source)
	if first.Events != 3000 || first.Unclaimed != 1000 || first.Collections["cert-at"] != 1000 {
		t.Fatalf("%+v", first)
	}
	before := map[string][]string{}
	for _, c := range []string{"cert-at", "cert-pl", "unclaimed", "feed-rustock"} {
		before[c], _ = e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{})
	}
	again := e.Publish(t, "rustock", source)
	if again.Events != 0 || again.Duplicates != 3000 {
		t.Errorf("the same file: %+v", again)
	}
	// Other pieces, so other keys: now the events themselves are known.
	head, rest, _ := strings.Cut(source, "\n")
	lines := strings.SplitAfter(rest, "\n")
	slices.Reverse(lines)
	if r := e.Publish(t, "rustock", head+"\n"+strings.Join(lines, "")); r.Events != 0 || r.Duplicates != 3000 {
		t.Errorf("the same events backwards: %+v", r)
	}
	for c, want := range before {
		got, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{})
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s has changed: %s", c, d)
		}
	}
}

func TestAResightingBringsItsAddressAlong(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(100, "2026-03-10", "AT"))
	_, now := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	e.Publish(t, "rustock", rows(3, "2026-03-19", "AT"))
	late, _ := e.Pull(t, "cert-at", now, taxii.Filter{})
	have := map[string]bool{}
	for _, h := range heads(t, late) {
		have[h.ID] = true
		for _, ref := range h.Refs {
			typ, _ := stix.ParseID(ref)
			if (strings.HasSuffix(typ, "-addr") || typ == "network-traffic" || typ == "observed-data" || typ == "indicator") && !have[ref] {
				t.Errorf("%s refers to %s, which has not come", h.ID, ref)
			}
		}
	}
	if n := ofType(t, late, "observed-data"); n != 3 {
		t.Errorf("%d observations since", n)
	}
	all, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	if n := ofType(t, all, "ipv4-addr"); n != 101 {
		t.Errorf("%d addresses in all, want 100 and the sinkhole", n)
	}
}

func TestTheSameHostLaterTheSameDayIsANewVersion(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	row := func(at string, port int) string {
		return fmt.Sprintf("%s2026-03-19 %s,240.0.0.1,%d,1,AT,rustock,198.51.100.7,80,\n", header, at, port)
	}
	for i, at := range []string{"10:00:00", "12:00:00", "11:00:00"} { // the last one comes late
		e.Publish(t, "rustock", row(at, 1000+i))
	}
	objects, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{Types: []string{"observed-data"}})
	if len(objects) != 1 {
		t.Fatalf("%d observations", len(objects))
	}
	var o struct {
		ID       string
		Modified string
		Number   int    `json:"number_observed"`
		First    string `json:"first_observed"`
		Last     string `json:"last_observed"`
	}
	if err := json.Unmarshal([]byte(objects[0]), &o); err != nil {
		t.Fatal(err)
	}
	if o.Number != 3 || o.First != "2026-03-19T10:00:00.000Z" || o.Last != "2026-03-19T12:00:00.000Z" || o.Modified != "2026-03-19T12:00:00.001Z" {
		t.Errorf("%+v", o)
	}
	all, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{IDs: []string{o.ID}, Versions: []taxii.VersionFilter{{Keyword: "all"}}})
	one, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{IDs: []string{o.ID}, Versions: []taxii.VersionFilter{{Keyword: "first"}}})
	if len(all) != 3 || len(one) != 1 || one[0] != all[0] || all[2] != objects[0] {
		t.Errorf("%d versions, %d first ones", len(all), len(one))
	}
	_, _, body := e.Do(t, "GET", "/exchange/collections/cert-at/objects/"+o.ID+"/versions/", exchange.Admin, e.AdminToken(), "")
	if !strings.Contains(body, `"versions":["2026-03-19T10:00:00.000Z","2026-03-19T12:00:00.000Z","2026-03-19T12:00:00.001Z"]`) {
		t.Error(body)
	}
}

func TestLabelsDecideWhoGetsAHost(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	row := func(last int, label string) string {
		return fmt.Sprintf("2026-03-19 00:00:00,240.1.0.%d,1024,64511,AT,rustock,198.51.100.7,80,%s\n", last, label)
	}
	r := e.Publish(t, "rustock", header+row(1, "clear")+row(2, "green")+row(3, "")+row(4, "amber+strict")+row(5, "red"))
	if r.Events != 5 || r.Collections["cert-at"] != 4 || r.Collections["isp-one"] != 3 || r.Withheld != 2 {
		t.Errorf("%+v", r)
	}
	ceilings := map[string]tlp.Level{"cert-at": tlp.AmberStrict, "isp-one": tlp.Amber, "feed-rustock": tlp.AmberStrict}
	for c, ceiling := range ceilings {
		objects, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{})
		for i, h := range heads(t, objects) {
			for _, m := range h.ObjectMarkingRefs {
				if l, ok := tlp.FromMarking(m); !ok || l > ceiling {
					t.Errorf("%s holds %s", c, objects[i])
				}
			}
			if strings.Contains(objects[i], "240.1.0.5") || c == "isp-one" && strings.Contains(objects[i], "240.1.0.4") {
				t.Errorf("%s holds what was withheld: %s", c, objects[i])
			}
		}
	}
	// Once a day's host carries a higher label, the owner gets no more of it.
	more := strings.Replace(row(3, "amber+strict"), "00:00:00", "01:00:00", 1) + strings.Replace(row(3, "amber"), "00:00:00", "02:00:00", 1)
	if r := e.Publish(t, "rustock", header+more); r.Collections["isp-one"] != 0 || r.Collections["cert-at"] != 2 || r.Withheld != 2 {
		t.Errorf("after a stricter sighting: %+v", r)
	}
}

func TestAMemberSeesNothingOfItsNeighbour(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(30, "2026-03-19", "AT", "PL", "SI"))
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	collections := map[string]string{}
	for _, c := range e.Register.Current().Collections() {
		collections[c.ID] = c.UUID
	}
	_, _, list := e.Do(t, "GET", "/exchange/collections/", "cert-at", at, "")
	_, _, listV1 := e.Do(t, "GET", "/v1/collections", "cert-at", at, "")
	for _, hidden := range []string{"cert-pl", "isp-one", "unclaimed", "feed-rustock"} {
		if strings.Contains(list+listV1, hidden) || strings.Contains(list+listV1, collections[hidden]) {
			t.Errorf("%s is listed: %s%s", hidden, list, listV1)
		}
		for _, name := range []string{hidden, collections[hidden]} {
			missing, _, wantBody := e.Do(t, "GET", "/exchange/collections/nothing/", "cert-at", at, "")
			for _, path := range []string{
				"/exchange/collections/" + name + "/", "/exchange/collections/" + name + "/objects/", "/exchange/collections/" + name + "/manifest/",
				"/exchange/collections/" + name + "/objects/ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4/",
				"/exchange/collections/" + name + "/objects/ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4/versions/",
			} {
				status, _, body := e.Do(t, "GET", path, "cert-at", at, "")
				if status != http.StatusNotFound || status != missing || body != wantBody {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			for _, path := range []string{"/v1/collections/" + name, "/v1/collections/" + name + "/verify"} {
				if status, _, body := e.Do(t, "GET", path, "cert-at", at, ""); status != http.StatusNotFound {
					t.Errorf("%s: %d %s", path, status, body)
				}
			}
			if status, _, body := e.Do(t, "POST", "/v1/collections/"+name+"/subscription?from=start", "cert-at", at, ""); status != http.StatusNotFound {
				t.Errorf("subscription to %s: %d %s", name, status, body)
			}
		}
	}
	for path, want := range map[string]int{
		"GET /v1/members/cert-pl": 404, "GET /v1/members/cert-at": 200, "GET /v1/register": 403, "POST /v1/register": 403, "GET /v1/networks": 403,
		"PUT /v1/networks": 403, "POST /v1/members/cert-at/tokens": 403, "POST /v1/members/cert-pl/tokens": 403, "DELETE /v1/members/cert-pl/tokens": 403,
		"GET /v1/feeds/rustock": 404, "POST /v1/feeds/rustock/events": 404, "GET /metrics": 403, "GET /v1/nothing": 404, "GET /nothing": 404,
	} {
		method, p, _ := strings.Cut(path, " ")
		if status, _, body := e.Do(t, method, p, "cert-at", at, ""); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
	if _, _, body := e.Do(t, "GET", "/v1/members", "cert-at", at, ""); strings.Contains(body, "cert-pl") {
		t.Errorf("members: %s", body)
	}
	// A cursor is its owner's.
	_, _, page := e.Do(t, "GET", "/exchange/collections/community/objects/?limit=1", "cert-at", at, "")
	if page != "{}" {
		t.Errorf("an empty collection: %s", page)
	}
	_, _, page = e.Do(t, "GET", "/exchange/collections/cert-at/objects/?limit=1", "cert-at", at, "")
	var env taxii.Envelope
	if err := json.Unmarshal([]byte(page), &env); err != nil || env.Next == "" {
		t.Fatal(err, page)
	}
	for path, user := range map[string]string{"cert-pl": "cert-pl", "cert-at": exchange.Admin} {
		token := map[string]string{"cert-pl": pl, exchange.Admin: e.AdminToken()}[user]
		if status, _, body := e.Do(t, "GET", "/exchange/collections/"+path+"/objects/?next="+env.Next, user, token, ""); status != http.StatusBadRequest {
			t.Errorf("%s used cert-at's cursor on %s: %d %s", user, path, status, body)
		}
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	const path = "/exchange/collections/cert-at/"
	for name, c := range map[string]struct {
		user, token string
		header      []string
		want        int
	}{
		"none": {"", "", nil, 401}, "wrong token": {"cert-at", at + "x", nil, 401}, "another's token": {"cert-at", pl, nil, 401},
		"no such user": {"nobody", at, nil, 401}, "right": {"cert-at", at, nil, 200}, "empty": {"cert-at", "", nil, 401},
		"bearer": {"", "", []string{"Authorization", "Bearer " + at}, 200}, "bearer in lower case": {"", "", []string{"Authorization", "bearer " + at}, 200},
		"wrong bearer": {"", "", []string{"Authorization", "Bearer " + at[1:]}, 401}, "another's bearer": {"", "", []string{"Authorization", "Bearer " + pl}, 404},
		"another scheme": {"", "", []string{"Authorization", "Digest " + at}, 401},
	} {
		status, h, body := e.Do(t, "GET", path, c.user, c.token, "", c.header...)
		if status != c.want || status == 401 && h.Get("WWW-Authenticate") == "" || h.Get("Content-Type") != taxii.MediaType {
			t.Errorf("%s: %d %v %s", name, status, h, body)
		}
	}
	if _, err := e.Register.RevokeTokens(t.Context(), "test", "cert-at", ""); err != nil {
		t.Fatal(err)
	}
	if status, _, _ := e.Do(t, "GET", path, "cert-at", at, ""); status != 401 {
		t.Errorf("a revoked token: %d", status)
	}
}

// Readers with small and large pages follow while a publisher writes; what each
// has read in the end is the collection, in order, and nothing twice.
func TestFollowersMissNothingAndGetNothingTwice(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	read := map[int][]string{}
	var mu sync.Mutex
	for _, limit := range []int{1, 7, 1000} {
		wg.Go(func() {
			var list []string
			var at taxiiclient.Cursor
			for last := false; !last; {
				select {
				case <-stop:
					last = true // once more, for what came since
				default:
				}
				var got []string
				got, at = e.Pull(t, "cert-at", at, taxii.Filter{Limit: limit})
				list = append(list, got...)
			}
			mu.Lock()
			defer mu.Unlock()
			read[limit] = list
		})
	}
	for i := range 20 { // every host of a piece is new, some are seen again later
		e.Publish(t, "rustock", rows(20*(i%5+1), fmt.Sprintf("2026-03-%02d", 1+i/5), "AT", "PL"))
	}
	close(stop)
	wg.Wait()
	whole, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{Versions: []taxii.VersionFilter{{Keyword: "all"}}})
	want := map[string]bool{}
	for _, o := range whole {
		want[o] = true
	}
	for limit, list := range read {
		have := map[string]bool{}
		versions := map[string]bool{}
		for i, h := range heads(t, list) {
			have[list[i]] = true
			if h.Type == "observed-data" || h.Type == "sighting" || h.Type == "indicator" {
				if key := h.ID + h.Modified; versions[key] {
					t.Errorf("limit %d: %s came twice", limit, key)
				} else {
					versions[key] = true
				}
			}
			if !want[list[i]] {
				t.Errorf("limit %d: read what is not there: %s", limit, list[i])
			}
		}
		latest, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
		for _, o := range latest {
			if !have[o] {
				t.Errorf("limit %d missed %.150s", limit, o)
			}
		}
	}
}

// A view that is deleted and made anew answers the same, byte for byte, and
// whatever the shape of the question.
func TestRebuildGivesTheSameAnswers(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	for i := range 5 {
		e.Publish(t, "rustock", rows(700, fmt.Sprintf("2026-03-%02d", 1+i/2), "AT", "PL", "SI"))
		if i == 2 { // a change of the register in between
			e.Apply(t, "members:\n  - {id: cert-xx, kind: csirt, constituency: {countries: [SI]}, created: 2011-03-16T00:00:00Z}\n")
		}
	}
	ask := func() map[string]string {
		answers := map[string]string{}
		for _, c := range []string{"cert-at", "cert-pl", "cert-xx", "unclaimed", "feed-rustock", "isp-one"} {
			for _, q := range []string{
				"objects/?limit=5000", "manifest/?limit=5000", "objects/?match[version]=all&limit=5000", "manifest/?match[version]=first&limit=5000",
				"objects/?match[type]=sighting,identity&limit=100", "objects/ipv4-addr--cb9d70c5-d244-531c-9efb-bcae57adc793/",
			} {
				path := "/exchange/collections/" + c + "/" + q
				status, h, body := e.Do(t, "GET", path, exchange.Admin, e.AdminToken(), "")
				answers[path] = fmt.Sprint(status, h.Get(taxii.HeaderAddedFirst), h.Get(taxii.HeaderAddedLast), body)
			}
		}
		return answers
	}
	before := ask()
	dir := e.Dir
	e.Stop(t)
	if err := node.Rebuild(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	e = exchangetest.Open(t, dir)
	after := ask()
	for path, want := range before {
		if after[path] != want {
			t.Errorf("%s: %d bytes before, %d after", path, len(want), len(after[path]))
		}
	}
	chains, err := e.Journal.Verify(t.Context())
	if err != nil || len(chains) != 4 {
		t.Fatal(chains, err)
	}
	for _, c := range chains {
		if c.Problem != "" || c.Objects == 0 {
			t.Errorf("%+v", c)
		}
	}
}

func TestAnIdempotencyKeyIsForOneContent(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, exchangetest.Register)
	post := func(body, key string) (int, string, string) {
		status, h, text := e.Do(t, "POST", "/v1/feeds/rustock/events", exchange.Admin, e.AdminToken(), body, "Idempotency-Key", key)
		return status, h.Get("Idempotent-Replayed"), text
	}
	status, replayed, first := post(rows(10, "2026-03-19", "AT"), "a")
	if status != 200 || replayed != "" {
		t.Fatal(status, first)
	}
	if status, replayed, again := post(rows(10, "2026-03-19", "AT"), "a"); status != 200 || replayed != "true" || again != first {
		t.Errorf("%d %q %s, first %s", status, replayed, again, first)
	}
	if status, _, body := post(rows(11, "2026-03-20", "AT"), "a"); status != http.StatusConflict {
		t.Errorf("other rows under the key: %d %s", status, body)
	}
	if status, _, body := post("ip,timestamp\n", "with space"); status != http.StatusBadRequest {
		t.Errorf("%d %s", status, body)
	}
}

// BenchmarkLoneEvent is one event on an idle system: until the receipt, until it
// can be read over TAXII, and until a subscriber has it over NATS.
func BenchmarkLoneEvent(b *testing.B) {
	e := exchangetest.Start(b, exchangetest.Register)
	arrived := make(chan time.Time, 1)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c := &apiclient.Client{Server: e.HTTPURL(), User: "cert-at", Token: e.Token(b, "cert-at"), HTTP: taxiiclient.NewHTTP()}
		_ = c.Subscribe(ctx, "cert-at", "start", func(*apiclient.Block) error { arrived <- time.Now(); return nil })
	}()
	defer func() { cancel(); <-done }()
	e.Publish(b, "rustock", rows(1, "2026-03-18", "AT"))
	<-arrived // the subscriber is there
	i := 0
	var receipts, visible, received []time.Duration
	for b.Loop() {
		i++
		row := fmt.Sprintf("%s2026-03-19 00:00:00,240.%d.%d.%d,1024,1,AT,rustock,198.51.100.7,80,\n", header, i>>16, i>>8&255, i&255)
		start := time.Now()
		if status, _, body := e.Do(b, "POST", "/v1/feeds/rustock/events", exchange.Admin, e.AdminToken(), row); status != 200 {
			b.Fatal(body)
		}
		receipts = append(receipts, time.Since(start))
		_, _, body := e.Do(b, "GET", "/exchange/collections/cert-at/objects/?added_after="+start.UTC().Format(time.RFC3339Nano), exchange.Admin, e.AdminToken(), "")
		if !strings.Contains(body, "indicator--") {
			b.Fatalf("not visible: %s", body)
		}
		visible = append(visible, time.Since(start))
		received = append(received, (<-arrived).Sub(start))
	}
	for name, list := range map[string][]time.Duration{"receipt-p50-ms": receipts, "readable-p50-ms": visible, "received-p50-ms": received} {
		slices.Sort(list)
		b.ReportMetric(float64(list[len(list)/2].Microseconds())/1000, name)
	}
}
