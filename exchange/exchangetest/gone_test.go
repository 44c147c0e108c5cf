package exchangetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// stopped stops an exchange, lists which of the texts any message of its blocks' stream has, of one collection or of all,
// and how many messages are replacements, and opens it again.
func stopped(t *testing.T, e *exchangetest.Exchange, collection string, texts ...string) (again *exchangetest.Exchange, found []string, replacements int) {
	t.Helper()
	dir := e.Dir
	e.Stop(t)
	b, err := broker.Start(broker.Options{Dir: filepath.Join(dir, "journal")})
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), exchange.BlocksStream)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	for sequence := uint64(1); sequence <= stream.CachedInfo().State.LastSeq; sequence++ {
		msg, err := stream.GetMsg(t.Context(), sequence)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(msg.Subject, collection) {
			continue
		}
		if strings.HasPrefix(msg.Subject, "tocsin.r.") {
			replacements++
		}
		payload, err := z.DecodeAll(msg.Data, nil)
		if err != nil {
			t.Fatal(err)
		}
		payload = fmt.Append(payload, msg.Header)
		for _, text := range texts {
			if bytes.Contains(payload, []byte(text)) {
				found = append(found, text)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return exchangetest.Open(t, dir), slices.Compact(found), replacements
}

// objectsIn are the texts of a bundle's objects.
func objectsIn(bundle []byte) (list []string) {
	_ = stix.Objects(bundle, func(raw []byte) error { list = append(list, string(raw)); return nil })
	return list
}

// mirror is what a subscriber has of a collection, by block and position.
type mirror struct {
	mu      sync.Mutex
	objects map[string]string
	twice   []string
}

func (m *mirror) take(b *apiclient.Block) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects == nil {
		m.objects = make(map[string]string)
	}
	for _, o := range b.Removed {
		delete(m.objects, fmt.Sprint(b.Number, " ", o.Position))
	}
	if b.Bundle == nil {
		return
	}
	positions := b.Positions()
	for i, o := range objectsIn(b.Bundle) {
		at := fmt.Sprint(b.Number, " ", positions[i])
		if m.objects[at] != "" {
			m.twice = append(m.twice, at)
		}
		m.objects[at] = o
	}
}

// has waits until the subscriber has these objects and no others.
func (m *mirror) has(t *testing.T, what string, want []string) {
	t.Helper()
	slices.Sort(want)
	var got []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		m.mu.Lock()
		got = nil
		for _, o := range m.objects {
			got = append(got, o)
		}
		m.mu.Unlock()
		if slices.Sort(got); slices.Equal(got, want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s has %d objects, want %d", what, len(got), len(want))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.twice) > 0 {
		t.Errorf("%s was given twice: %v", what, m.twice)
	}
}

// Objects of one block are deleted one by one: they are in no message any more once that is answered, the block is
// replaced a few times, and who subscribes has what stays, once, whether it came before, meanwhile, or after.
func TestWhatIsDeletedIsInNoMessage(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	const n, keep = 500, 10
	var objects []string
	for i := range n {
		objects = append(objects, sample(i, version1, fmt.Sprintf(`%s,"description":"secret %04d"`, green, i)))
	}
	if st := post(t, e, "mid", at.id, at.token, envelope(objects...)); st.SuccessCount != n {
		t.Fatalf("%+v", st)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer func() { cancel(); wg.Wait() }()
	subscribe := func(from string) *mirror {
		m := new(mirror)
		wg.Go(func() {
			err := client(e, pl.id, pl.token).Subscribe(ctx, "mid", from, func(b *apiclient.Block) error { m.take(b); return nil })
			if ctx.Err() == nil {
				t.Error(err)
			}
		})
		return m
	}
	past := subscribe("start")
	past.has(t, "who came before", slices.Clone(objects))
	// A durable consumer that was given the block and has not acknowledged it.
	consumer := durableOf(t, e, pl, "mid")
	if _, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var deleting sync.WaitGroup
	work := make(chan int)
	for range 50 {
		deleting.Go(func() {
			for i := range work {
				code, _, text := e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+sampleID(i)+"/", at.id, at.token, "", "Accept", taxii.MediaType)
				if code != http.StatusOK {
					t.Error(i, code, text)
				}
			}
		})
	}
	var meanwhile *mirror
	for i := range n - keep {
		if i == n/2 {
			meanwhile = subscribe("start")
		}
		work <- i
	}
	close(work)
	deleting.Wait()
	gone := e.Journal.Replaced()
	t.Logf("%d objects deleted, 50 at a time: %d replacements", n-keep, gone)
	if gone > 40 {
		t.Errorf("%d replacements for %d deletions", gone, n-keep)
	}
	stay := slices.Clone(objects[n-keep:])
	past.has(t, "who came before", stay)
	meanwhile.has(t, "who came meanwhile", stay)
	subscribe("start").has(t, "who comes now", stay)
	// What the durable one gets again is what stays.
	replacements := 0
	for {
		m, err := consumer.Next(jetstream.FetchMaxWait(500 * time.Millisecond))
		if err != nil {
			break
		}
		b, err := record.ParseBlock(m.Headers(), m.Data())
		if err != nil {
			t.Fatal(err)
		}
		text, err := e.Journal.Decompress(nil, b.Payload)
		if err != nil || bytes.Contains(text, []byte("secret 0000")) {
			t.Error("what is gone was given again:", err)
		}
		if len(b.Removed) > 0 {
			replacements++
			if got := objectsIn(text); !slices.Equal(got, stay) {
				t.Error(got)
			}
		}
		_ = m.Ack()
	}
	if replacements == 0 {
		t.Error("the durable consumer was not given what stays")
	}
	// The same after a start, and in a view that is made anew.
	cancel()
	wg.Wait()
	var secrets []string
	for i := range n - keep {
		secrets = append(secrets, fmt.Sprintf("secret %04d", i), sampleID(i))
	}
	e, found, replacements := stopped(t, e, "", secrets...)
	if len(found) > 0 || replacements != 1 {
		t.Errorf("the journal still has %d of them, and %d replacements of one block: %.100v", len(found), replacements, found)
	}
	for range 2 {
		if got, _ := e.Pull(t, "mid", taxiiclient.Cursor{}, taxii.Filter{}); !slices.Equal(got, stay) {
			t.Error(got)
		}
		e = rebuilt(t, e)
	}
	whole(t, e, "mid")
}

// What got a label that it may not have is in no message, however it got it.
func TestWhatIsWithdrawnIsInNoMessage(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	add := func(collection, object string) {
		t.Helper()
		if why := at.add(collection, object); why != "" {
			t.Fatal(why)
		}
	}
	secret := func(n int) string { return fmt.Sprintf(`,"description":"secret %04d"`, n) }
	add("low", sample(1, version1, green+secret(1)+vendor))
	add("low", sample(2, version1, secret(2)))
	add("mid", sample(3, version1, secret(3)))
	add("low", sample(4, version1, green+secret(4)))
	// By a newer version elsewhere, by a report above the ceiling, and by one within it.
	add("mid", sample(1, version2, amber+secret(9)+vendor))
	if at.add("low", reportOn(10, amber, sampleID(2))) == "" {
		t.Error("a report above the ceiling is taken")
	}
	add("mid", reportOn(11, amber, sampleID(3)))
	var got []string
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_ = client(e, pl.id, pl.token).Subscribe(ctx, "mid", "start", func(b *apiclient.Block) error {
		for _, o := range objectsIn(b.Bundle) {
			if strings.Contains(o, "secret 0003") {
				got = append(got, o)
				cancel()
			}
		}
		return nil
	})
	if len(got) != 1 || !strings.Contains(got[0], amber[1:]) {
		t.Error("who subscribes now is given", got)
	}
	if _, found, _ := stopped(t, e, "", "secret 0001", "secret 0002", "secret 0004"); !slices.Equal(found, []string{"secret 0004"}) {
		t.Error(found)
	}
}

// reportOn is a report that refers to others.
func reportOn(n int, extra string, refs ...string) string {
	return fmt.Sprintf(`{"type":"report","spec_version":"2.1","id":"report--%08d-0000-4000-8000-000000000000","created":%q,"modified":%q,"name":"R","published":%q,"object_refs":["%s"]%s}`,
		n, version1, version1, version1, strings.Join(refs, `","`), extra)
}

// What was cut short between a control block and the replacement is finished at the next start.
func TestWhatWasNotReplacedWhenItStoppedIsReplacedAtTheStart(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	if why := at.add("mid", sample(1, version1, green+`,"description":"secret 1"`)); why != "" {
		t.Fatal(why)
	}
	version := record.Version{ID: sampleID(1), SpecVersion: "2.1", Version: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	_, err := e.Journal.Post(&record.Post{Share: record.Share{Collection: "mid", Label: 1}, Control: record.ControlDelete, Removal: &record.Removal{Versions: []record.Version{version}}})
	if err != nil {
		t.Fatal(err)
	}
	e, found, replacements := stopped(t, e, "", "secret 1")
	if len(found) != 1 || replacements != 0 {
		t.Fatal("it is gone already")
	}
	e, found, replacements = stopped(t, e, "", "secret 1")
	if len(found) != 0 || replacements != 1 {
		t.Error(found, replacements)
	}
	whole(t, e, "mid")
}

// A host whose label is raised leaves nothing of itself with who may not have it: its address goes with the last object
// that refers to it, of any feed.
func TestAnAddressLeavesWithTheLastThatRefersToIt(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(labelled, "feeds:\n", "feeds:\n  - {id: two, publisher: dcu, operation: two, malware: {name: Two}, default_tlp: green, allow_reserved: true}\n", 1))
	isp := as(t, e, "isp-one")
	left := func() (addresses, others int) {
		t.Helper()
		got, _ := e.Pull(t, "isp-one", taxiiclient.Cursor{}, taxii.Filter{})
		for _, o := range got {
			switch {
			case strings.Contains(o, "240.1.0.1"):
				addresses++
			case strings.Contains(o, `"network-traffic"`), strings.Contains(o, `"observed-data"`):
				others++
			}
		}
		return addresses, others
	}
	publish := func(feed, label string) {
		t.Helper()
		rows := "ip,timestamp,cc,asn,dst_ip,dst_port,tlp\n240.1.0.1,2026-03-19T00:00:00Z,AT,64511,198.51.100.1,80," + label + "\n"
		if r := e.Publish(t, feed, rows); r.Rejected != 0 {
			t.Fatalf("%+v", r)
		}
	}
	publish("rustock", "green")
	publish("two", "green")
	if a, _ := left(); a == 0 {
		t.Fatal("nothing was given")
	}
	publish("rustock", "amber+strict")
	a, others := left()
	if a == 0 || others == 0 {
		t.Errorf("feed two's is gone with it: %d, %d", a, others)
	}
	publish("two", "amber+strict")
	if a, others := left(); a != 0 || others != 0 {
		t.Errorf("%d objects still tell of the address, %d of its contacts", a, others)
	}
	code, _, text := e.Do(t, "GET", "/v1/collections/isp-one/withdrawn", isp.id, isp.token, "")
	if code != http.StatusOK || strings.Contains(text, "ipv4-addr--") || strings.Contains(text, "network-traffic--") || !strings.Contains(text, "observed-data--") {
		t.Error("who is told of it is told", text)
	}
	e, found, replacements := stopped(t, e, ".isp-one", "240.1.0.1")
	if len(found) > 0 || replacements == 0 {
		t.Errorf("messages of isp-one still tell of it: %v, %d replacements", found, replacements)
	}
	for range 2 {
		if a, others := left(); a != 0 || others != 0 {
			t.Error(a, others)
		}
		e = rebuilt(t, e)
	}
	whole(t, e, "isp-one")
}

// A new secret: cursors of before are taken, who posted what is still known, chains hold, and identifiers stay.
func TestSecretsAreRotated(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at := as(t, e, "cert-at")
	for n := range 3 {
		if why := at.add("mid", sample(n, version1, green)); why != "" {
			t.Fatal(why)
		}
	}
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T00:00:00Z,AT\n")
	const first = "/exchange/collections/mid/objects/?limit=1"
	_, _, text := e.Do(t, "GET", first, at.id, at.token, "", "Accept", taxii.MediaType)
	var page struct{ Next string }
	if err := json.Unmarshal([]byte(text), &page); err != nil || page.Next == "" {
		t.Fatal(text, err)
	}
	hosts := idsOf(t, e, "cert-at")
	for turn := range 2 {
		dir := e.Dir
		e.Stop(t)
		if err := node.Rotate(t.Context(), dir); err != nil {
			t.Fatal(err)
		}
		e = exchangetest.Open(t, dir)
		at.e = e
		code, _, text := e.Do(t, "GET", first+"&next="+page.Next, at.id, at.token, "", "Accept", taxii.MediaType)
		if code != http.StatusOK || !strings.Contains(text, sampleID(1)) {
			t.Errorf("a cursor of before: %d %s", code, text)
		}
		if why := at.add("mid", sample(10+turn, version1, green)); why != "" {
			t.Error(why)
		}
		code, _, text = e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+sampleID(2-turn)+"/", at.id, at.token, "", "Accept", taxii.MediaType)
		if code != http.StatusOK {
			t.Error("what was posted before is not known as one's own:", code, text)
		}
		whole(t, e, "mid")
		chains, err := e.Journal.Verify(t.Context())
		for _, c := range chains {
			if c.Problem != "" {
				t.Errorf("%+v", c)
			}
		}
		if got := idsOf(t, e, "cert-at"); err != nil || !slices.Equal(got, hosts) {
			t.Error("hosts have other identifiers:", got, hosts, err)
		}
		e = rebuilt(t, e)
		at.e = e
	}
}

