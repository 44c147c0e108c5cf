package removal_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/removal"
)

// store is a view and a journal: control blocks that took out, by date_added in seconds, and what was replaced.
type store struct {
	mu       sync.Mutex
	controls map[string][]record.Holes // the i-th was at second i+1
	replaced []record.Holes
	to       map[string]record.Replacing
	fail     int // so many replacements fail
	written  int // how often it was said how far it is
	slow     time.Duration
}

func (s *store) Wait(ctx context.Context, _, _ uint64) error { return ctx.Err() }

func (s *store) LastRemoval(c string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.controls[c]); n > 0 {
		return time.Unix(int64(n), 0)
	}
	return time.Time{}
}

func (s *store) Holes(c string, after time.Time) (list []record.Holes, last time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, h := range s.controls[c] {
		at := time.Unix(int64(i+1), 0)
		if !at.After(after) {
			continue
		}
		last = at
		if k := slices.IndexFunc(list, func(o record.Holes) bool { return o.Block == h.Block }); k >= 0 {
			list[k].Positions = append(list[k].Positions, h.Positions...)
		} else {
			list = append(list, record.Holes{Block: h.Block, Positions: slices.Clone(h.Positions)})
		}
	}
	return list, last, nil
}

func (s *store) Replace(_ context.Context, _ string, h record.Holes) error {
	<-time.After(s.slow)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.to["a"].Holes) == 0 && len(s.to["b"].Holes) == 0 {
		return errors.New("what is being replaced is not on record")
	}
	if s.fail--; s.fail >= 0 {
		return errors.New("the disk is slow")
	}
	s.replaced = append(s.replaced, h)
	return nil
}

func (s *store) Replacing(_ context.Context, c string) (record.Replacing, error) { return s.to[c], nil }

func (s *store) SetReplacing(_ context.Context, c string, r record.Replacing) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.to[c] = r; len(r.Holes) == 0 {
		s.written++
	}
	return nil
}

func (s *store) takeOut(c string, block uint64, positions ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.controls[c] = append(s.controls[c], record.Holes{Block: block, Positions: positions})
}

func open() (*store, *removal.Remover) {
	s := &store{controls: make(map[string][]record.Holes), to: make(map[string]record.Replacing)}
	return s, &removal.Remover{Log: s, View: s}
}

// Each block is replaced once for all that waits, also what waited when the exchange stopped; what is done is not done
// again; a failure is tried again.
func TestWhatIsReplaced(t *testing.T) {
	t.Parallel()
	s, r := open()
	finish := func(want error) {
		t.Helper()
		if err := r.Finish(t.Context(), "a", 1); (err != nil) != (want != nil) {
			t.Fatal(err)
		}
	}
	check := func(want ...record.Holes) {
		t.Helper()
		if d := cmp.Diff(want, s.replaced); d != "" {
			t.Error(d)
		}
		s.replaced = nil
	}
	finish(nil)
	check()
	s.takeOut("a", 1, 0)
	s.takeOut("a", 2, 4)
	s.takeOut("a", 1, 7)
	s.takeOut("b", 1, 0)
	finish(nil)
	check(record.Holes{Block: 1, Positions: []int{0, 7}}, record.Holes{Block: 2, Positions: []int{4}})
	finish(nil)
	check()
	r = &removal.Remover{Log: s, View: s} // as after a start
	finish(nil)
	check()
	s.takeOut("a", 3, 1)
	s.fail = 2
	finish(nil)
	check(record.Holes{Block: 3, Positions: []int{1}})
	s.takeOut("a", 4, 1)
	s.fail = 3
	finish(errors.New("it gives up"))
	check()
	if d := cmp.Diff(record.Replacing{To: time.Unix(4, 0), Holes: []record.Holes{{Block: 4, Positions: []int{1}}}}, s.to["a"]); d != "" {
		t.Error(d)
	}
	finish(nil)
	check(record.Holes{Block: 4, Positions: []int{1}})
	if d := cmp.Diff(map[string]record.Replacing{"a": {To: time.Unix(5, 0)}}, s.to); d != "" {
		t.Error(d)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Finish(gone, "a", 1); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	closed := &removal.Remover{Log: failing{s}, View: s}
	if err := closed.Finish(t.Context(), "b", 1); !errors.Is(err, exchange.ErrClosed) {
		t.Error(err)
	}
}

type failing struct{ *store }

func (failing) Replace(context.Context, string, record.Holes) error { return exchange.ErrClosed }

// Removals of many at a time are a few replacements, and each is done when its own Finish returns.
func TestRemovalsThatWaitAreOneReplacement(t *testing.T) {
	t.Parallel()
	s, r := open()
	s.slow = 5 * time.Millisecond
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			s.takeOut("a", 1, i)
			if err := r.Finish(t.Context(), "a", 1); err != nil {
				t.Error(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if !slices.ContainsFunc(s.replaced, func(h record.Holes) bool { return slices.Contains(h.Positions, i) }) {
				t.Errorf("%d is not out", i)
			}
		})
	}
	wg.Wait()
	if len(s.replaced) > 10 || s.written != len(s.replaced) {
		t.Errorf("%d replacements for 100 removals, %d times written", len(s.replaced), s.written)
	}
}
