package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// hasty is a pace at which an hour is a second.
var hasty = webhook.Pace{Try: 400 * time.Millisecond, Retries: 1, Least: 10 * time.Millisecond, Most: 100 * time.Millisecond, Gap: time.Millisecond, Refusals: 3, GiveUp: time.Minute}

// ringing starts an exchange on a directory whose webhooks are sent at a hasty pace.
func ringing(t *testing.T, dir, file string) *exchangetest.Exchange {
	t.Helper()
	e := exchangetest.OpenWith(t, node.Options{Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Webhooks: hasty})
	if file != "" {
		e.Apply(t, file)
	}
	return e
}

// receiver is a member's server that checks what it is sent with a library of others.
type receiver struct {
	*httptest.Server
	t   *testing.T
	mu  sync.Mutex
	key []string
	// answer, where it is set, answers in its place; what it returns false for was not taken.
	answer func(w http.ResponseWriter, r *http.Request) bool
	took   []taken
	asked  int
}

// taken is a request that was taken.
type taken struct {
	id, kind string
	header   http.Header
	body     string
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	r.mu.Lock()
	answer, keys := r.answer, r.key
	r.asked++
	r.mu.Unlock()
	for _, key := range keys {
		if v, err := standardwebhooks.NewWebhook(key); err != nil || v.Verify(body, req.Header) != nil {
			r.t.Errorf("the signature is not good: %v %v", err, req.Header)
		}
	}
	if answer != nil && !answer(w, req) {
		return
	}
	x := taken{id: req.Header.Get("Webhook-Id"), header: req.Header, body: string(body)}
	var bell webhook.Doorbell
	if x.kind = "bundle"; req.Header.Get("Content-Type") == "application/json" {
		if err := json.Unmarshal(body, &bell); err != nil {
			r.t.Error(err)
		}
		x.kind = bell.Type
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took = append(r.took, x)
}

func (r *receiver) set(answer func(w http.ResponseWriter, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) requests() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked
}

// all are the requests that were taken, of one kind.
func (r *receiver) all(kind string) (list []taken) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, x := range r.took {
		if x.kind == kind {
			list = append(list, x)
		}
	}
	return list
}

// objects are the ids of what came in bundles, in order.
func (r *receiver) objects() (ids []string) {
	for _, x := range r.all("bundle") {
		var b struct {
			Type    string
			Objects []struct{ ID string }
		}
		if err := json.Unmarshal([]byte(x.body), &b); err != nil || b.Type != "bundle" || fmt.Sprint(len(b.Objects)) != x.header.Get("Tocsin-Count") {
			r.t.Error(err, x)
		}
		for _, o := range b.Objects {
			ids = append(ids, o.ID)
		}
	}
	return ids
}

// rung sums up what doorbells rang for.
func (r *receiver) rung(kind string) (count, withheld int) {
	for _, x := range r.all(kind) {
		var b webhook.Doorbell
		_ = json.Unmarshal([]byte(x.body), &b)
		count, withheld = count+b.Data.Count, withheld+b.Data.Withheld
	}
	return count, withheld
}

// hookLine is a webhook's line in a register.
func hookLine(id, member, collection, url, send string) string {
	return fmt.Sprintf("  - {id: %s, member: %s, collection: %s, url: %q, send: %s, allow: [127.0.0.0/8, \"::1/128\"]}\n", id, member, collection, url, send)
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come to %s", what)
		}
	}
}

// keyOf is the key with which a member's webhooks are signed.
func (m member) key() string {
	code, _, text := m.e.Do(m.t, "GET", "/v1/members/"+m.id+"/webhook-key", m.id, m.token, "")
	var k struct{ Key string }
	if err := json.Unmarshal([]byte(text), &k); code != http.StatusOK || err != nil {
		m.t.Fatal(code, text, err)
	}
	return k.Key
}

func (m member) hook(id string) (st webhook.Status) {
	code, _, text := m.e.Do(m.t, "GET", "/v1/webhooks/"+id, m.id, m.token, "")
	if err := json.Unmarshal([]byte(text), &st); code != http.StatusOK || err != nil {
		m.t.Fatal(code, text, err)
	}
	return st
}

