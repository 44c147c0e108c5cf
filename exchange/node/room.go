package node

import (
	"cmp"
	"fmt"
	"path/filepath"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// reserve is how many bytes of the disk are left for what was acknowledged and is to be delivered,
// for the audit, and for a stop in order; on a small disk it is half.
const reserve = 64 << 20

// room returns an exchange.ErrFull, ErrDisk or ErrDamaged where nothing more is to be taken in. JetStream and Pebble do not
// recover from a write that a full disk refused: it must not come to that. What takes something out may use half of what
// is left.
func (n *Node) room(takesOut bool) error {
	if err := n.takesNothing(); err != nil {
		return err
	}
	if err := n.disk.Load(); err != nil {
		return *err
	}
	var others []string
	if len(n.opt.NATSURLs) == 0 {
		others = append(others, filepath.Join(n.opt.Dir, "journal"))
	}
	r, err := n.View.Room(others...)
	if err != nil {
		return err
	}
	keep := cmp.Or(n.opt.Reserve, min(reserve, r.All/2))
	if takesOut {
		keep /= 2
	}
	need := keep + r.Unwritten
	full := r.Free < need
	if takesOut {
		if full {
			return fmt.Errorf("%w: the operator has to make room", exchange.ErrFull)
		}
		return nil
	}
	if full && !n.full.Swap(true) {
		n.log.Error("the disk is full: nothing more is taken in", "directory", n.opt.Dir, "free_bytes", r.Free, "needed_bytes", need)
	} else if !full && n.full.Swap(false) {
		n.log.Info("the disk has room again", "directory", n.opt.Dir, "free_bytes", r.Free)
	}
	if !full {
		return nil
	}
	return fmt.Errorf("%w: the operator has to make room", exchange.ErrFull)
}
