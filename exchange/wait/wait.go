// Package wait has the ways in which parts of the exchange wait for each other: for something to happen, for a value to
// be replaced, for what somebody else is making already, and for a turn.
package wait

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Signal wakes everybody who waits, at once. Its zero value is ready. It is safe for concurrent use.
type Signal struct {
	mu sync.Mutex
	c  chan struct{}
}

// Next returns what is closed by the next Wake. Who asks before looking at what is waited for misses nothing.
func (s *Signal) Next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		s.c = make(chan struct{})
	}
	return s.c
}

// Wake wakes those who have asked for Next.
func (s *Signal) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		close(s.c)
		s.c = nil
	}
}

// Value is a value that is replaced as a whole. Its zero value holds nil. It is safe for concurrent use.
type Value[T any] struct{ now atomic.Pointer[held[T]] }

type held[T any] struct {
	value    *T
	replaced chan struct{}
}

// Load returns the value, nil where none was stored.
func (v *Value[T]) Load() *T {
	if h := v.now.Load(); h != nil {
		return h.value
	}
	return nil
}

// Watch returns the value and what is closed when another is there, nil where none was stored.
func (v *Value[T]) Watch() (value *T, replaced <-chan struct{}) {
	h := v.now.Load()
	if h == nil {
		return nil, nil
	}
	return h.value, h.replaced
}

// Store replaces the value.
func (v *Value[T]) Store(value *T) {
	if old := v.now.Swap(&held[T]{value, make(chan struct{})}); old != nil {
		close(old.replaced)
	}
}

// Once is something that one maker makes for all who want it.
type Once[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// ErrUnfinished is what those who wait are told where the maker has panicked.
var ErrUnfinished = errors.New("what was waited for was not made to its end")

// NewOnce begins one. Who calls it also calls Make.
func NewOnce[T any]() *Once[T] { return &Once[T]{done: make(chan struct{}), err: ErrUnfinished} }

// Make makes it, once, and returns it.
func (o *Once[T]) Make(f func() (T, error)) (T, error) {
	defer close(o.done) // also where f panics: others wait for it
	o.value, o.err = f()
	return o.value, o.err
}

// Wait returns what was made once it is there.
func (o *Once[T]) Wait(ctx context.Context) (T, error) {
	select {
	case <-o.done:
		return o.value, o.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}
