package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// members are connected over NATS; blocksPerSecond go to one of them each.
const (
	members         = 200
	blocksPerSecond = 500
)

// Fanout appends blocks to 200 members' collections at 500 a second, and measures
// how long each takes to reach its member over NATS, every block on disk before.
// The limit is the same blocks at the same pace through a stream of the same
// server, published and pulled with nothing of ours around it. Figures are the
// median and the 99th percentile, in milliseconds. Then 5,000 readers follow a
// collection over HTTP.
func Fanout(ctx context.Context, o Options) error {
	if o.wants("members") {
		if err := o.fanout(ctx); err != nil {
			return err
		}
	}
	if o.wants("streams") {
		return o.streams(ctx)
	}
	return nil
}

func (o *Options) fanout(ctx context.Context) error {
	return o.temporary(func(dir string) error {
		n := o.size(5, 20) * blocksPerSecond
		var ours *arrivals
		m := start()
		err := o.during(ctx, dir, manyMembers(), func(s *system) (err error) {
			ours, err = s.fanout(ctx, n)
			return err
		})
		u := m.stop()
		if err != nil {
			return err
		}
		bare, err := bareFanout(ctx, dir, n)
		if err != nil {
			return err
		}
		for _, p := range []int{50, 99} {
			o.report(Result{
				Bench: "fanout", Case: fmt.Sprintf("%d-members-p%d", members, p), Unit: "ms",
				Figure: ours.percentile(p), Limit: bare.percentile(p),
			}, u)
		}
		return nil
	})
}

func memberID(i int) string { return fmt.Sprintf("team-%03d", i) }

func manyMembers() []byte {
	var b bytes.Buffer
	b.WriteString("members:\n")
	for i := range members {
		fmt.Fprintf(&b, "  - {id: %s, name: Team %d, kind: csirt, clearance: amber, constituency: {asns: [%d]}}\n", memberID(i), i, 4_200_000_000+i)
	}
	return b.Bytes()
}

// arrivals are how long blocks took, by member and block.
type arrivals struct {
	mu   sync.Mutex // guards what is below
	sent map[string]time.Time
	took []time.Duration
	left int
	done chan struct{} // closed when none is left
}

func newArrivals(n int) *arrivals {
	return &arrivals{sent: make(map[string]time.Time, n), left: n, done: make(chan struct{})}
}

func blockName(member string, number uint64) string {
	return member + " " + strconv.FormatUint(number, 10)
}

func (a *arrivals) send(block string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sent[block] = time.Now()
}

