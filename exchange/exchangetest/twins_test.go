package exchangetest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/things"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Two exchanges that differ in what csirt-a may not see get the same random requests from it, with hidden steps between
// them in one alone: every answer is the same. TOCSIN_TWINS is how many pairs there are, TOCSIN_TWINS_REQUESTS how many
// requests each gets, TOCSIN_TWINS_SEED the seed of the first. Masked are instants, and what is made at random for an
// answer: the clock of the two is not the same.

// twinFile is what both have; %s stands for the members and the collections that one has alone.
const twinFile = `
members:
  - {id: csirt-a, kind: csirt, clearance: amber+strict, constituency: {countries: [AT]}, identities: [identity--00000000-0000-4000-8000-000000000000]}
  - {id: csirt-b, kind: csirt, clearance: amber+strict, constituency: {countries: [PL]}, identities: [identity--00000000-0000-4000-8000-000000000001]}
  - {id: owner-a, kind: network-owner, clearance: amber, constituency: {asns: [64500]}, identities: [identity--00000000-0000-4000-8000-000000000002]}
  - {id: owner-b, kind: network-owner, clearance: amber+strict, constituency: {asns: [64501]}, identities: [identity--00000000-0000-4000-8000-000000000003]}
  - {id: pub, kind: publisher, clearance: amber+strict, identities: [identity--00000000-0000-4000-8000-000000000004]}
  - {id: guest, kind: network-owner, clearance: amber+strict, constituency: {asns: [64502]}}
%s
feeds:
  - {id: f, publisher: pub, operation: f, malware: {name: F}, default_tlp: amber, allow_reserved: true}
%s
collections:
  - {id: c0, ceiling: amber, floor: clear, readers: all, writers: all}
  - {id: c1, ceiling: green, floor: clear, readers: [csirt-a, csirt-b], writers: [csirt-a, csirt-b]}
  - {id: c2, ceiling: amber, floor: clear, readers: [owner-b], writers: all}
  - {id: c3, ceiling: amber+strict, floor: clear, readers: [owner-b], writers: [owner-b, pub]}
  - {id: c5, ceiling: amber+strict, floor: clear, readers: [guest], writers: [guest]}
%s
`

// twins are the two exchanges; the second has what is hidden.
type twins struct {
	*world
	es     [2]*exchangetest.Exchange
	token  [2]map[string]string
	status [2][]string // ids of csirt-a's requests
	asked  int
	tried  int // what guest has tried
}

const asker = "csirt-a"

func newTwins(t *testing.T, seed uint64) *twins {
	r := rand.New(rand.NewPCG(seed, 11))
	w := &twins{world: &world{T: t, r: r, Maker: things.Maker{R: r}}}
	hidden := []any{
		"  - {id: ghost, kind: csirt, hidden: true, clearance: amber+strict, constituency: {countries: [DE]}, identities: [identity--00000000-0000-4000-8000-000000000007]}",
		"  - {id: g, publisher: owner-b, operation: g, malware: {name: G}, default_tlp: green, allow_reserved: true}",
		"  - {id: c4, ceiling: amber, readers: [ghost, owner-b], writers: [ghost, owner-b]}",
	}
	var ids strings.Builder // of collections, which are made at random
	ids.WriteString("taxii_ids:\n")
	for n, c := range []string{
		"c0", "c1", "c2", "c3", "c5", "csirt-a", "csirt-b", "owner-a", "owner-b", "feedback-csirt-a", "feedback-csirt-b", "feedback-owner-a", "feedback-owner-b", "feed-f", "unclaimed", "quarantine",
		"guest", "feedback-guest",
	} {
		fmt.Fprintf(&ids, "  %s: 00000000-0000-4000-8000-%012d\n", c, n)
	}
	for i, file := range []string{fmt.Sprintf(twinFile, "", "", ""), fmt.Sprintf(twinFile, hidden...)} {
		w.es[i] = exchangetest.Start(t, file+ids.String())
		w.token[i] = make(map[string]string)
		for _, m := range append(slices.Clone(members[:5]), "guest", exchange.Admin) {
			w.token[i][m] = w.es[i].Token(t, m)
		}
	}
	w.token[1]["ghost"] = w.es[1].Token(t, "ghost")
	return w
}

