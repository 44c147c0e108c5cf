package bench

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
)

// The limits of the journal: a stream on the same server with the same settings,
// and nothing of ours around it.

// inFlight is how many messages are on their way to a bare stream at a time.
const inFlight = 256

// bareStream makes an empty stream in a directory of its own.
func bareStream(ctx context.Context, dir string, f func(js jetstream.JetStream) error) error {
	return withBroker(filepath.Join(dir, "bare"), func(b *broker.Broker) error {
		js, err := jetstream.New(b.Conn(), jetstream.WithPublishAsyncMaxPending(inFlight))
		if err != nil {
			return err
		}
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "BARE", Subjects: []string{"bare.*"}, Storage: jetstream.FileStorage})
		if err != nil {
			return err
		}
		return f(js)
	})
}

func withBroker(dir string, f func(b *broker.Broker) error) error {
	b, err := broker.Start(broker.Options{Dir: dir})
	if err != nil {
		return err
	}
	return errors.Join(f(b), b.Close())
}

// bareAppend appends all blocks of the exchange in a directory, which does not
// run, to a bare stream, and returns how long that took without reading them.
func bareAppend(ctx context.Context, dir string) (took time.Duration, err error) {
	err = withBroker(filepath.Join(dir, "exchange", "journal"), func(b *broker.Broker) error {
		return bareStream(ctx, dir, func(js jetstream.JetStream) error {
			return eachBatch(ctx, b, exchange.BlocksStream, func(batch []jetstream.Msg) error {
				start := time.Now()
				err := appendBare(ctx, js, batch)
				took += time.Since(start)
				return err
			})
		})
	})
	return took, err
}

// maxBatch bounds the blocks that are held at a time, in bytes.
const maxBatch = 32 << 20

// eachBatch reads a stream from its start to its end.
func eachBatch(ctx context.Context, b *broker.Broker, stream string, each func(batch []jetstream.Msg) error) error {
	js, err := jetstream.New(b.Conn())
	if err != nil {
		return err
	}
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	last := s.CachedInfo().State.LastSeq
	c, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return err
	}
	it, err := c.Messages()
	if err != nil {
		return err
	}
	defer it.Stop()
	var batch []jetstream.Msg
	size := 0
	for n := uint64(1); n <= last; n++ {
		msg, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("read %s: %w", stream, err)
		}
		batch, size = append(batch, msg), size+len(msg.Data())
		if size >= maxBatch || n == last {
			if err := each(batch); err != nil {
				return err
			}
			batch, size = nil, 0
		}
	}
	return nil
}

// appendBare returns once all messages are on disk.
func appendBare(ctx context.Context, js jetstream.JetStream, batch []jetstream.Msg) error {
	futures := make([]jetstream.PubAckFuture, 0, len(batch))
	for _, m := range batch {
		f, err := js.PublishMsgAsync(&nats.Msg{Subject: "bare." + m.Subject()[len("tocsin.c."):], Header: m.Headers(), Data: m.Data()},
			jetstream.WithStallWait(time.Minute)) // a disk takes its time
		if err != nil {
			return fmt.Errorf("append to the bare stream: %w", err)
		}
		futures = append(futures, f)
	}
	for _, f := range futures {
		select {
		case <-f.Ok():
		case err := <-f.Err():
			return fmt.Errorf("append to the bare stream: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
