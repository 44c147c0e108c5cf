package wait_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestASignalWakesThoseWhoAskedBefore(t *testing.T) {
	var s wait.Signal
	s.Wake() // nobody waits
	before := s.Next()
	if closed(before) || s.Next() != before {
		t.Error("it is awake already, or two who ask wait for two things")
	}
	s.Wake()
	if !closed(before) || closed(s.Next()) {
		t.Error("who asked before is asleep, or who asks behind is awake")
	}
	// A waiter that asks first and looks then misses nothing.
	var n atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				next := s.Next()
				if n.Load() == 1000 {
					return
				}
				<-next
			}
		})
	}
	for range 1000 {
		n.Add(1)
		s.Wake()
	}
	wg.Wait()
}

func TestAValueTellsThatItWasReplaced(t *testing.T) {
	var v wait.Value[int]
	if value, replaced := v.Watch(); value != nil || replaced != nil || v.Load() != nil {
		t.Error("there is one from the beginning")
	}
	one, two := 1, 2
	v.Store(&one)
	value, replaced := v.Watch()
	if value != &one || closed(replaced) {
		t.Error(value, closed(replaced))
	}
	v.Store(&two)
	if !closed(replaced) || v.Load() != &two {
		t.Error("it is not told, or not replaced")
	}
}

func TestWhatIsMadeOnceIsForAll(t *testing.T) {
	bad := errors.New("bad")
	for name, c := range map[string]struct {
		make func() (int, error)
		want error
	}{
		"made":     {func() (int, error) { return 7, nil }, nil},
		"not made": {func() (int, error) { return 7, bad }, bad},
		"a panic":  {func() (int, error) { panic("made up") }, wait.ErrUnfinished},
	} {
		o := wait.NewOnce[int]()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := o.Wait(gone); !errors.Is(err, context.Canceled) {
			t.Error(name, err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if got, err := o.Wait(t.Context()); !errors.Is(err, c.want) || err == nil && got != 7 {
					t.Error(name, got, err)
				}
			})
		}
		func() {
			defer func() { _ = recover() }()
			_, _ = o.Make(c.make)
		}()
		wg.Wait()
	}
}
