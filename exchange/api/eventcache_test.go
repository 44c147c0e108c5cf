package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

func since(n int64) cursor { return cursor{since: time.UnixMicro(n), after: time.UnixMicro(1000)} }

// Readers at one place share an event where it is the same for them, and only
// then.
func TestReadersShareWhatIsTheSameForThem(t *testing.T) {
	var cache eventCache
	var reads atomic.Int64
	get := func(at cursor, low, high int64) string {
		one, err := cache.get(t.Context(), "a", "1", at, func() (*view.Page, []byte, error) {
			reads.Add(1)
			return &view.Page{Count: 1, Low: low, High: high, Last: time.UnixMicro(2000)}, fmt.Appendf(nil, "%d to %d", low, high), nil
		})
		if err != nil {
			t.Error(err)
			return ""
		}
		return string(one.data)
	}
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			n := int64(i%100) + 1
			low, high := int64(math.MinInt64), int64(50)
			if n >= 50 {
				low, high = 50, math.MaxInt64
			}
			if got := get(since(n), low, high); !bytes.Contains([]byte(got), fmt.Appendf(nil, "%d to %d", low, high)) {
				t.Errorf("who started at %d got %s", n, got)
			}
		})
	}
	wg.Wait()
	if n := reads.Load(); n != 2 {
		t.Errorf("%d reads for two events", n)
	}
}

// A read that fails, or worse, holds nobody up.
func TestAReadThatFailsIsMadeAgain(t *testing.T) {
	var cache eventCache
	failed := errors.New("failed")
	read := func(f func() (*view.Page, []byte, error)) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = wait.ErrUnfinished
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = cache.get(ctx, "a", "1", since(1), f)
		return err
	}
	if err := read(func() (*view.Page, []byte, error) { return nil, nil, failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := read(func() (*view.Page, []byte, error) { panic("x") }); !errors.Is(err, wait.ErrUnfinished) {
		t.Error(err)
	}
	if err := read(func() (*view.Page, []byte, error) { return &view.Page{Low: 0, High: 9}, nil, nil }); err != nil {
		t.Error(err)
	}
}

func TestTailsForgetTheOldest(t *testing.T) {
	var cache eventCache
	raw := bytes.Repeat([]byte("x"), 1<<20)
	for n := range 40 {
		at := cursor{after: time.UnixMicro(int64(n + 1))}
		_, err := cache.get(t.Context(), "a", "1", at, func() (*view.Page, []byte, error) {
			return &view.Page{Count: 1, Low: 0, High: 1}, raw, nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if cache.size > maxCached || len(cache.kept) != len(cache.order) || len(cache.kept) < 10 {
		t.Errorf("%d bytes in %d events, %d in order", cache.size, len(cache.kept), len(cache.order))
	}
}

// BenchmarkTails gives one event to readers that stand at one place.
func BenchmarkTails(b *testing.B) {
	var cache eventCache
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			_, err := cache.get(b.Context(), "a", "1", since(1), func() (*view.Page, []byte, error) {
				return &view.Page{Count: 1, Low: 0, High: 9}, []byte("{}"), nil
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}