// Who reads on is told what it has and should not have any more; who begins afterwards, or goes on from there, is not.
func TestWhoBeginsLaterIsNotToldWhatWasWithdrawn(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	// told reads events behind an id up to when the object of a number comes, or what is told of another.
	told := func(last string, n int) (ids []string, id string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		enough := errors.New("enough")
		err := client(e, pl.id, pl.token).Events(ctx, "low", "", last, func(ev *apiclient.Event) error {
			ids, id = append(ids, ev.Withdrawn...), ev.ID
			if bytes.Contains(ev.Bundle, []byte(sampleID(n))) {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Error(err)
		}
		return ids, id
	}
	add := func(collection, object string) {
		t.Helper()
		if why := at.add(collection, object); why != "" {
			t.Fatal(why)
		}
	}
	add("low", sample(1, version1, green+vendor))
	add("low", sample(2, version1, green+vendor))
	if ids, _ := told("", 2); len(ids) != 0 {
		t.Error(ids)
	}
	_, had := told("", 2)
	add("mid", sample(1, version2, amber+vendor))
	_, late := told("", 2)
	add("low", sample(3, version1, green+vendor))
	for what, c := range map[string]struct {
		last string
		want int
	}{"who had it": {had, 1}, "who began later": {"", 0}, "who began later, and goes on": {late, 0}} {
		if ids, _ := told(c.last, 3); len(ids) != c.want {
			t.Errorf("%s is told of %v", what, ids)
		}
	}
	add("mid", sample(2, version2, amber+vendor))
	add("low", sample(4, version1, green+vendor))
	if ids, _ := told(late, 4); !slices.Equal(ids, []string{sampleID(2)}) {
		t.Error("what is withdrawn since is told:", ids)
	}
}

// What was given over NATS is on record also where blocks have been replaced meanwhile.
func TestWhatWasGivenIsOnRecordWhenBlocksAreReplaced(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	address := netip.MustParseAddr("203.0.113.7")
	for _, o := range []string{sample(1, version1, green), string(stix.AppendAddress(nil, address, stix.AddressID(address)))} {
		if why := at.add("mid", o); why != "" {
			t.Fatal(why)
		}
	}
	if code, _, text := e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+sampleID(1)+"/", at.id, at.token, "", "Accept", taxii.MediaType); code != http.StatusOK {
		t.Fatal(code, text)
	}
	consumer := durableOf(t, e, pl, "mid")
	for range 3 { // block 2, the one that took out, and what stays of block 1
		m, err := consumer.Next(jetstream.FetchMaxWait(10 * time.Second))
		if err != nil || m.DoubleAck(t.Context()) != nil {
			t.Fatal(err)
		}
	}
	// Who begins behind what is there has been given nothing.
	for _, from := range []string{"now", "3"} {
		if code, _, text := e.Do(t, "POST", "/v1/collections/mid/subscription?from="+from, at.id, at.token, ""); code != http.StatusOK {
			t.Fatal(code, text)
		}
		if err := e.Journal.AuditDeliveries(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	audited(t, e, func(a *exchange.AuditEntry) bool {
		return a.Member == pl.id && a.Channel == exchange.ChannelNATS && strings.HasPrefix(a.Detail, "up to block 3")
	})
	code, _, text := e.Do(t, "GET", "/v1/audit/given?address="+address.String(), exchange.Admin, e.AdminToken(), "")
	if code != http.StatusOK || !strings.Contains(text, `"cert-pl"`) {
		t.Error("nobody is said to have been given it:", code, text)
	}
	if strings.Contains(text, `"isp-one"`) || strings.Contains(text, `"dcu"`) || strings.Contains(text, `"cert-at"`) {
		t.Error("who was given nothing is said to have been:", text)
	}
}

// durableOf is a member's durable consumer of a collection.
func durableOf(t *testing.T, e *exchangetest.Exchange, m member, collection string) jetstream.Consumer {
	t.Helper()
	nc, err := nats.Connect(e.NATSURL(), nats.UserInfo(m.id, m.token), nats.CustomInboxPrefix("_INBOX."+m.id))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, durable := exchange.Consumer(m.id, collection)
	c, err := js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
