package node

import (
	"context"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
)

// deliveriesEvery is how often it is looked at what members were given over NATS.
const deliveriesEvery = 20 * time.Second

// watchDeliveries tells the audit what goes out over NATS: the server hands blocks to members
// without asking us, and remembers for each member and collection how far it is.
func (n *Node) watchDeliveries(ctx context.Context) error {
	seen := make(map[journal.Durable]uint64)
	for first := true; ; first = false {
		now, err := n.Journal.Deliveries(ctx)
		if err != nil && ctx.Err() == nil {
			n.log.Warn("deliveries over NATS cannot be read", "error", err)
		}
		for d, sequence := range now {
			before := seen[d]
			if seen[d] = sequence; sequence == before {
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
			if b, found, err := n.Journal.BlockAt(ctx, d.Collection, before); !first && err == nil && found && before < sequence {
				e.First = b.AddedFirst
			}
			n.Journal.Audit(e)
		}
		select {
		case <-time.After(deliveriesEvery):
		case <-ctx.Done():
			return nil
		}
	}
}
