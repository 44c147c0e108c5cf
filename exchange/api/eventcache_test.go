package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

func place(n int) eventKey { return eventKey{"a", "1", int64(n)} }

// Readers at one place share an event.
func TestReadersShareWhatIsTheSameForThem(t *testing.T) {
	var cache eventCache
	var reads atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			key, want := place(i%2), fmt.Sprint("behind ", i%2)
			one, err := cache.get(t.Context(), key, func() (*view.Page, []byte, error) {
				reads.Add(1)
				return &view.Page{Count: 1, Last: time.UnixMicro(2000)}, []byte(want), nil
			})
			if err != nil || string(one.data) != want {
				t.Errorf("%v, want %s: %v", one, want, err)
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
		_, err = cache.get(ctx, place(1), f)
		return err
	}
	if err := read(func() (*view.Page, []byte, error) { return nil, nil, failed }); !errors.Is(err, failed) {
		t.Error(err)
	}
	if err := read(func() (*view.Page, []byte, error) { panic("x") }); !errors.Is(err, wait.ErrUnfinished) {
		t.Error(err)
	}
	if err := read(func() (*view.Page, []byte, error) { return new(view.Page), nil, nil }); err != nil {
		t.Error(err)
	}
}

func TestTailsForgetTheOldest(t *testing.T) {
	var cache eventCache
	raw := bytes.Repeat([]byte("x"), 1<<20)
	for n := range 40 {
		_, err := cache.get(t.Context(), place(n), func() (*view.Page, []byte, error) {
			return &view.Page{Count: 1}, raw, nil
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
			_, err := cache.get(b.Context(), place(1), func() (*view.Page, []byte, error) {
				return &view.Page{Count: 1}, []byte("{}"), nil
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// One reader hangs up while it makes an event: of the others one makes it.
func TestWhoIsLeftMakesTheEventOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cache eventCache
		var reads atomic.Int64
		begun, hangUp := make(chan bool), make(chan bool)
		go func() {
			_, _ = cache.get(t.Context(), place(1), func() (*view.Page, []byte, error) {
				close(begun)
				<-hangUp
				return nil, nil, errors.New("gone")
			})
		}()
		<-begun
		for range 200 {
			go func() {
				_, err := cache.get(t.Context(), place(1), func() (*view.Page, []byte, error) {
					reads.Add(1)
					<-time.After(time.Second)
					return &view.Page{Count: 1}, []byte("x"), nil
				})
				if err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		close(hangUp)
		<-time.After(time.Minute)
		if n := reads.Load(); n != 1 {
			t.Errorf("read %d times", n)
		}
	})
}
