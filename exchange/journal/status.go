package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// statusFor is how long a request's status can be asked for: TAXII 2.1 section
// 4.3 wants 24 hours. receiptsFor is how long publishers find their receipts.
const (
	statusFor   = 48 * time.Hour
	receiptsFor = 90 * 24 * time.Hour
)

// statusChunk keeps a value well below what a message may hold.
const statusChunk = 512 << 10

// texts keeps texts under ids for a while, on all nodes.
type texts struct {
	j  *Journal
	kv jetstream.KeyValue
}

func (j *Journal) openTexts(ctx context.Context, bucket, what string) (texts, error) {
	kv, err := j.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Description: what})
	if err != nil {
		return texts{}, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return texts{j, kv}, nil
}

// Expire deletes statuses and receipts whose time is over. The broker is not left to do it: it would go by the machine's
// clock, which may be wrong.
func (j *Journal) Expire(ctx context.Context, now time.Time) error {
	for t, keep := range map[texts]time.Duration{j.status: statusFor, j.receipts: receiptsFor} {
		if err := t.expire(ctx, now.Add(-keep)); err != nil {
			return fmt.Errorf("delete what is too old from %s: %w", t.kv.Bucket(), err)
		}
	}
	return nil
}

// expire deletes what came before an instant.
func (t texts) expire(ctx context.Context, before time.Time) error {
	name := "KV_" + t.kv.Bucket()
	s, err := t.j.js.Stream(ctx, name)
	if err != nil {
		return err
	}
	// What is too old stands first.
	for {
		info, err := s.Info(ctx)
		if err != nil || info.State.Msgs == 0 || !info.State.FirstTime.Before(before) {
			return err
		}
		msg, err := s.GetMsg(ctx, info.State.FirstSeq)
		if err != nil {
			return err
		}
		if err := s.Purge(ctx, jetstream.WithPurgeSubject(msg.Subject)); err != nil {
			return err
		}
	}
}

// SetStatus keeps a text under an id for two days, on all nodes.
func (j *Journal) SetStatus(ctx context.Context, id string, text []byte) error {
	return j.status.set(ctx, id, text)
}

// Status returns the text that was set under the id, and false where there is
// none, or none any more.
func (j *Journal) Status(ctx context.Context, id string) ([]byte, bool, error) {
	return j.status.get(ctx, id)
}

// SetKept keeps a text under an id for ever, on all nodes; nil drops it.
func (j *Journal) SetKept(ctx context.Context, id string, text []byte) error {
	return j.kept.set(ctx, id, text)
}

// Kept returns the text that was kept under the id, and false where there is none.
func (j *Journal) Kept(ctx context.Context, id string) ([]byte, bool, error) {
	return j.kept.get(ctx, id)
}

// SetReceipt keeps a publisher's receipt for 90 days, on all nodes.
func (j *Journal) SetReceipt(ctx context.Context, id string, text []byte) error {
	return j.receipts.set(ctx, id, text)
}

// Receipt returns a receipt, and false where there is none, or none any more.
func (j *Journal) Receipt(ctx context.Context, id string) ([]byte, bool, error) {
	return j.receipts.get(ctx, id)
}

// SetUsed keeps when a credential was last used.
func (j *Journal) SetUsed(ctx context.Context, key string, at time.Time) error {
	if _, err := j.state.Put(ctx, usedPrefix+key, at.UTC().AppendFormat(nil, time.RFC3339)); err != nil {
		return fmt.Errorf("write when a credential was used: %w", err)
	}
	return nil
}

// Used returns when a credential was last used, zero where that is not known.
func (j *Journal) Used(ctx context.Context, key string) (at time.Time, err error) {
	e, err := j.state.Get(ctx, usedPrefix+key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return at, nil
	}
	if err == nil {
		err = at.UnmarshalText(e.Value())
	}
	if err != nil {
		return at, fmt.Errorf("read when a credential was used: %w", err)
	}
	return at, nil
}

// SetQuarantined keeps a text about what is in quarantine under an id, on all nodes.
func (j *Journal) SetQuarantined(ctx context.Context, id string, text []byte) error {
	return j.held.set(ctx, id, text)
}

// Quarantined returns such a text, and false where there is none.
func (j *Journal) Quarantined(ctx context.Context, id string) ([]byte, bool, error) {
	return j.held.get(ctx, id)
}

// ListQuarantined lists the ids under which there is a text.
func (j *Journal) ListQuarantined(ctx context.Context) (ids []string, err error) {
	keys, err := j.held.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", j.held.kv.Bucket(), err)
	}
	for key := range keys.Keys() {
		if !strings.Contains(key, ".") { // else a part of a text
			ids = append(ids, key)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (t texts) set(ctx context.Context, id string, text []byte) error {
	n := 0
	for chunk := range slices.Chunk(t.j.enc.EncodeAll(text, nil), statusChunk) {
		if _, err := t.kv.Put(ctx, id+"."+strconv.Itoa(n), chunk); err != nil {
			return fmt.Errorf("write %s %s: %w", t.kv.Bucket(), id, err)
		}
		n++
	}
	// Last, so that what is found is whole; nothing is none, and leaves nothing.
	var err error
	if text == nil {
		n = 0
		err = t.kv.Purge(ctx, id)
	} else {
		_, err = t.kv.Put(ctx, id, strconv.AppendInt(nil, int64(n), 10))
	}
	for ; err == nil; n++ { // what a longer text had
		if _, err = t.kv.Get(ctx, id+"."+strconv.Itoa(n)); err == nil {
			err = t.kv.Purge(ctx, id+"."+strconv.Itoa(n))
		}
	}
	if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return fmt.Errorf("write %s %s: %w", t.kv.Bucket(), id, err)
	}
	return nil
}

func (t texts) get(ctx context.Context, id string) ([]byte, bool, error) {
	head, err := t.kv.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s %.40q: %w", t.kv.Bucket(), id, err)
	}
	n, err := strconv.Atoi(string(head.Value()))
	if err != nil {
		return nil, false, fmt.Errorf("%s %.40q: %w", t.kv.Bucket(), id, exchange.ErrRecord)
	}
	var packed []byte
	for i := range n {
		e, err := t.kv.Get(ctx, id+"."+strconv.Itoa(i))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, false, nil // its time is up
		}
		if err != nil {
			return nil, false, fmt.Errorf("read %s %.40q: %w", t.kv.Bucket(), id, err)
		}
		packed = append(packed, e.Value()...)
	}
	text, err := t.j.Decompress(nil, packed)
	return text, err == nil, err
}