// post posts as a member to one of the two.
func (w *twins) post(i int, member, c, body string) (int, string) {
	code, _, text := w.es[i].Do(w, "POST", "/exchange/collections/"+c+"/objects/", member, w.token[i][member], body, "Accept", taxii.MediaType, "Content-Type", taxii.MediaType)
	return code, text
}

// hide does something in the second alone that csirt-a is not to learn of. Who does it posts nothing where csirt-a reads,
// and so, by the rules, changes nothing there.
func (w *twins) hide() {
	if w.r.IntN(3) == 0 {
		w.try()
		return
	}
	who := w.pick([]string{"owner-b", "pub", "ghost", "owner-b"})
	c := w.pick(map[string][]string{"owner-b": {"c2", "c3", "c4"}, "pub": {"c2", "c3"}, "ghost": {"c2", "c4"}}[who])
	switch w.r.IntN(5) {
	case 0, 1, 2:
		var texts []string
		for range 1 + w.r.IntN(3) {
			x := w.Thing()
			if who == "ghost" && x.Creator == things.Identity(7) { // what it raises of its own, it raises for all (rule 3)
				x.Creator = ""
			}
			texts = append(texts, w.Marked(x))
		}
		w.note("hidden: %s posts to %s: %s", who, c, strings.Join(texts, "\n    "))
		w.post(1, who, c, envelope(texts...))
	case 3:
		id := w.Thing().ID
		w.note("hidden: %s deletes %s from %s", who, id, c)
		w.es[1].Do(w, "DELETE", "/exchange/collections/"+c+"/objects/"+id+"/", who, w.token[1][who], "", "Accept", taxii.MediaType)
	default:
		feed := w.pick([]string{"f", "f", "g"})
		rows := fmt.Sprintf("ip,timestamp,cc,asn,tlp\n240.0.0.%d,2026-03-19T00:%02d:00Z,%s,64501,%s\n", w.r.IntN(6), w.r.IntN(60), w.pick([]string{"PL", "", "DE"}), w.pick(levels[:5]))
		w.note("hidden: event on %s: %s", feed, rows)
		w.es[1].Publish(w, feed, rows)
	}
}

// try has guest, who owns nothing in c0, try in the second alone what the rules refuse: to tell there, under a lower label, of
// what only it reads; to take the id of an object that the feed has made or will make; to delete what others posted.
func (w *twins) try() {
	w.tried++
	send := func(method, path, body string) {
		w.note("guest tries %s %s: %s", method, path, body)
		w.es[1].Do(w, method, "/exchange/collections/"+path, "guest", w.token[1]["guest"], body, "Accept", taxii.MediaType, "Content-Type", taxii.MediaType)
	}
	switch w.r.IntN(3) {
	case 0:
		secret := things.Thing{Type: "indicator", ID: fmt.Sprintf("indicator--%08d-0000-4000-8000-00000000aaaa", w.tried), Version: things.Version, Marks: []string{"amber+strict"}}
		send("POST", "c5/objects/", envelope(w.Marked(&secret)))
		typ := w.pick([]string{"note", "note", "report"})
		teller := things.Thing{Type: typ, ID: fmt.Sprintf("%s--%08d-0000-4000-8000-00000000bbbb", typ, w.tried), Version: things.Version, Marks: []string{"clear"}, Refs: []string{secret.ID}}
		send("POST", "c0/objects/", envelope(w.Marked(&teller)))
	case 1:
		x := things.Thing{Type: w.pick([]string{"indicator", "observed-data"}), Version: w.pick([]string{things.Version, "2099-01-01T00:00:00.000Z"}), Marks: []string{"clear"}, Address: "198.51.100.1"}
		x.ID = w.es[1].HostObject("f", x.Type, fmt.Sprintf("240.0.0.%d", w.r.IntN(7)), "2026-03-19", exchange.Location{Country: w.pick([]string{"AT", "PL"})})
		x.Refs = []string{stix.AddressID(netip.MustParseAddr(x.Address))}
		send("POST", "c0/objects/", envelope(w.Marked(&x)))
	default:
		send("DELETE", "c0/objects/"+w.Thing().ID+"/?match[version]=all", "")
	}
}

