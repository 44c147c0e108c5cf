package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// A disk fails, is made read-only, or has no byte left: JetStream does not recover from a write that was refused. So the disk is
// tried each second. Once it has refused a write, nothing is taken in any more, and what is there is served, until it takes writes
// again: then the node wants to be closed and opened. A disk that only takes long is waited for.

const (
	probeEvery = time.Second
	// probeLongest is how long a small write may take.
	probeLongest = 5 * time.Second
	// probesWell is how many writes have to succeed before a disk that failed is well again.
	probesWell = 3
	probeFile  = "probe-"
	probeSize  = 4096
)

// errSlow means that the disk takes very long.
var errSlow = fmt.Errorf("%w: it takes more than %v for a small write", exchange.ErrDisk, probeLongest)

// probe writes to the disk that the journal is on. Its error is an exchange.ErrFull or exchange.ErrDisk.
func (n *Node) probe() error {
	done := make(chan error, 1)
	go func() {
		f, err := os.CreateTemp(n.opt.Dir, probeFile) // one that took long may be there still
		if err == nil {
			_, err = f.Write(make([]byte, probeSize))
			err = errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
		}
		done <- err
	}()
	select {
	case err := <-done:
		switch {
		case err == nil:
			return nil
		case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
			return fmt.Errorf("%w: the operator has to make room", exchange.ErrFull)
		}
		n.log.Error("the disk cannot be written", "error", err)
		return exchange.ErrDisk
	case <-time.After(probeLongest):
		return errSlow
	}
}

// watchDisk tries the disk.
func (n *Node) watchDisk(ctx context.Context) error {
	for well := 0; ; {
		select {
		case <-time.After(probeEvery):
		case <-ctx.Done():
			return nil
		}
		err := n.probe()
		failed := n.disk.Load()
		switch {
		case err == nil && failed == nil:
		case errors.Is(err, errSlow):
			if well = 0; failed == nil {
				n.log.Error("nothing is taken in for now", "reason", err)
				n.disk.Store(&err)
			}
		case err != nil:
			well = 0
			n.diskFails(err)
		case errors.Is(*failed, errSlow):
			n.log.Info("the disk is fast again")
			n.disk.CompareAndSwap(failed, nil)
		default:
			if well++; well == probesWell {
				n.log.Info("the disk takes writes again: the exchange starts anew")
				n.again()
				return nil
			}
		}
	}
}

// diskFails has nothing taken in any more.
func (n *Node) diskFails(err error) {
	if before := n.disk.Swap(&err); before == nil || errors.Is(*before, errSlow) {
		n.log.Error("nothing is taken in, what there is can be read", "reason", err)
	}
	n.Journal.Break(err)
}

// diskFailed tells whether the disk has refused a write since the node was opened.
func (n *Node) diskFailed() bool {
	err := n.disk.Load()
	return err != nil && !errors.Is(*err, errSlow)
}
