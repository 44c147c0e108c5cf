package node

import (
	"context"
	"time"
)

// deliveriesEvery is how often it is looked at what members were given over NATS.
const deliveriesEvery = 20 * time.Second

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
	if err := n.Journal.AuditDeliveries(ctx); err != nil && ctx.Err() == nil {
		n.log.Warn("deliveries over NATS cannot be read", "error", err)
	}
}