func idsOf(t *testing.T, e *exchangetest.Exchange, collection string) (ids []string) {
	objects, _ := e.Pull(t, collection, taxiiclient.Cursor{}, taxii.Filter{})
	for _, h := range heads(t, objects) {
		ids = append(ids, h.ID)
	}
	return ids
}

func TestWebhookIsToldWhenItsCollectionGrows(t *testing.T) {
	e := ringing(t, t.TempDir(), exchangetest.Register)
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.3.0.1,2026-03-18T10:00:00Z,AT\n") // before there is a webhook
	before := idsOf(t, e, "cert-at")
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	bell, whole := newReceiver(t), newReceiver(t)
	key := at.key()
	bell.key, whole.key = []string{key}, []string{key}
	e.Apply(t, "webhooks:\n"+hookLine("bell", "cert-at", "cert-at", bell.URL, "doorbell")+hookLine("whole", "cert-at", "cert-at", whole.URL, "bundle"))
	e.Publish(t, "rustock", logOf(0, 700)) // some 5 objects each, which is more than one bundle
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.3.0.2,2026-03-18T10:00:00Z,AT\n")
	want := idsOf(t, e, "cert-at")[len(before):]
	waitFor(t, "all objects", func() bool { return len(whole.objects()) >= len(want) })
	if d := cmp.Diff(want, whole.objects()); d != "" {
		t.Error(d)
	}
	waitFor(t, "a doorbell", func() bool { n, _ := bell.rung("collection.grown"); return n >= len(want) })
	if n, withheld := bell.rung("collection.grown"); n != len(want) || withheld != 0 {
		t.Error(n, withheld, len(want))
	}
	for _, x := range bell.all("collection.grown") {
		if strings.Contains(x.body, "240.") {
			t.Error(x.body)
		}
	}
	// What a doorbell names is what TAXII answers for it.
	var b webhook.Doorbell
	if err := json.Unmarshal([]byte(bell.all("collection.grown")[0].body), &b); err != nil {
		t.Fatal(err)
	}
	code, h, text := e.Do(t, "GET", "/exchange/collections/"+b.Data.TAXIIID+"/objects/?limit=1&added_after="+b.Data.AddedAfter, at.id, at.token, "", "Accept", taxii.MediaType)
	if code != http.StatusOK || h.Get("X-TAXII-Date-Added-First") != b.Data.From {
		t.Error(code, h, b, text[:min(len(text), 200)])
	}
	// A new key signs beside the old one until there is another.
	if code, _, text := e.Do(t, "POST", "/v1/members/cert-at/webhook-key", at.id, at.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	bell.mu.Lock()
	bell.key = append(bell.key, at.key())
	bell.mu.Unlock()
	if bell.key[0] == bell.key[1] || bell.key[0] == pl.key() {
		t.Error("keys are the same")
	}
	if code, _, text := e.Do(t, "POST", "/v1/webhooks/bell/ping", at.id, at.token, ""); code != http.StatusOK || !strings.Contains(text, `"taken":true`) || len(bell.all("ping")) != 1 {
		t.Error(code, text)
	}
	// It is its member's.
	for _, path := range []string{"GET /v1/webhooks/bell", "POST /v1/webhooks/bell/ping", "POST /v1/webhooks/bell/resend", "GET /v1/members/cert-at/webhook-key"} {
		method, path, _ := strings.Cut(path, " ")
		if code, _, text := e.Do(t, method, path, pl.id, pl.token, ""); code != http.StatusNotFound {
			t.Error(path, code, text)
		}
	}
	if _, _, text := e.Do(t, "GET", "/v1/webhooks", pl.id, pl.token, ""); strings.TrimSpace(text) != "[]" {
		t.Error(text)
	}
	read := audited(t, e, func(x *exchange.AuditEntry) bool { return x.Channel == exchange.ChannelWebhook })
	if read.Member != "cert-at" || read.Collection != "cert-at" || read.Action != exchange.AuditRead || read.Detail != "webhook whole" {
		t.Errorf("%+v", read)
	}
	// Sent again from the start, with what was before the webhook.
	had := len(whole.objects())
	if code, _, text := e.Do(t, "POST", "/v1/webhooks/whole/resend?from=2011-01-01T00:00:00Z", at.id, at.token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	all := idsOf(t, e, "cert-at")
	waitFor(t, "all objects again", func() bool { return len(whole.objects()) >= had+len(all) })
	if d := cmp.Diff(all, whole.objects()[had:]); d != "" {
		t.Error(d)
	}
	waitFor(t, "good", func() bool { return at.hook("whole").Condition == webhook.Good })
	// What is sent again has names of its own: who drops what it has had takes it.
	seen := make(map[string]bool)
	for _, x := range whole.all("bundle") {
		if seen[x.id] {
			t.Error(x.id, "is there twice")
		}
		seen[x.id] = true
	}
}

// What may leave by a webhook does, label by label, and nothing else: neither AMBER+STRICT nor RED.
func TestWebhookGetsWhatItsLabelAllows(t *testing.T) {
	e := ringing(t, t.TempDir(), labelled)
	r, bell := newReceiver(t), newReceiver(t)
	e.Apply(t, "webhooks:\n"+hookLine("soc", "cert-at", "cert-at", r.URL, "bundle")+hookLine("bell", "cert-at", "cert-at", bell.URL, "doorbell"))
	var want []string
	for n, label := range []string{"clear", "green", "amber", "amber+strict", "red"} {
		had := len(idsOf(t, e, "cert-at"))
		e.Publish(t, "rustock", fmt.Sprintf("ip,timestamp,cc,asn,tlp\n240.1.0.%d,2026-03-%02dT09:00:00Z,AT,64511,%s\n", n, 10+n, label))
		objects, _ := e.Pull(t, "cert-at", taxiiclient.Cursor{}, taxii.Filter{})
		for i, h := range heads(t, objects) {
			if l, _ := h.Label(); i >= had && h.ID != tlp.AmberStrict.MarkingID() && (l <= tlp.Amber && l != tlp.None || h.Type == "ipv4-addr" && n <= 2) {
				want = append(want, h.ID)
			}
		}
	}
	total := len(idsOf(t, e, "cert-at"))
	waitFor(t, "the doorbell of all", func() bool { n, withheld := bell.rung("collection.grown"); return n+withheld == total })
	waitFor(t, "the bundles", func() bool { return len(r.objects()) >= len(want) })
	if d := cmp.Diff(want, r.objects()); d != "" {
		t.Error(d)
	}
	for _, x := range r.all("bundle") {
		for _, not := range []string{"240.1.0.3", "240.1.0.4"} {
			if strings.Contains(x.body, not) {
				t.Error(not, "has left")
			}
		}
	}
	// Raised, it is not sent; and the receiver is told that there is more than it may have.
	_, withheld := bell.rung("collection.grown")
	had := len(r.objects())
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.2,2026-03-12T10:00:00Z,AT,64511,amber+strict\n")
	waitFor(t, "the doorbell of what was raised", func() bool { _, n := bell.rung("collection.grown"); return n > withheld })
	at := as(t, e, "cert-at")
	waitFor(t, "the end", func() bool { st := at.hook("soc"); return !st.State.After.Before(st.Newest) })
	if len(r.objects()) != had {
		t.Error("what was raised has left")
	}
	// An address that was there beside what did not leave comes with what does.
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.3,2026-03-25T10:00:00Z,AT,64511,amber\n")
	waitFor(t, "the end", func() bool { st := at.hook("soc"); return !st.State.After.Before(st.Newest) })
	got := r.all("bundle")
	if last := got[len(got)-1].body; !strings.Contains(last, `"value":"240.1.0.3"`) {
		t.Error(last)
	}
	// A collection of which nothing may leave has none, and neither has a collection that the member may not read.
	for _, c := range []string{"room", "cert-pl", "nothing"} {
		file := "webhooks:\n" + hookLine("other", "cert-at", c, r.URL, "bundle")
		if code, _, text := e.Do(t, "POST", "/v1/register", exchange.Admin, e.AdminToken(), file); code != http.StatusUnprocessableEntity {
			t.Error(c, code, text)
		}
	}
}

// A receiver that is slow, wrong, redirecting, or down loses nothing and delays nobody else.
func TestWebhooksWaitForTheirOwnReceiverAlone(t *testing.T) { // alone: another could take a port of it
	dir := t.TempDir()
	e := ringing(t, dir, exchangetest.Register)
	good, slow, wrong, redirecting, other := newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t), newReceiver(t)
	var addresses net.ListenConfig
	l, err := addresses.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	down := l.Addr().String()
	_ = l.Close() // nobody is there
	release := make(chan struct{})
	slow.set(func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-release:
			return true
		case <-r.Context().Done():
			return false
		}
	})
	wrong.set(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(http.StatusNotFound); return false })
	redirecting.set(func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
		return false
	})
	file := "webhooks:\n" + hookLine("good", "cert-at", "cert-at", good.URL, "bundle") + hookLine("slow", "cert-at", "cert-at", slow.URL, "bundle") +
		hookLine("wrong", "cert-at", "cert-at", wrong.URL, "bundle") + hookLine("redirecting", "cert-at", "cert-at", redirecting.URL, "bundle") +
		hookLine("down", "cert-at", "cert-at", "http://"+down+"/in?token=geheim", "bundle")
	e.Apply(t, file)
	for i := range 5 {
		e.Publish(t, "rustock", logOf(i*50, i*50+50))
	}
	want := idsOf(t, e, "cert-at")
	waitFor(t, "all at the good one", func() bool { return len(good.objects()) >= len(want) })
	at := as(t, e, "cert-at")
	for _, id := range []string{"slow", "down"} {
		waitFor(t, id, func() bool { st := at.hook(id); return st.Condition == webhook.Failing && st.State.Failures > 5 })
		if st := at.hook(id); len(st.State.Dead) > 0 || st.State.Taken > 0 || st.State.Error == "" || strings.Contains(st.State.Error, "geheim") || st.State.Next.IsZero() {
			t.Errorf("%s: %+v", id, st)
		}
	}
	for id, code := range map[string]string{"wrong": "404", "redirecting": "307"} {
		waitFor(t, id, func() bool { st := at.hook(id); return st.State.After.Equal(st.Newest) })
		st := at.hook(id)
		if len(st.State.Dead) != 1 || st.State.Dead[0].Count != len(want) || !strings.Contains(st.State.Dead[0].Error, code) {
			t.Errorf("%s: %+v", id, st)
		}
	}
	if other.requests() > 0 {
		t.Error("a redirection was followed")
	}
	// The exchange stops and starts; then all receivers come to their senses.
	e.Stop(t)
	e = ringing(t, dir, "")
	at.e = e
	close(release)
	wrong.set(nil)
	redirecting.set(nil)
	late := newReceiver(t)
	back, err := addresses.Listen(t.Context(), "tcp", down)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: late, ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(back) }()
	defer func() { _ = server.Close() }()
	for id, r := range map[string]*receiver{"slow": slow, "down": late} {
		waitFor(t, "all at "+id, func() bool { return len(r.objects()) >= len(want) })
		if d := cmp.Diff(want, slices.Compact(r.objects())); d != "" {
			t.Error(id, d)
		}
	}
	for id, r := range map[string]*receiver{"wrong": wrong, "redirecting": redirecting} {
		if len(r.objects()) > 0 {
			t.Error(id, "was sent again by itself")
		}
		if code, _, text := e.Do(t, "POST", "/v1/webhooks/"+id+"/resend", at.id, at.token, ""); code != http.StatusOK {
			t.Fatal(code, text)
		}
		waitFor(t, "all at "+id, func() bool { return len(r.objects()) >= len(want) })
		if d := cmp.Diff(want, r.objects()); d != "" {
			t.Error(id, d)
		}
		waitFor(t, "good "+id, func() bool { return at.hook(id).Condition == webhook.Good })
	}
	if len(good.objects()) != len(want) {
		t.Error("the good one was sent something again")
	}
}

