package node

import (
	"context"
	"errors"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// sealOf is what hides who posted what, and the like, from readers of blocks.
func sealOf(r *register.Store) (s record.Seal) {
	s.Key, s.Old = r.SealKeys()
	return s
}

// removed returns once what left a collection is out of the journal; where it cannot be, the log says so.
func (n *Node) removed(ctx context.Context, collection string, sequence uint64) error {
	err := n.remover.Finish(ctx, collection, sequence)
	if err != nil && !errors.Is(err, exchange.ErrClosed) {
		n.log.Error("what has left a collection is in the journal still", "collection", collection, "error", err)
	}
	return err
}
