package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// DeliveredTo returns up to which intake record the feed has been delivered to
// all collections. It may lag behind: delivering a record again does no harm.
func (j *Journal) DeliveredTo(ctx context.Context, feed string) (uint64, error) {
	e, err := j.state.Get(ctx, deliveredPrefix+feed)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read position of feed %s: %w", feed, err)
	}
	n, err := strconv.ParseUint(string(e.Value()), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read position of feed %s: %w", feed, err)
	}
	return n, nil
}

// SetDeliveredTo records that the feed has been delivered up to an intake record.
func (j *Journal) SetDeliveredTo(ctx context.Context, feed string, sequence uint64) error {
	if _, err := j.state.Put(ctx, deliveredPrefix+feed, strconv.AppendUint(nil, sequence, 10)); err != nil {
		return fmt.Errorf("write position of feed %s: %w", feed, err)
	}
	return nil
}

// Backfilled returns how far back-filling is, and false where that was never set.
func (j *Journal) Backfilled(ctx context.Context) (p record.BackfillPosition, known bool, err error) {
	e, err := j.state.Get(ctx, backfilledKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return p, false, nil
	}
	if err == nil {
		_, err = fmt.Sscanf(string(e.Value()), "%d %d", &p.Done, &p.Target)
	}
	if err != nil {
		return p, false, fmt.Errorf("read position of back-filling: %w", err)
	}
	return p, true, nil
}

// SetBackfilled records how far back-filling is.
func (j *Journal) SetBackfilled(ctx context.Context, p record.BackfillPosition) error {
	if _, err := j.state.Put(ctx, backfilledKey, fmt.Appendf(nil, "%d %d", p.Done, p.Target)); err != nil {
		return fmt.Errorf("write position of back-filling: %w", err)
	}
	return nil
}

// ChangeState changes a text that is kept under a key, on all nodes; change gets nil where there is none, and
// leaves it by returning nil. It is called again where another node was faster.
func (j *Journal) ChangeState(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error {
	for {
		var old []byte
		var revision uint64
		e, err := j.state.Get(ctx, key)
		switch {
		case err == nil:
			old, revision = e.Value(), e.Revision()
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return fmt.Errorf("read %s: %w", key, err)
		}
		text, err := change(old)
		if err != nil || text == nil {
			return err
		}
		if old == nil {
			_, err = j.state.Create(ctx, key, text)
		} else {
			_, err = j.state.Update(ctx, key, text, revision)
		}
		if errors.Is(err, jetstream.ErrKeyExists) {
			continue
		}
		var api *jetstream.APIError
		if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
			continue
		}
		if err != nil {
			return fmt.Errorf("write %s: %w", key, err)
		}
		return nil
	}
}