// No request goes into the operator's own network, whatever a name resolves to.
func TestWebhookGoesToPublicAddressesAlone(t *testing.T) {
	e := ringing(t, t.TempDir(), exchangetest.Register)
	r := newReceiver(t)
	_, port, _ := net.SplitHostPort(r.Listener.Addr().String())
	file := "webhooks:\n"
	hosts := []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"}
	for i, host := range hosts {
		file += fmt.Sprintf("  - {id: hook-%d, member: cert-at, collection: cert-at, url: \"https://%s:%s/\", send: doorbell}\n", i, host, port)
		file += fmt.Sprintf("  - {id: http-%d, member: cert-at, collection: cert-at, url: \"http://%s:%s/\", send: doorbell, allow: [10.0.0.0/8]}\n", i, host, port)
	}
	e.Apply(t, file)
	e.Publish(t, "rustock", logOf(0, 3))
	at := as(t, e, "cert-at")
	for i := range hosts {
		for _, id := range []string{fmt.Sprint("hook-", i), fmt.Sprint("http-", i)} {
			waitFor(t, id, func() bool { return at.hook(id).State.Failures > 0 })
			want := "no public address"
			if strings.HasPrefix(id, "http-") {
				want = "has to be https"
			}
			if st := at.hook(id); !strings.Contains(st.State.Error, want) && (hosts[i] != "2130706433" || !strings.Contains(st.State.Error, "no address")) {
				t.Error(hosts[i], st.State.Error)
			}
		}
	}
	if r.requests() > 0 {
		t.Error("it was asked")
	}
	for what, line := range map[string]string{
		"http": `url: "http://soc.example.org/"`, "no host": `url: "https:///x"`, "a file": `url: "file:///etc/passwd"`, "a user": `url: "https://a:b@soc.example.org/"`, "nothing": `url: ""`, "a port": `url: "https://soc.example.org:70000/"`, "the future": `url: "https://soc.example.org/", created: 2099-01-01T00:00:00Z`,
		"a sending": `url: "https://soc.example.org/", send: fax`,
	} {
		file := "webhooks:\n  - {id: bad, member: cert-at, collection: cert-at, " + line + "}\n"
		if code, _, text := e.Do(t, "POST", "/v1/register", exchange.Admin, e.AdminToken(), file); code != http.StatusUnprocessableEntity || !strings.Contains(text, "webhook bad: ") {
			t.Error(what, code, text)
		}
	}
}

