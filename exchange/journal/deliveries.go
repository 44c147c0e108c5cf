package journal

import (
	"context"
	"fmt"
	"strconv"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// deliveries is up to where the audit has been told of what went out over NATS: the server hands
// blocks to members without asking us, and remembers for each consumer how far it is. It is looked at
// every now and then, and before a consumer goes.
type deliveries struct {
	mu   sync.Mutex
	seen map[Consumer]uint64
}

// Deliveries tells how far members' consumers have been given blocks.
func (j *Journal) Deliveries(ctx context.Context) (map[Consumer]uint64, error) {
	list := make(map[Consumer]uint64)
	lister := j.blocks.ListConsumers(ctx)
	for info := range lister.Info() {
		if c, ok := parseConsumer(info.Name); ok && info.Config.FilterSubject == blocksPrefix+c.Collection && info.Delivered.Stream > 0 {
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
	seen := j.handedOut.seen
	j.handedOut.seen = now
	for d, sequence := range now {
		before := seen[d]
		if sequence == before {
			continue
		}
		b, found, err := j.BlockAt(ctx, d.Collection, sequence)
		if err != nil || !found {
			continue
		}
		e := exchange.AuditEntry{
			Action: exchange.AuditRead, Member: d.Member, Channel: exchange.ChannelNATS, Collection: d.Collection,
			Last: b.Added(max(b.Count-1, 0)), Detail: "up to block " + strconv.FormatUint(b.Number, 10),
		}
		if before < sequence {
			if was, found, err := j.BlockAt(ctx, d.Collection, before); err == nil && found {
				e.First = was.AddedFirst
			}
		}
		j.Audit(e)
	}
	return nil
}
