package journal_test

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func start(t testing.TB) *nats.Conn {
	t.Helper()
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b.Conn()
}

func open(t testing.TB, nc *nats.Conn) *journal.Journal {
	t.Helper()
	j, err := journal.Open(t.Context(), nc, 0, record.Seal{Key: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(j.Close)
	return j
}

// share makes n groups of three objects that all need one address.
func share(collection string, from, n int) record.Share {
	need := record.Object{ID: stix.DerivedID("ipv4-addr", "n", "0")}
	need.Raw = fmt.Appendf(nil, `{"type":"ipv4-addr","id":"%s"}`, need.ID)
	s := record.Share{Collection: collection, Label: tlp.Amber}
	for i := range n {
		g := &record.Group{Index: i, Needs: []record.Object{need}}
		for k := range 3 {
			id := stix.DerivedID("sighting", "n", fmt.Sprint(from+i, "/", k))
			g.Objects = append(g.Objects, record.Object{ID: id, Raw: fmt.Appendf(nil, `{"type":"sighting","id":"%s"}`, id)})
		}
		s.Groups = append(s.Groups, g)
	}
	return s
}

func deliver(t testing.TB, j *journal.Journal, s record.Share, feed string, sequence uint64) error {
	t.Helper()
	done := make(chan error, 1)
	j.Deliver(s, feed, sequence, func(_ uint64, err error) { done <- err })
	return <-done
}

// ids reads all objects of a collection, and checks that every block holds the
// address that its objects need, first.
func ids(t *testing.T, j *journal.Journal, collection string) (list []string) {
	t.Helper()
	eachBlock(t, j, func(b *record.Block) {
		text, err := j.Decompress(nil, b.Payload)
		if err != nil {
			t.Fatal(err)
		}
		first := true
		err = stix.Objects(text, func(raw []byte) error {
			h, err := stix.ParseHead(raw)
			if first != (h.Type == "ipv4-addr") {
				t.Errorf("block %d: an address is not first, or there twice", b.Number)
			}
			first = false
			if b.Collection == collection && h.Type != "ipv4-addr" {
				list = append(list, h.ID)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
	return list
}

// eachBlock calls f with the blocks that there are, in order.
func eachBlock(t *testing.T, j *journal.Journal, f func(b *record.Block)) {
	t.Helper()
	_, last, err := j.Ends(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop := errors.New("stop")
	err = j.FollowBlocks(t.Context(), 1, func(b *record.Block, _ uint64) error {
		if b.Number > 0 {
			f(b)
		}
		if b.Sequence >= last {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

func whole(t *testing.T, j *journal.Journal) {
	t.Helper()
	chains, err := j.Verify(t.Context())
	if err != nil || len(chains) == 0 {
		t.Fatal(chains, err)
	}
	for _, c := range chains {
		if c.Problem != "" {
			t.Errorf("%+v", c)
		}
	}
}

func TestDeliveringAgainAddsNothing(t *testing.T) {
	nc := start(t)
	j := open(t, nc)
	for seq := uint64(1); seq <= 3; seq++ { // 400 groups do not fit one block
		if err := deliver(t, j, share("a", int(seq)*1000, 400), "f", seq); err != nil {
			t.Fatal(err)
		}
		if err := deliver(t, j, share("a", int(seq)*1000+500, 5), "g", seq+10); err != nil {
			t.Fatal(err)
		}
	}
	want := ids(t, j, "a")
	if len(want) != 3*405*3 {
		t.Fatalf("%d objects", len(want))
	}
	// As after a crash: everything is delivered once more, by a new process.
	j.Close()
	j = open(t, nc)
	for seq := uint64(1); seq <= 3; seq++ {
		if err := deliver(t, j, share("a", int(seq)*1000, 400), "f", seq); err != nil {
			t.Fatal(err)
		}
		if err := deliver(t, j, share("a", int(seq)*1000+500, 5), "g", seq+10); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(t, j, "a"); len(got) != len(want) {
		t.Errorf("%d objects, %d before", len(got), len(want))
	}
	whole(t, j)
}

// A second writer is refused, and never forks the log.
func TestASecondWriterIsFenced(t *testing.T) {
	nc := start(t)
	a, b := open(t, nc), open(t, nc)
	if err := deliver(t, a, share("c", 0, 1), "f", 1); err != nil {
		t.Fatal(err)
	}
	if err := deliver(t, b, share("c", 10, 1), "f", 2); err != nil { // b takes over
		t.Fatal(err)
	}
	if err := deliver(t, a, share("c", 20, 1), "f", 3); !errors.Is(err, exchange.ErrFenced) {
		t.Errorf("the first writer goes on: %v", err)
	}
	if err := deliver(t, a, share("c", 20, 1), "f", 3); !errors.Is(err, exchange.ErrFenced) {
		t.Errorf("and again: %v", err)
	}
	if got := ids(t, b, "c"); len(got) != 6 {
		t.Errorf("%d objects", len(got))
	}
	whole(t, b)
	first, err := a.AppendIntake(t.Context(), "f", []byte("one"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.AppendIntake(t.Context(), "f", []byte("two"), 0); !errors.Is(err, exchange.ErrFenced) {
		t.Errorf("intake that does not follow: %v", err)
	}
	if _, err := b.AppendIntake(t.Context(), "f", []byte("two"), first.Sequence); err != nil {
		t.Error(err)
	}
}

func TestVerifyFindsWhatWasDoneToTheLog(t *testing.T) {
	nc := start(t)
	j := open(t, nc)
	for seq := uint64(1); seq <= 3; seq++ {
		for _, c := range []string{"gap", "forged", "other", "fine"} {
			if err := deliver(t, j, share(c, int(seq), 1), "f", seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	whole(t, j)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), journal.BlocksStream)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(t.Context(), 5); err != nil { // the second block of "gap"
		t.Fatal(err)
	}
	// next publishes a block after a collection's last one: its headers, as change leaves them.
	next := func(collection string, change func(b *record.Block, h nats.Header)) {
		last, err := s.GetLastMsgForSubject(t.Context(), "tocsin.c."+collection)
		if err != nil {
			t.Fatal(err)
		}
		b, _, err := j.BlockAt(t.Context(), collection, last.Sequence)
		if err != nil {
			t.Fatal(err)
		}
		forged := &nats.Msg{Subject: last.Subject, Header: nats.Header{}, Data: last.Data}
		for k, v := range last.Header {
			if strings.HasPrefix(k, "Tocsin-") || strings.HasPrefix(k, "Content-") {
				forged.Header[k] = v
			}
		}
		previous := b.Hash()
		b.Number++
		record.Seal{Key: []byte("key")}.Close(b)
		forged.Header.Set("Tocsin-Block", strconv.FormatUint(b.Number, 10))
		forged.Header.Set("Tocsin-Sealed", b.Sealed)
		forged.Header.Set("Tocsin-Previous", previous)
		forged.Header.Set("Tocsin-Added-First", b.AddedFirst.Add(time.Hour).Format(time.RFC3339Nano))
		change(b, forged.Header)
		if _, err := js.PublishMsg(t.Context(), forged); err != nil {
			t.Fatal(err)
		}
	}
	next("fine", func(*record.Block, nats.Header) {})
	next("forged", func(b *record.Block, h nats.Header) { h.Set("Tocsin-Previous", b.Previous) }) // that of the block before
	next("other", func(_ *record.Block, h nats.Header) { h.Set("Tocsin-Root", strings.Repeat("0", 64)) })
	chains, err := j.Verify(t.Context())
	if err != nil || len(chains) != 4 {
		t.Fatal(chains, err)
	}
	for _, c := range chains {
		if (c.Problem == "") != (c.Collection == "fine") {
			t.Errorf("%+v", c)
		}
	}
}

// BenchmarkDeliver packs shares of 500 objects and appends them, synced, one after
// the other to one collection.
func BenchmarkDeliver(b *testing.B) {
	j := open(b, start(b))
	s := share("a", 0, 166)
	n := uint64(0)
	for b.Loop() {
		n++
		if err := deliver(b, j, s, "f", n); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*499/b.Elapsed().Seconds(), "objects/s")
}