// What leaves a collection rings for those who had it; a webhook whose right has ended ends.
func TestWebhookIsToldOfWhatIsWithdrawn(t *testing.T) {
	e := ringing(t, t.TempDir(), labelled)
	r := newReceiver(t)
	e.Apply(t, "webhooks:\n"+hookLine("soc", "cert-pl", "low", r.URL, "bundle"))
	at := as(t, e, "cert-at")
	at.add("low", sample(1, version1, green))
	waitFor(t, "the object", func() bool { return slices.Contains(r.objects(), sampleID(1)) })
	at.add("low", sample(2, version1, green))
	at.add("low", sample(1, version2, red))
	waitFor(t, "the withdrawal", func() bool { n, _ := r.rung("collection.withdrawn"); return n == 1 })
	if strings.Contains(r.all("collection.withdrawn")[0].body, "indicator--") {
		t.Error(r.all("collection.withdrawn")[0].body)
	}
	waitFor(t, "the other object", func() bool { return slices.Contains(r.objects(), sampleID(2)) })
	// A request that is under way when the webhook goes is cut.
	cut := make(chan struct{})
	r.set(func(_ http.ResponseWriter, req *http.Request) bool {
		<-req.Context().Done()
		close(cut)
		return false
	})
	asked := r.requests()
	at.add("low", sample(3, version1, green))
	waitFor(t, "a request", func() bool { return r.requests() > asked })
	if _, err := e.Register.Change(t.Context(), "test", func(reg *exchange.Register) error { reg.Webhooks = nil; return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-cut:
	case <-time.After(5 * time.Second):
		t.Error("the request goes on")
	}
}
