package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// The view follows the journal.

// follow applies both streams to the view until ctx ends.
func (n *Node) follow(ctx context.Context) {
	n.run(ctx, "follow intake", func() error {
		return n.Journal.FollowIntake(ctx, n.View.Applied()+1, func(m journal.Message, _ uint64) error {
			return n.View.ApplyIntake(ctx, m.Sequence, m.Data)
		})
	})
	n.run(ctx, "follow blocks", func() error {
		return n.Journal.FollowBlocks(ctx, n.View.AppliedBlocks()+1, func(b *record.Block, _ uint64) error {
			return n.View.ApplyBlock(b)
		})
	})
	n.run(ctx, "flush the view", func() error { return n.View.FlushWhenQuiet(ctx) })
	n.run(ctx, "audit", func() error { return n.Journal.RunAudit(ctx) })
	n.run(ctx, "watch rights", func() error { return n.watchRights(ctx) })
	n.run(ctx, "watch floods", func() error { return n.watchFloods(ctx) })
	n.run(ctx, "watch deliveries", func() error { return n.watchDeliveries(ctx) })
	n.run(ctx, "watch the register", func() error { return n.Register.Watch(ctx) })
}

// shares packages records for their feed's own collection. Until members may log in nearly all are of the past: only
// their outlines are wanted, and nobody else packages them at the same time.
func (n *Node) shares(p *admission.Packagers) view.PackageFunc {
	return func(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error) {
		select {
		case <-n.open:
			return p.Shares(ctx, in, want)
		default:
			return p.Outlines(ctx, in, want)
		}
	}
}

// viewDamaged says what becomes of a view that is damaged.
func (n *Node) viewDamaged(err error, anew bool) {
	if anew {
		n.log.Warn("the view was damaged: it is made anew from the journal", "error", err)
		return
	}
	n.log.Error("the view is damaged: what can be read of it is served, and the next start makes it anew", "error", err)
}

// catchUp waits until the view holds all that the journal does.
func (n *Node) catchUp(ctx context.Context) error {
	intake, blocks, err := n.Journal.Ends(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-n.done: // a follower has failed: it will never catch up
			cancel()
		case <-ctx.Done():
		}
	}()
	if err := n.View.Wait(ctx, intake, blocks); err != nil {
		return errors.Join(fmt.Errorf("catch up with the journal: %w", err), n.Err())
	}
	return nil
}
