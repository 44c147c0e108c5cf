package admission

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// maxRecent is how many records the history may lag behind; until then they are
// looked up in memory.
const maxRecent = 16

// feedWriter is the one writer of a feed.
type feedWriter struct {
	a    *Admission
	feed string

	// turn holds a token for whoever admits; it guards what is below it.
	turn   chan struct{}
	last   record.Head // the feed's last record
	number uint64      // of it
	recent []*recent   // records that the history may not have applied, oldest first
	// addresses counts the recent records that have an event of each, or of a host
	// that called it.
	addresses map[netip.Addr]int
	trail     []*Pending // the newest records, at most maxRecent, oldest first

	deliveries chan *delivery // its room, and what deliverAll holds, is inFlight
	slots      chan struct{}  // a token for each record under way
	wg         sync.WaitGroup

	moved wait.Signal // when any of what is below changes

	mu        sync.Mutex // guards what is below
	open      []uint64   // sequences under way, ascending
	finished  uint64     // the highest sequence that is in blocks
	delivered uint64     // all records up to here are in blocks
	written   uint64     // the position in the log
	broken    error      // why the feed takes nothing more
}

// recent is a record that the history may not have applied yet.
type recent struct {
	sequence uint64
	*batch
}

func (a *Admission) open(ctx context.Context, feed string) (*feedWriter, error) {
	f := &feedWriter{
		a: a, feed: feed, addresses: make(map[netip.Addr]int), turn: make(chan struct{}, 1),
		slots: make(chan struct{}, inFlight), deliveries: make(chan *delivery, inFlight),
	}
	var err error
	if f.last, f.number, err = a.Log.LastIntake(ctx, feed); err != nil {
		return nil, fmt.Errorf("feed %s: %w", feed, err)
	}
	if f.delivered, err = a.Log.DeliveredTo(ctx, feed); err != nil {
		return nil, err
	}
	f.written, f.finished = f.delivered, f.delivered
	f.wg.Go(f.deliverAll)
	err = a.Log.EachIntake(ctx, feed, f.delivered, func(in *record.Intake, sequence uint64) error {
		f.slots <- struct{}{}
		f.send(in, sequence)
		return nil
	})
	if err != nil {
		close(f.deliveries)
		return nil, fmt.Errorf("recover feed %s: %w", feed, err)
	}
	return f, nil
}

func (f *feedWriter) lock(ctx context.Context) error {
	select {
	case f.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		f.unlock()
	}
	return f.broken
}

func (f *feedWriter) unlock() { <-f.turn }

// close delivers what is under way and writes the position. What it cannot
// finish in time is for the next start.
func (f *feedWriter) close(ctx context.Context) error {
	f.turn <- struct{}{} // whoever has it is admitting one chunk
	f.fail(exchange.ErrClosed)
	close(f.deliveries)
	f.unlock()
	err := f.wait(ctx, func() bool { return len(f.open) == 0 })
	if err != nil && ctx.Err() != nil {
		return err
	}
	f.wg.Wait()
	if err != nil {
		return err
	}
	return f.checkpoint(ctx, 1)
}

// closing tells whether the feed takes nothing more.
func (f *feedWriter) closing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.broken != nil
}

// fail keeps the feed from taking more. The first failure counts; that the
// feed is closed is none.
func (f *feedWriter) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken == nil || errors.Is(f.broken, exchange.ErrClosed) {
		f.broken = err
	}
	f.moved.Wake()
}

// wait returns once the condition holds, which is looked at under mu, or the
// feed is broken.
func (f *feedWriter) wait(ctx context.Context, condition func() bool) error {
	for {
		moved := f.moved.Next()
		f.mu.Lock()
		ok, broken := condition(), f.broken
		f.mu.Unlock()
		switch {
		case ok:
			return nil
		case broken != nil && !errors.Is(broken, exchange.ErrClosed):
			return broken
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// replay answers a key that is known.
func (f *feedWriter) replay(s *Chunk) (*Pending, error) {
	if s.Key == "" {
		return nil, nil
	}
	var in *record.Intake
	var sequence uint64
	recalled := false
	for _, r := range f.recent {
		switch {
		case r.in.Reason != "" && s.Recall == "": // what was published before may be published again
			in, recalled = nil, true
		case r.in.Key == s.Key:
			in, sequence = r.in, r.sequence
		}
	}
	if in == nil && !recalled {
		var found bool
		var err error
		if in, sequence, found, err = f.a.History.IntakeByKey(f.feed, s.Key); err != nil || !found {
			return nil, err
		}
	}
	if in == nil {
		return nil, nil
	}
	if in.Hash != s.Hash {
		return nil, fmt.Errorf("%w: key %.80q", exchange.ErrKeyReused, s.Key)
	}
	// It may still be on its way.
	p := &Pending{Receipt: in.Receipt, Replayed: true, Intake: sequence, done: make(chan struct{})}
	f.wg.Go(func() {
		defer close(p.done)
		p.err = f.wait(context.Background(), func() bool { return f.delivered >= sequence })
	})
	return p, nil
}

// prune forgets the records that the history has applied. Where it lags too far
// behind, in intake or in blocks, it waits, and so does the publisher.
func (f *feedWriter) prune(ctx context.Context) error {
	for len(f.trail) >= maxRecent {
		p := f.trail[0]
		if err := p.Wait(ctx); err != nil {
			return err
		}
		if err := f.a.History.Wait(ctx, p.Intake, p.Blocks); err != nil {
			return err
		}
		f.trail = f.trail[1:]
	}
	applied := f.a.History.Applied()
	f.recent = slices.DeleteFunc(f.recent, func(r *recent) bool {
		if r.sequence > applied {
			return false
		}
		for _, list := range []map[netip.Addr]bool{r.addresses, r.called} {
			for a := range list {
				if f.addresses[a]--; f.addresses[a] == 0 {
					delete(f.addresses, a)
				}
			}
		}
		return true
	})
	return nil
}

// append makes the record durable and sends it on its way.
func (f *feedWriter) append(ctx context.Context, d *batch) (*Pending, error) {
	// The record is bounded before it is written, so that a publisher is held
	// back here, and once it is written nothing keeps it from being delivered.
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	d.in.Number, d.in.Previous = f.number+1, f.last.Hash
	d.in.Blocks, d.in.Audit = f.a.Log.Heads()
	copy(d.in.Nonce[:], record.NewSeed())
	end, err := f.a.Log.AppendIntake(ctx, f.feed, d.in.Append(make([]byte, 0, 128<<10)), f.last.Sequence)
	if err != nil {
		<-f.slots
		if !errors.Is(err, exchange.ErrFenced) {
			return nil, err // the log is as it was
		}
		// Whether the log has it, only a new start can tell.
		err = fmt.Errorf("feed %s takes nothing more until the exchange is started anew: %w", f.feed, err)
		f.fail(err)
		f.a.Fatal(err)
		return nil, err
	}
	f.last, f.number = end, d.in.Number
	if f.a.Tell != nil {
		auditIntake(d.in, f.a.Tell)
	}
	f.recent = append(f.recent, &recent{sequence: end.Sequence, batch: d})
	for _, list := range []map[netip.Addr]bool{d.addresses, d.called} {
		for a := range list {
			f.addresses[a]++
		}
	}
	p := f.send(d.in, end.Sequence)
	f.trail = append(f.trail, p)
	return p, nil
}
