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
	"github.com/tocsin-exchange/tocsin/exchange/record"
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
	if sequence < before { // it is another one of the name
		before = 0
	}
	e := exchange.AuditEntry{Action: exchange.AuditRead, Member: c.Member, Channel: exchange.ChannelNATS, Collection: c.Collection}
	first, last, err := j.givenBetween(ctx, c.Collection, before, sequence)
	if err != nil {
		return err
	}
	if last != nil {
		e.Last, e.Detail = last.Added(max(last.Count-1, 0)), "up to block "+strconv.FormatUint(last.Number, 10)
		if before > 0 {
			e.First = first.AddedFirst
		}
	} else {
		e.Detail = "what stays of blocks that it was given before" // replacements alone
	}
	j.Audit(e)
	if j.handedOut.seen == nil {
		j.handedOut.seen = make(map[Consumer]uint64)
	}
	j.handedOut.seen[c] = sequence
	return nil
}

// givenBetween returns the first and the last of a collection's blocks behind a sequence and up to another, as they were
// when they came, or what stays of them; nil where there are none.
func (j *Journal) givenBetween(ctx context.Context, collection string, after, upTo uint64) (first, last *record.Block, err error) {
	note := func(b *record.Block) {
		if last = b; first == nil {
			first = b
		}
	}
	end, err := lastSequence(ctx, j.blocks, blocksPrefix+collection)
	if err != nil {
		return nil, nil, err
	}
	before := after
	if end > after {
		err = follow(ctx, j.js, BlocksStream, []string{blocksPrefix + collection}, after+1, true, func(msg jetstream.Msg, seq, _ uint64) error {
			err := j.replacedBetween(ctx, before, min(seq, upTo+1), []string{collection}, func(b *record.Block) error { note(b); return nil })
			if before = seq; err != nil || seq > upTo {
				return errors.Join(err, errDone)
			}
			b, err := record.ParseBlock(msg.Headers(), nil)
			if err != nil {
				return err
			}
			if note(b); seq >= end {
				err = errDone
			}
			return err
		})
	}
	if err != nil && !errors.Is(err, errDone) {
		return nil, nil, err
	}
	return first, last, nil
}

// retire removes a member's durable consumer, once the audit has been told of all that it was given: it gives nothing
// more meanwhile. Where it cannot be found out what that was, the consumer stays, and goes on after a minute.
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
