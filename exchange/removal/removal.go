// Package removal sees to it that what a collection has lost is in no message of the journal any more: what was deleted,
// and what has got a label that may not be there.
//
// The way of a removal: a control block says under seal what leaves; the view takes it out, and notes where it was;
// here each block that has lost something is replaced by what stays (journal.Replace); then the request is answered.
// All that waits when a collection has its turn is done at once, one replacement for each block. What is cut short is
// finished by who comes next, or at the next start: nobody is answered, and no collection is said to be further, before
// the last message is deleted.
package removal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// Log has the blocks.
type Log interface {
	// Replace takes the objects at some positions of a block out; a second time it does nothing.
	Replace(ctx context.Context, collection string, h record.Holes) error
	// Replacing is how far a collection is. What is recorded as being replaced is finished before anybody reads the log
	// anew: what left cannot be worked out from blocks of which some have lost it already.
	Replacing(ctx context.Context, collection string) (record.Replacing, error)
	SetReplacing(ctx context.Context, collection string, r record.Replacing) error
}

// View knows what control blocks have taken out.
type View interface {
	// Wait returns once blocks are in up to a sequence.
	Wait(ctx context.Context, intake, blocks uint64) error
	// Holes lists where the objects were that control blocks behind an instant took out, and when the last of these was.
	Holes(collection string, after time.Time) (list []record.Holes, last time.Time, err error)
	// LastRemoval is when the last control block of a collection was that took something out, zero for never.
	LastRemoval(collection string) time.Time
}

// Remover takes what is removed out of the journal. It is safe for concurrent use.
type Remover struct {
	Log  Log
	View View

	turns  wait.Turns
	closed atomic.Bool
	mu     sync.Mutex
	done   map[string]time.Time // how far each collection is
	ended  map[string]time.Time // when it was done last
}

// patience is how long one replacement may take. A turn takes as long as it has replacements to make.
const patience = time.Minute

// Where one removal follows the other, a replacement waits for more of them: until none has come for quiet, for
// longest at most. They follow each other where the last was less than burst ago.
const (
	quiet   = 30 * time.Millisecond
	longest = 500 * time.Millisecond
	burst   = time.Second
)

// Close ends what is under way after the replacement that is being made: the rest is on record.
func (r *Remover) Close() { r.closed.Store(true) }

// Finish returns once nothing that a collection's blocks up to a sequence have taken out is in the journal.
func (r *Remover) Finish(ctx context.Context, collection string, sequence uint64) error {
	if err := r.View.Wait(ctx, 0, sequence); err != nil {
		return fmt.Errorf("remove from %s: %w", collection, err)
	}
	end, err := r.turns.Take(ctx, collection)
	if err != nil {
		return fmt.Errorf("remove from %s: %w", collection, err)
	}
	defer end()
	ctx = context.WithoutCancel(ctx) // others wait for the same: it goes on when the caller has gone
	for try := 0; ; try++ {
		err = r.replace(ctx, collection)
		if err == nil || try == 2 || errors.Is(err, exchange.ErrClosed) {
			return err
		}
		<-time.After(time.Duration(try+1) * 100 * time.Millisecond)
	}
}

// replace does what waits. The caller has the collection's turn.
func (r *Remover) replace(ctx context.Context, collection string) error {
	from, err := r.from(ctx, collection)
	if err != nil || !r.View.LastRemoval(collection).After(from) { // who had the turn before has done it
		return err
	}
	r.linger(collection)
	list, last, err := r.View.Holes(collection, from)
	if err != nil {
		return err
	}
	if err := r.Log.SetReplacing(ctx, collection, record.Replacing{To: from, Holes: list}); err != nil {
		return err
	}
	for _, h := range list {
		if r.closed.Load() {
			return fmt.Errorf("remove from %s: %w", collection, exchange.ErrClosed)
		}
		if err := r.one(ctx, collection, h); err != nil {
			return err
		}
	}
	if err := r.Log.SetReplacing(ctx, collection, record.Replacing{To: last}); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[collection], r.ended[collection] = last, time.Now()
	return nil
}

func (r *Remover) one(ctx context.Context, collection string, h record.Holes) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.Log.Replace(ctx, collection, h)
}

// linger waits for more removals where they follow each other.
func (r *Remover) linger(collection string) {
	r.mu.Lock()
	ended := r.ended[collection]
	r.mu.Unlock()
	if time.Since(ended) > burst {
		return
	}
	for began := time.Now(); time.Since(began) < longest; {
		before := r.View.LastRemoval(collection)
		<-time.After(quiet)
		if r.View.LastRemoval(collection).Equal(before) {
			return
		}
	}
}

// from is how far a collection is.
func (r *Remover) from(ctx context.Context, collection string) (time.Time, error) {
	r.mu.Lock()
	at, known := r.done[collection]
	r.mu.Unlock()
	if known {
		return at, nil
	}
	now, err := r.Log.Replacing(ctx, collection)
	at = now.To
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.done == nil {
		r.done, r.ended = make(map[string]time.Time), make(map[string]time.Time)
	}
	if err == nil {
		r.done[collection] = at
	}
	return at, err
}
