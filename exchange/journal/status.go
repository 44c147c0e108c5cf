package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// statusFor is how long a request's status can be asked for: TAXII 2.1 section
// 4.3 wants 24 hours.
const statusFor = 48 * time.Hour

// statusChunk keeps a value well below what a message may hold.
const statusChunk = 512 << 10

func openStatus(ctx context.Context, js jetstream.JetStream) (jetstream.KeyValue, error) {
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: statusBucket, Description: "What became of members' submissions", TTL: statusFor,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", statusBucket, err)
	}
	return kv, nil
}

// SetStatus keeps a text under an id for two days, on all nodes.
func (j *Journal) SetStatus(ctx context.Context, id string, text []byte) error {
	n := 0
	for chunk := range slices.Chunk(j.enc.EncodeAll(text, nil), statusChunk) {
		if _, err := j.status.Put(ctx, id+"."+strconv.Itoa(n), chunk); err != nil {
			return fmt.Errorf("write status %s: %w", id, err)
		}
		n++
	}
	// Last, so that what is found is whole.
	if _, err := j.status.Put(ctx, id, strconv.AppendInt(nil, int64(n), 10)); err != nil {
		return fmt.Errorf("write status %s: %w", id, err)
	}
	return nil
}

// Status returns the text that was set under the id, and false where there is
// none, or none any more.
func (j *Journal) Status(ctx context.Context, id string) ([]byte, bool, error) {
	head, err := j.status.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read status %.40q: %w", id, err)
	}
	n, err := strconv.Atoi(string(head.Value()))
	if err != nil {
		return nil, false, fmt.Errorf("status %.40q: %w", id, exchange.ErrRecord)
	}
	var packed []byte
	for i := range n {
		e, err := j.status.Get(ctx, id+"."+strconv.Itoa(i))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, false, nil // its time is up
		}
		if err != nil {
			return nil, false, fmt.Errorf("read status %.40q: %w", id, err)
		}
		packed = append(packed, e.Value()...)
	}
	text, err := j.Decompress(nil, packed)
	return text, err == nil, err
}
