package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

// delivered is what a consumer was given: behind a sequence of the journal, and up to another.
type delivered struct{ behind, upTo uint64 }

// deliveredOf is what a consumer was given, false for nothing yet.
func deliveredOf(info *jetstream.ConsumerInfo) (delivered, bool) {
	return delivered{max(info.Config.OptStartSeq, 1) - 1, info.Delivered.Stream}, info.Delivered.Consumer > 0
}

// Deliveries tells how far members' consumers have been given blocks.
func (j *Journal) Deliveries(ctx context.Context) (map[Consumer]uint64, error) {
	all, err := j.deliveries(ctx)
	list := make(map[Consumer]uint64, len(all))
	for c, d := range all {
		list[c] = d.upTo
	}
	return list, err
}

func (j *Journal) deliveries(ctx context.Context) (map[Consumer]delivered, error) {
	list := make(map[Consumer]delivered)
	lister := j.blocks.ListConsumers(ctx)
	for info := range lister.Info() {
		c, ok := parseConsumer(info.Name)
		if d, some := deliveredOf(info); ok && some && slices.Equal(info.Config.FilterSubjects, c.subjects()) {
			list[c] = d
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
	now, err := j.deliveries(ctx)
	if err != nil { // a consumer that is not listed would be audited from its start again
		return err
	}
	for c, d := range now {
		if err := j.auditDelivery(ctx, c, d); err != nil {
			return err
		}
	}
	maps.DeleteFunc(j.handedOut.seen, func(c Consumer, _ uint64) bool { _, there := now[c]; return !there })
	return nil
}

// auditDelivery tells the audit what a consumer has been given since it was told last. The caller holds handedOut's mutex.
func (j *Journal) auditDelivery(ctx context.Context, c Consumer, d delivered) error {
	before := j.handedOut.seen[c]
	if d.upTo == before {
		return nil
	}
	if d.upTo < before { // it is another one of the name
		before = 0
	}
	before = max(before, d.behind)
	e := exchange.AuditEntry{Action: exchange.AuditRead, Member: c.Member, Channel: exchange.ChannelNATS, Collection: c.Collection}
	first, last, err := j.givenBetween(ctx, c.Collection, before, d.upTo)
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
	j.handedOut.seen[c] = d.upTo
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
			if before = seq; err != nil {
				return err
			}
			if seq > upTo {
				return errDone
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
		if d, some := deliveredOf(of.CachedInfo()); some {
			err = j.auditDelivery(ctx, c, d)
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
