package journal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// natsAudit is up to where the audit has been told of what went out over NATS: the server hands
// blocks to members without asking us, and remembers for each consumer how far it is. It is looked at
// every now and then, and before a consumer goes.
type natsAudit struct {
	mu   sync.Mutex
	seen map[Consumer]uint64
}

// Deliveries tells how far members' consumers have been given blocks.
func (j *Journal) Deliveries(ctx context.Context) (map[Consumer]uint64, error) {
	list := make(map[Consumer]uint64)
	lister := j.blocks.ListConsumers(ctx)
	for info := range lister.Info() {
		if c, ok := parseConsumer(info.Name); ok && slices.Equal(info.Config.FilterSubjects, c.subjects()) && info.Delivered.Stream > 0 {
			list[c] = info.Delivered.Stream
		}
	}
	if err := lister.Err(); err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	return list, nil
}

// AuditDeliveries tells the audit what went out over NATS since it was last told.
func (j *Journal) AuditDeliveries(ctx context.Context) error {
	j.handedOut.mu.Lock()
	defer j.handedOut.mu.Unlock()
	now, err := j.Deliveries(ctx)
	if err != nil { // a consumer that is not listed would be audited from its start again
		return err
	}
	for c, sequence := range now {
		if err := j.auditDelivery(ctx, c, sequence); err != nil {
			return err
		}
	}
	j.handedOut.seen = now
	return nil
}

// auditDelivery tells the audit that a consumer has been given blocks up to a sequence of the journal. The caller holds
// handedOut's mutex.
func (j *Journal) auditDelivery(ctx context.Context, c Consumer, sequence uint64) error {
	before := j.handedOut.seen[c]
	if sequence == before {
		return nil
	}
	e := exchange.AuditEntry{Action: exchange.AuditRead, Member: c.Member, Channel: exchange.ChannelNATS, Collection: c.Collection}
	b, found, err := j.BlockAt(ctx, c.Collection, sequence)
	switch {
	case err != nil:
		return err
	case found:
		e.Last, e.Detail = b.Added(max(b.Count-1, 0)), "up to block "+strconv.FormatUint(b.Number, 10)
	default:
		e.Detail = "up to a block that is gone since, at " + strconv.FormatUint(sequence, 10)
	}
	if before > 0 && before < sequence {
		if was, found, err := j.BlockAt(ctx, c.Collection, before); err == nil && found {
			e.First = was.AddedFirst
		}
	}
	j.Audit(e)
	if j.handedOut.seen == nil {
		j.handedOut.seen = make(map[Consumer]uint64)
	}
	j.handedOut.seen[c] = sequence
	return nil
}

// retire removes a member's durable consumer, once the audit has been told of all that it was given: it gives nothing
// more meanwhile. Where the audit cannot be told, the consumer stays.
func (j *Journal) retire(ctx context.Context, c Consumer) error {
	j.handedOut.mu.Lock()
	defer j.handedOut.mu.Unlock()
	_, err := j.blocks.PauseConsumer(ctx, c.Name(), time.Now().Add(time.Minute))
	var of jetstream.Consumer
	if err == nil {
		of, err = j.blocks.Consumer(ctx, c.Name())
	}
	if err == nil {
		if sequence := of.CachedInfo().Delivered.Stream; sequence > 0 {
			err = j.auditDelivery(ctx, c, sequence)
		}
	}
	if err == nil {
		err = j.blocks.DeleteConsumer(ctx, c.Name())
	}
	if err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("remove consumer %s: %w", c.Name(), err)
	}
	delete(j.handedOut.seen, c) // another one of the name starts anew
	return nil
}