// both does something in both that others do where csirt-a sees it.
func (w *twins) both() {
	who, c := w.pick([]string{"csirt-b", "owner-a"}), "c0"
	if who == "csirt-b" {
		c = w.pick([]string{"c0", "c1"})
	}
	body := envelope(w.Marked(w.Thing()), w.Marked(w.Thing()))
	rows := fmt.Sprintf("ip,timestamp,cc,tlp\n240.0.0.%d,2026-03-19T01:%02d:00Z,AT,%s\n", w.r.IntN(6), w.r.IntN(60), w.pick(levels[:5]))
	events := w.r.IntN(3) == 0
	w.note("both: %s to %s: %s %s", who, c, body, rows)
	for i := range w.es {
		if events {
			w.es[i].Publish(w, "f", rows)
		} else {
			w.post(i, who, c, body)
		}
	}
}

// request is a random one of csirt-a's, as the i-th of the two gets it.
func (w *twins) request() func(i int) (method, path, body string) {
	plain := func(method, path, body string) func(int) (string, string, string) {
		return func(int) (string, string, string) { return method, path, body }
	}
	c := w.pick([]string{"c0", "c0", "c1", "c2", "c2", "c3", "c4", "csirt-a", "csirt-b", "feedback-csirt-a", "feedback-csirt-b", "feed-f", "feed-g", "ghost", "unclaimed", "quarantine", "nothing"})
	x := w.Thing()
	id := x.ID
	address := fmt.Sprintf("240.0.0.%d", w.r.IntN(7))
	if w.r.IntN(4) == 0 { // a host's
		at := exchange.Location{Country: w.pick([]string{"AT", "PL", "DE", ""}), ASN: uint32(w.r.IntN(2) * 64501)}
		id = w.es[1].HostObject("f", w.pick([]string{"observed-data", "indicator", "sighting"}), address, "2026-03-19", at)
	}
	root := "/exchange/collections/" + c
	switch w.r.IntN(16) {
	case 0, 1, 2, 3:
		var texts []string
		for range 1 + w.r.IntN(3) {
			y := w.Thing()
			if w.r.IntN(5) == 0 {
				y.Refs = []string{id, things.Identity(7)}
			}
			if y.Type == w.pick([]string{"indicator", "note"}) && w.r.IntN(4) == 0 && !strings.HasPrefix(id, "ipv4") {
				y.Creator = things.Identity(7)
			}
			text := w.Marked(y)
			if w.r.IntN(8) == 0 && strings.HasPrefix(id, y.Type+"--") {
				text = strings.ReplaceAll(text, y.ID, id)
			}
			texts = append(texts, text)
		}
		return plain("POST", root+"/objects/", envelope(texts...))
	case 4:
		return plain("DELETE", root+"/objects/"+id+"/"+w.pick([]string{"", "?match[version]=all", "?match[version]=first"}), "")
	case 5:
		return plain("GET", root+"/objects/"+id+"/"+w.pick([]string{"", "versions/", "?match[version]=all"}), "")
	case 6:
		return plain("GET", root+w.pick([]string{"/objects/", "/manifest/"})+"?match[version]=all&match[id]="+id, "")
	case 7:
		return plain("GET", root+w.pick([]string{"/objects/", "/manifest/"})+w.pick([]string{"", "?limit=2", "?match[type]=note,report", "?match[tlp]=amber", "?match[version]=all&limit=5000", "?match[spec_version]=2.0"}), "")
	case 8:
		return plain("GET", w.pick([]string{"/taxii2/", "/exchange/", "/exchange/collections/", root + "/", "/public/collections/", "/exchange/status/00000000-0000-4000-8000-000000000000/"}), "")
	case 9:
		return plain("GET", w.pick([]string{
			"/v1/self", "/v1/collections", "/v1/collections/" + c, "/v1/collections/" + c + "/withdrawn", "/v1/collections/" + c + "/verify", "/v1/members", "/v1/members/" + c, "/v1/feeds", "/v1/feeds/g",
			"/v1/register", "/v1/audit", "/v1/quarantine", "/v1/receipts/00000000-0000-4000-8000-000000000000", "/v1/webhooks", "/v1/members/csirt-a/tokens", "/v1/members/ghost/tokens", "/v1/nothing",
		}), "")
	case 10:
		return plain("GET", "/v1/explain?"+w.pick([]string{
			"address=" + address, "address=" + address + "&day=2026-03-19", "address=" + address + "&country=DE", "address=" + address + "&country=PL&asn=64501", "event=" + id, "address=" + address + "&feed=g",
		}), "")
	case 11:
		return plain("GET", "/misp/"+c+w.pick([]string{"/manifest.json", "/hashes.csv", "/11111111-1111-4111-8111-111111111111.json"}), "")
	case 12:
		return plain("POST", "/v1/clean", fmt.Sprintf(`{"hosts":[{"address":%q}]}`, address))
	case 13:
		return plain("POST", "/v1/feeds/"+w.pick([]string{"f", "g", "h"})+"/events", "ip,timestamp\n240.0.0.1,2026-03-19T00:00:00Z\n")
	case 14:
		return plain("POST", "/v1/collections/"+c+"/subscription"+w.pick([]string{"", "?from=start", "?from=now"}), "")
	default:
		k := w.r.Uint32()
		return func(i int) (string, string, string) {
			if n := len(w.status[i]); n > 0 {
				return "GET", "/exchange/status/" + w.status[i][int(k)%n] + "/", ""
			}
			return "GET", "/v1/self", ""
		}
	}
}