func (a *arrivals) arrive(block string) {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	at, ok := a.sent[block]
	if !ok {
		return // it came before, or is not one of these
	}
	delete(a.sent, block)
	a.took = append(a.took, now.Sub(at))
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

// wait returns once all blocks have arrived; one that does not is an error.
func (a *arrivals) wait(ctx context.Context) error {
	select {
	case <-a.done:
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(30 * time.Second):
		a.mu.Lock()
		defer a.mu.Unlock()
		return fmt.Errorf("bench: %d blocks did not arrive", a.left)
	}
	slices.Sort(a.took)
	return nil
}

func (a *arrivals) percentile(p int) float64 {
	return float64(a.took[(len(a.took)-1)*p/100]) / float64(time.Millisecond)
}

// settle waits until all members have asked for their first blocks, and sweeps up
// what the preparations left.
func settle() {
	runtime.GC()
	<-time.After(2 * time.Second)
}

// paced calls f for n blocks at their pace: which it is, the member, and the
// member's block.
func paced(ctx context.Context, n int, f func(k, i int, number uint64) error) error {
	tick := time.NewTicker(time.Second / blocksPerSecond)
	defer tick.Stop()
	for k := range n {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := f(k, k%members, uint64(k/members+1)); err != nil {
			return err
		}
	}
	return nil
}

// fanout has all members subscribe and carries n blocks.
func (s *system) fanout(ctx context.Context, n int) (*arrivals, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	a := newArrivals(n)
	for i := range members {
		id := memberID(i)
		token, _, err := s.Register.NewToken(ctx, "bench", id, exchange.Token{})
		if err != nil {
			return nil, err
		}
		c := &apiclient.Client{Server: s.HTTPURL(), User: id, Token: token, HTTP: taxiiclient.NewHTTP()}
		wg.Go(func() {
			next := uint64(1)
			err := c.Subscribe(ctx, id, "start", func(b *apiclient.Block) error {
				for range b.Count / perGroup { // what queued up is one block
					a.arrive(blockName(id, next))
					next++
				}
				return nil
			})
			if ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	shares := make([]record.Share, n) // made before: making them is no part of the way
	for k := range shares {
		i, number := k%members, uint64(k/members+1)
		shares[k] = record.Share{Collection: memberID(i), Label: tlp.Amber, Groups: []*record.Group{group(i, number)}}
	}
	settle()
	errs := make(chan error, n)
	err := paced(ctx, n, func(k, i int, number uint64) error {
		a.send(blockName(memberID(i), number))
		s.Journal.Deliver(shares[k], "bench", number, func(_ uint64, err error) { errs <- err })
		return nil
	})
	for range n {
		if err == nil {
			err = <-errs
		}
	}
	if err == nil {
		err = a.wait(ctx)
	}
	return a, errors.Join(err, context.Cause(ctx))
}

// perGroup is how many objects belong together.
const perGroup = 20

// group is some objects that belong together.
func group(member int, number uint64) *record.Group {
	g := new(record.Group)
	for i := range perGroup {
		id := stix.DerivedID("indicator", "block", strconv.FormatUint(number, 10), "member", strconv.Itoa(member), "object", strconv.Itoa(i))
		g.Objects = append(g.Objects, record.Object{ID: id, Raw: indicator(id, i)})
	}
	return g
}

// indicator is an object for measuring with.
func indicator(id string, i int) []byte {
	at := time.Date(2026, 1, 1, 0, 0, i, 0, time.UTC)
	return fmt.Appendf(nil, `{"type":"indicator","spec_version":"2.1","id":"%s","created":"2026-01-01T00:00:00.000Z","modified":"%s",`+
		`"name":"Rustock infection","indicator_types":["compromised"],"pattern":"[ipv4-addr:value = '240.%d.%d.%d']","pattern_type":"stix",`+
		`"valid_from":"2026-01-01T00:00:00.000Z","object_marking_refs":["%s"]}`,
		id, at.Format(stix.TimeLayout), i>>16&255, i>>8&255, i&255, tlp.Green.MarkingID())
}

// bareFanout sends the blocks of the exchange in a directory, which does not run,
// through a stream that members pull from.
func bareFanout(ctx context.Context, dir string, n int) (*arrivals, error) {
	var blocks []jetstream.Msg
	err := withBroker(filepath.Join(dir, "exchange", "journal"), func(b *broker.Broker) error {
		return eachBatch(ctx, b, exchange.BlocksStream, func(batch []jetstream.Msg) error {
			blocks = append(blocks, batch...)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	durable := func(id string) string {
		_, name := exchange.Consumer(id, id)
		return name
	}
	b, err := broker.Start(broker.Options{
		Dir: filepath.Join(dir, "bare-fanout"), Listen: "127.0.0.1:0",
		Login: func(user, _, _ string) (broker.Login, bool) {
			return broker.Login{Member: user, Consumers: []string{durable(user)}}, true
		},
	})
	if err != nil {
		return nil, err
	}
	a := newArrivals(n)
	return a, errors.Join(func() error {
		js, err := jetstream.New(b.Conn(), jetstream.WithPublishAsyncMaxPending(inFlight))
		if err != nil {
			return err
		}
		s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: exchange.BlocksStream, Subjects: []string{"tocsin.c.*"}, Storage: jetstream.FileStorage})
		if err != nil {
			return err
		}
		for i := range members {
			stop, err := bareMember(ctx, b, s, memberID(i), durable(memberID(i)), a)
			if err != nil {
				return err
			}
			defer stop()
		}
		settle()
		err = paced(ctx, n, func(k, i int, number uint64) error {
			m := blocks[k%len(blocks)]
			a.send(blockName(memberID(i), number))
			h := maps.Clone(m.Headers())
			maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, "Nats-") }) // what each append expects
			_, err := js.PublishMsgAsync(&nats.Msg{Subject: "tocsin.c." + memberID(i), Header: h, Data: m.Data()})
			return err
		})
		if err != nil {
			return err
		}
		return a.wait(ctx)
	}(), b.Close())
}

// bareMember pulls a member's blocks and acknowledges them.
func bareMember(ctx context.Context, b *broker.Broker, s jetstream.Stream, id, durable string, a *arrivals) (stop func(), err error) {
	_, err = s.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: durable, FilterSubject: "tocsin.c." + id, AckPolicy: jetstream.AckExplicitPolicy, MaxAckPending: 256, MaxWaiting: 16,
	})
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect("nats://"+b.Addr().String(), nats.UserInfo(id, "x"), nats.CustomInboxPrefix("_INBOX."+id))
	if err != nil {
		return nil, err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	c, err := js.Consumer(ctx, exchange.BlocksStream, durable)
	if err != nil {
		return nil, err
	}
	number := uint64(0)
	consuming, err := c.Consume(func(m jetstream.Msg) {
		number++
		a.arrive(blockName(id, number))
		_ = m.Ack()
	}, jetstream.PullMaxMessages(16))
	if err != nil {
		return nil, err
	}
	return func() { consuming.Stop(); nc.Close() }, nil
}
