package wait_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// One at a time has the turn of a name; who gives up waiting takes it from nobody.
func TestTurns(t *testing.T) {
	var turns wait.Turns
	n := map[string]int{}
	var mu [2]sync.Mutex
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			name := []string{"a", "b"}[i%2]
			done, err := turns.Take(t.Context(), name)
			if err != nil {
				t.Error(err)
				return
			}
			defer done()
			if !mu[i%2].TryLock() {
				t.Error("two have the turn of", name)
				return
			}
			if i%2 == 0 {
				n["a"]++ // which the race detector looks at
			}
			mu[i%2].Unlock()
		})
	}
	wg.Wait()
	if n["a"] != 200 {
		t.Error(n)
	}
	done, err := turns.Take(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := turns.Take(ended, "a"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	done()
	if done, err = turns.Take(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	done()
}