// ask has both answer a request, and compares what they say.
func (w *twins) ask() {
	of := w.request()
	var answers [2]string
	for i := range w.es {
		method, path, body := of(i)
		code, h, text := w.es[i].Do(w, method, path, asker, w.token[i][asker], body, "Accept", "*/*", "Content-Type", taxii.MediaType)
		var st taxii.Status
		if method == "POST" && code == http.StatusAccepted && json.Unmarshal([]byte(text), &st) == nil {
			w.status[i] = append(w.status[i], st.ID)
		}
		answers[i] = fmt.Sprintf("%s %s\n%d %s %s", method, body, code, h.Get("Content-Type"), w.mask(i, text))
		if i == 0 {
			w.note("asks %s %s %s", method, path, body)
		}
	}
	w.asked++
	if d := cmp.Diff(answers[0], answers[1]); d != "" {
		w.Errorf("an answer tells of what %s may not see: %s", asker, d)
	}
}

// today are instants of today or tomorrow.
var today = regexp.MustCompile("(" + time.Now().UTC().Format(time.DateOnly) + "|" + time.Now().UTC().Add(24*time.Hour).Format(time.DateOnly) + `)T[0-9:.]*Z`)

// bundleIDs are made of when objects came.
var bundleIDs = regexp.MustCompile(`bundle--[0-9a-f-]{36}`)

// mask takes out what differs by chance: instants, and what is made at random for an answer or an exchange.
func (w *twins) mask(i int, text string) string {
	for n, id := range w.status[i] {
		text = strings.ReplaceAll(text, id, fmt.Sprint("status-", n))
	}
	text = strings.ReplaceAll(text, w.es[i].HTTPURL(), "http")
	text = strings.ReplaceAll(text, w.es[i].NATSURL(), "nats")
	text = bundleIDs.ReplaceAllString(today.ReplaceAllString(text, "now"), "bundle")
	return ofTheAnswer.ReplaceAllStringFunc(text, func(s string) string {
		name, _, ok := strings.Cut(s, ":")
		if !ok {
			name = "by chance"
		}
		if strings.HasPrefix(s, `"id"`) && strings.Contains(s, "--") || !strings.HasPrefix(s, `"`) && len(s) != 32 && len(s) != 64 && !strings.HasPrefix(s, "until") { // an object's id
			return s
		}
		return name
	})
}

