package admission

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// inFlight is how many records of a feed may be on their way into blocks at a
// time; it bounds memory and is what holds a publisher back.
const inFlight = 4

// checkpointEvery is after how many records the feed's position is written. It says where a start begins to look;
// what a collection has of a record, its last block says (record.Delivered). So a crash makes the records since then
// be looked at again, no more.
const checkpointEvery = 64

// delivery is a record on its way into blocks.
type delivery struct {
	in       *record.Intake
	sequence uint64
	pending  *Pending
}

// send hands a durable record to deliverAll. The caller holds a slot for it.
func (f *feedWriter) send(in *record.Intake, sequence uint64) *Pending {
	p := &Pending{Receipt: in.Receipt, Intake: sequence, done: make(chan struct{})}
	f.mu.Lock()
	f.open = append(f.open, sequence)
	f.mu.Unlock()
	f.deliveries <- &delivery{in: in, sequence: sequence, pending: p}
	return p
}

// deliverAll packages records in their order and gives each collection its share.
func (f *feedWriter) deliverAll() {
	for c := range f.deliveries {
		own := exchange.FeedCollection(f.feed)
		shares, err := f.a.Packagers.Shares(context.Background(), c.in, func(collection string) bool { return collection != own })
		if err != nil {
			f.done(c, 0, err)
			continue
		}
		var mu sync.Mutex
		left := len(shares)
		var last uint64
		var errs []error
		if left == 0 {
			f.done(c, 0, nil)
		}
		finish := f.done
		if len(c.in.Withdrawals) > 0 { // a collection that has done its share does not wait for that
			finish = func(c *delivery, last uint64, err error) { go f.removed(c, last, err) }
		}
		for _, share := range shares {
			f.a.Log.Deliver(share, f.feed, c.sequence, func(sequence uint64, err error) {
				mu.Lock()
				defer mu.Unlock()
				last = max(last, sequence)
				errs = append(errs, err)
				if left--; left == 0 {
					finish(c, last, errors.Join(errs...))
				}
			})
		}
	}
}

// removed ends a delivery that took something out of collections, once it is out of the journal.
func (f *feedWriter) removed(c *delivery, last uint64, err error) {
	var from []string
	for _, w := range c.in.Withdrawals {
		from = append(from, w.Collection)
	}
	slices.Sort(from)
	for _, collection := range slices.Compact(from) {
		for err == nil && f.a.Removed(context.Background(), collection, last) != nil {
			// A disk that is slow ends nothing: it is done in the end, or at the next start.
			if f.closing() {
				c.pending.late = exchange.ErrClosed
				break
			}
			<-time.After(removedEvery)
		}
	}
	f.done(c, last, err)
}

// removedEvery is how long it waits before it is tried again to take something out of the journal.
const removedEvery = time.Second

// done ends a delivery. It is called by whichever collection came last.
func (f *feedWriter) done(c *delivery, last uint64, err error) {
	if err == nil {
		f.mu.Lock()
		f.open = slices.DeleteFunc(f.open, func(s uint64) bool { return s == c.sequence })
		f.finished = max(f.finished, c.sequence)
		// Everything before the oldest record under way is delivered.
		f.delivered = f.finished
		if len(f.open) > 0 {
			f.delivered = min(f.delivered, f.open[0]-1)
		}
		f.moved.Wake()
		f.mu.Unlock()
		err = f.checkpoint(context.Background(), checkpointEvery)
	}
	if err != nil {
		err = fmt.Errorf("deliver intake %d of feed %s: %w", c.sequence, f.feed, err)
		f.fail(err)
		f.a.Fatal(err)
	}
	c.pending.Blocks, c.pending.err = last, cmp.Or(err, c.pending.late)
	close(c.pending.done)
	<-f.slots
}

// checkpoint writes the position when it has moved by so many.
func (f *feedWriter) checkpoint(ctx context.Context, by uint64) error {
	f.mu.Lock()
	delivered := f.delivered
	due := delivered >= f.written+by
	if due {
		f.written = delivered
	}
	f.mu.Unlock()
	if !due {
		return nil
	}
	return f.a.Log.SetDeliveredTo(ctx, f.feed, delivered)
}

// Recover opens a feed, which delivers its intake as far as it goes (open), and waits for that.
func (a *Admission) Recover(ctx context.Context, feed string) error {
	f, err := a.feed(ctx, feed)
	if err != nil {
		return err
	}
	return f.wait(ctx, func() bool { return len(f.open) == 0 })
}

// Flush waits until everything that is in the log is in the collections.
func (a *Admission) Flush(ctx context.Context) error {
	a.mu.Lock()
	feeds := slices.Collect(maps.Values(a.feeds))
	a.mu.Unlock()
	for _, f := range feeds {
		if err := f.wait(ctx, func() bool { return len(f.open) == 0 }); err != nil {
			return err
		}
	}
	return nil
}
