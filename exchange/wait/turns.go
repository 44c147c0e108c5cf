package wait

import (
	"context"
	"sync"
)

// Turns lets one at a time do something under a name; the zero value is ready. It is for one process: where several
// write to one log, a lease takes its place.
type Turns struct {
	mu    sync.Mutex
	turns map[string]*turn
}

type turn struct {
	free  chan struct{} // has one element while nobody has the turn
	wants int           // how many have it or wait
}

// Take waits for the turn of a name and returns what ends it; where ctx ends first, its error.
func (t *Turns) Take(ctx context.Context, name string) (done func(), err error) {
	t.mu.Lock()
	mine := t.turns[name]
	if mine == nil {
		mine = &turn{free: make(chan struct{}, 1)}
		mine.free <- struct{}{}
		if t.turns == nil {
			t.turns = make(map[string]*turn)
		}
		t.turns[name] = mine
	}
	mine.wants++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wants--; mine.wants == 0 {
			delete(t.turns, name)
		}
	}
	select {
	case <-mine.free:
		return func() {
			mine.free <- struct{}{}
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
