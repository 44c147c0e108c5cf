package view

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

func TestWhatIsOnlyInMemoryIsWrittenOnceNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := openPlain(t)
		go func() {
			if err := v.FlushWhenQuiet(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		sequence, random := uint64(0), rand.NewChaCha8([32]byte{})
		add := func(size int) {
			sequence++
			noise := make([]byte, size/2) // which does not get smaller
			_, _ = random.Read(noise)     // which never fails
			text := fmt.Sprintf(`{"objects":[{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","description":"%x"}]}`, sequence, noise)
			b := &record.Block{Collection: "a", Number: sequence, Count: 1, AddedFirst: time.UnixMicro(int64(sequence)), Payload: []byte(text), Sequence: sequence}
			if err := v.ApplyBlock(b); err != nil {
				t.Fatal(err)
			}
		}
		written := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := v.db.Metrics().Flush.Count; got != want {
				t.Errorf("written %d times, want %d", got, want)
			}
		}
		for range 3 {
			<-time.After(quietAfter / 2)
			add(flushBytes / 2)
		}
		written(0) // something came all the time
		<-time.After(2 * quietAfter)
		written(1)
		add(1)
		<-time.After(10 * quietAfter)
		written(1) // it is little
		add(flushBytes)
		<-time.After(2 * quietAfter)
		written(2)
	})
}
