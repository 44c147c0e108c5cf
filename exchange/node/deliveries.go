package node

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
)

// deliveriesEvery is how often it is looked at what members were given over NATS.
const deliveriesEvery = 20 * time.Second

// deliveries is up to where the audit has been told of what went out over NATS: the server hands
// blocks to members without asking us, and remembers for each consumer how far it is. It is looked at
// every now and then, and before a consumer goes.
type deliveries struct {
	mu   sync.Mutex
	seen map[journal.Consumer]uint64
}

// watchDeliveries looks every now and then.
func (n *Node) watchDeliveries(ctx context.Context) error {
	for {
		n.auditDeliveries(ctx)
		select {
		case <-time.After(deliveriesEvery):
		case <-ctx.Done():
			return nil
		}
	}
}

// auditDeliveries tells the audit what went out over NATS since it was last told.
func (n *Node) auditDeliveries(ctx context.Context) {
	n.delivered.mu.Lock()
	defer n.delivered.mu.Unlock()
	now, err := n.Journal.Deliveries(ctx)
	if err != nil && ctx.Err() == nil {
		n.log.Warn("deliveries over NATS cannot be read", "error", err)
	}
	seen := n.delivered.seen
	if err == nil { // else a consumer that is not listed would be audited from its start again
		n.delivered.seen = now
	}
	for d, sequence := range now {
		before := seen[d]
		if sequence == before {
			continue
		}
		b, found, err := n.Journal.BlockAt(ctx, d.Collection, sequence)
		if err != nil || !found {
			continue
		}
		e := exchange.AuditEntry{
			Action: exchange.AuditRead, Member: d.Member, Way: exchange.WayNATS, Collection: d.Collection,
			Last: b.Added(max(b.Count-1, 0)), Detail: "up to block " + strconv.FormatUint(b.Number, 10),
		}
		if before < sequence {
			if was, found, err := n.Journal.BlockAt(ctx, d.Collection, before); err == nil && found {
				e.First = was.AddedFirst
			}
		}
		n.Journal.Audit(e)
	}
}