// streams compares what comes as events and over NATS, of some collections, from their start.
func (w *twins) streams() {
	for _, c := range []string{w.pick([]string{"c0", "c1", "csirt-a"}), w.pick([]string{"c2", "c3", "c4", "csirt-b", "feed-f", "nothing"})} {
		var said [2]string
		var wg sync.WaitGroup
		for i := range w.es {
			wg.Go(func() { said[i] = w.events(i, c) + w.info(i, c) })
		}
		wg.Wait()
		if d := cmp.Diff(said[0], said[1]); d != "" {
			w.Errorf("the stream of %s tells of what %s may not see: %s", c, asker, d)
		}
	}
}

// events are the data of a collection's events up to when no more comes.
func (w *twins) events(i int, c string) string {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.es[i].HTTPURL()+"/v1/collections/"+c+"/events?from=start", nil)
	if err != nil {
		panic(err)
	}
	r.SetBasicAuth(asker, w.token[i][asker])
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		panic(err)
	}
	defer func() { _ = res.Body.Close() }()
	said := []string{fmt.Sprint(res.StatusCode, " ", res.Header.Get("Content-Type"))}
	idle := time.AfterFunc(400*time.Millisecond, cancel)
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		idle.Reset(400 * time.Millisecond)
		if line := lines.Text(); strings.HasPrefix(line, "data:") || strings.HasPrefix(line, "event:") {
			said = append(said, w.mask(i, line))
		}
	}
	// How objects are cut into events depends on when they came.
	return strings.Join(said, "\n")
}

// info is what NATS says when the consumer of a collection is asked for.
func (w *twins) info(i int, c string) string {
	violation := make(chan string, 4)
	nc, err := nats.Connect(w.es[i].NATSURL(), nats.UserInfo(asker, w.token[i][asker]), nats.CustomInboxPrefix("_INBOX."+asker),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violation <- err.Error() }))
	if err != nil {
		panic(err)
	}
	defer nc.Close()
	stream, durable := exchange.Consumer(asker, c)
	reply := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(reply)
	if err != nil {
		panic(err)
	}
	if err := nc.PublishRequest("$JS.API.CONSUMER.INFO."+stream+"."+durable, reply, nil); err != nil {
		panic(err)
	}
	m, err := sub.NextMsg(300 * time.Millisecond)
	said := fmt.Sprint(err)
	if err == nil {
		var info struct {
			Config struct {
				Filters []string `json:"filter_subjects"`
			} `json:"config"`
			Pending int `json:"num_pending"`
		}
		said = fmt.Sprint(json.Unmarshal(m.Data, &info), info)
	}
	select {
	case v := <-violation:
		said += " " + v
	default:
	}
	return said
}

func TestTwinsAnswerAlike(t *testing.T) {
	t.Parallel()
	pairs, requests, seed := setting("TOCSIN_TWINS", 20), setting("TOCSIN_TWINS_REQUESTS", 100), setting("TOCSIN_TWINS_SEED", 1)
	for n := range pairs {
		t.Run(fmt.Sprintf("seed-%d", seed+n), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, seed+n)
			for range requests {
				for w.r.IntN(2) == 0 {
					w.hide()
				}
				if w.r.IntN(6) == 0 {
					w.both()
				}
				if w.ask(); w.Failed() {
					w.Log(strings.Join(w.log, "\n"))
					return
				}
			}
			w.streams()
			for i := range w.es {
				w.es[i].Stop(t)
			}
		})
	}
}
