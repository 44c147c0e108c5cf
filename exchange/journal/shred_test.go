package journal

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// stuck is a stream that cannot delete for a while.
type stuck struct {
	jetstream.Stream
	at    uint64
	fails int
}

func (s *stuck) SecureDeleteMsg(ctx context.Context, sequence uint64) error {
	if sequence != s.at {
		return s.Stream.SecureDeleteMsg(ctx, sequence)
	}
	if s.fails--; s.fails >= 0 {
		return errors.New("the disk is slow")
	}
	return s.Stream.SecureDeleteMsg(ctx, sequence)
}

// As long as what was replaced cannot be deleted, nobody is told that it is gone; whoever comes next deletes it.
func TestNothingIsSaidToBeGoneBeforeItIsDeleted(t *testing.T) {
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	j, err := Open(t.Context(), b.Conn(), 0, record.Seal{Key: []byte("key")})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for i := range 4 {
		var g []*record.Group
		for k := range 3 {
			id := fmt.Sprintf("tool--%08d-0000-4000-8000-%012d", i, k)
			g = append(g, &record.Group{Objects: []record.Object{{ID: id, Raw: fmt.Appendf(nil, `{"type":"tool","id":%q}`, id)}}})
		}
		if _, err := j.Post(&record.Post{Share: record.Share{Collection: "a", Groups: g}, By: "m", Labels: []byte{1, 1, 1}}); err != nil {
			t.Fatal(err)
		}
	}
	real := j.blocks
	there := func(sequence uint64) bool {
		t.Helper()
		_, err := real.GetMsg(t.Context(), sequence)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	j.blocks = &stuck{real, 1, 3}
	for i := range 5 {
		err := j.Replace(t.Context(), "a", record.Holes{Block: 1, Sequence: 1, Positions: []int{i % 2}})
		if (err == nil) == there(1) {
			t.Errorf("try %d: %v, and the message is there: %v", i, err, there(1))
		}
	}
	// Also where another one is to be replaced meanwhile, and after a start.
	j.blocks = &stuck{real, 2, 1000}
	for _, sequence := range []uint64{2, 3, 2} {
		if err := j.Replace(t.Context(), "a", record.Holes{Block: sequence, Sequence: sequence, Positions: []int{0}}); err == nil {
			t.Error("it is said to be gone")
		}
	}
	j.Close()
	if j, err = Open(t.Context(), b.Conn(), 0, record.Seal{Key: []byte("key")}); err != nil {
		t.Fatal(err)
	}
	if there(2) {
		t.Error("what was replaced is there after a start")
	}
	if err := j.Whole(t.Context(), Known{}); err != nil {
		t.Error(err)
	}
}
