package journal_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// sequences lists where blocks of a collection are, by number.
func sequences(t *testing.T, j *journal.Journal, collection string) map[uint64]uint64 {
	t.Helper()
	list, at := make(map[uint64]uint64), uint64(0)
	eachBlock(t, j, func(b *record.Block) {
		if b.Sequence <= at {
			t.Errorf("a block at %d comes behind %d", b.Sequence, at)
		}
		if at = b.Sequence; b.Collection == collection {
			list[b.Number] = b.Sequence
		}
	})
	return list
}

// Blocks that have lost objects are met where they were, by who follows and by who verifies, after a start as well; what
// they have lost is nowhere, and a second time does nothing.
func TestABlockIsReplaced(t *testing.T) {
	nc := start(t)
	j := open(t, nc)
	for i := range 4 { // what is replaced has a block behind it
		for _, c := range []string{"a", "b"} {
			if err := deliver(t, j, share(c, i*3, 3), "f", uint64(i+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	all, at := ids(t, j, "a"), sequences(t, j, "a")
	if len(all) != 36 || len(at) != 4 {
		t.Fatal(len(all), at)
	}
	lost := map[string]bool{}
	lose := func(block uint64, positions ...int) {
		t.Helper()
		for range 2 {
			if err := j.Replace(t.Context(), "a", record.Holes{Block: block, Sequence: at[block], Positions: positions}); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range positions {
			lost[all[9*(int(block)-1)+p-1]] = true // behind the address
		}
	}
	lose(1, 2, 5)
	lose(3, 9)
	lose(1, 1, 2)
	if n := j.Replaced(); n != 3 {
		t.Errorf("%d messages are gone, want 3", n)
	}
	stay := slices.DeleteFunc(slices.Clone(all), func(id string) bool { return lost[id] })
	for range 2 {
		if got := ids(t, j, "a"); !slices.Equal(got, stay) {
			t.Errorf("%d objects, want %d", len(got), len(stay))
		}
		if got := ids(t, j, "b"); len(got) != 36 {
			t.Errorf("another collection has %d objects", len(got))
		}
		if got := sequences(t, j, "a"); len(got) != 4 || got[1] != at[1] || got[3] != at[3] {
			t.Errorf("blocks are at %v, were at %v", got, at)
		}
		whole(t, j)
		if chains, err := j.Verify(t.Context(), "a"); err != nil || len(chains) != 1 || chains[0].Problem != "" || chains[0].Blocks != 4 {
			t.Error(chains, err)
		}
		if err := j.Whole(t.Context(), journal.Known{}); err != nil && strings.Contains(err.Error(), journal.BlocksStream) { // there is no intake here
			t.Error(err)
		}
		b, found, err := j.BlockAt(t.Context(), "a", at[1])
		if err != nil || !found || b.Has(2) || !b.Has(3) {
			t.Error(found, err)
		}
		j = open(t, nc)
	}
	for name, h := range map[string]record.Holes{
		"another block": {Block: 2, Sequence: at[1], Positions: []int{1}},
		"nowhere":       {Block: 2, Sequence: 1 << 40, Positions: []int{1}},
	} {
		if err := j.Replace(t.Context(), "a", h); err == nil {
			t.Error(name, "is replaced")
		}
	}
	if err := j.Replace(t.Context(), "a", record.Holes{Block: 2, Sequence: at[2], Positions: []int{-1, 10, 99}}); err != nil || j.Replaced() != 3 {
		t.Error("positions that the block does not have:", err)
	}
	// All of a block.
	lose(2, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	whole(t, j)
}

// A replacement that was cut short before it deleted what it takes the place of does so when the journal is opened, and
// where a message is missing that nothing replaces, the journal is damaged.
func TestAReplacementThatWasCutShort(t *testing.T) {
	nc := start(t)
	j := open(t, nc)
	for i := range 4 {
		if err := deliver(t, j, share("a", i*3, 3), "f", uint64(i+1)); err != nil {
			t.Fatal(err)
		}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(t.Context(), journal.BlocksStream)
	if err != nil {
		t.Fatal(err)
	}
	at := sequences(t, j, "a")
	if err := j.Replace(t.Context(), "a", record.Holes{Block: 1, Sequence: at[1], Positions: []int{3}}); err != nil {
		t.Fatal(err)
	}
	// As the second replacement of block 1 is before the first is deleted: the same once more, in its place.
	first, err := stream.GetLastMsgForSubject(t.Context(), "tocsin.r.a")
	if err != nil {
		t.Fatal(err)
	}
	again := &nats.Msg{Subject: first.Subject, Header: nats.Header{}, Data: first.Data}
	for name, value := range first.Header {
		if !strings.HasPrefix(name, "Nats-") {
			again.Header[name] = value
		}
	}
	again.Header.Set("Tocsin-Replaced", "2")
	if _, err := js.PublishMsg(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	j = open(t, nc)
	if _, err := stream.GetMsg(t.Context(), first.Sequence); !errors.Is(err, jetstream.ErrMsgNotFound) {
		t.Error("what was replaced is still there:", err)
	}
	whole(t, j)
	if err := j.Whole(t.Context(), journal.Known{}); err != nil && strings.Contains(err.Error(), journal.BlocksStream) {
		t.Error(err)
	}
	if err := stream.DeleteMsg(t.Context(), at[2]); err != nil {
		t.Fatal(err)
	}
	if err := j.Whole(t.Context(), journal.Known{}); !errors.Is(err, journal.ErrDamaged) || !strings.Contains(err.Error(), "stream TOCSIN_BLOCKS lacks 1 messages") {
		t.Error("a message that nothing replaces is not missed:", err)
	}
}
