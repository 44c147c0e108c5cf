package taxiiserver

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"golang.org/x/sync/semaphore"
)

// A body takes as much memory as has arrived of it, at most twice that beyond the first piece, whatever was announced.
func TestABodyTakesWhatHasArrived(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ arrives, announced, memory, held int64 }{
		{0, 10 << 20, 1 << 20, firstRead},
		{1, 10 << 20, 1 << 20, firstRead},
		{firstRead, 10 << 20, 1 << 20, 2 * firstRead}, // to see its end
		{firstRead + 1, 10 << 20, 1 << 20, 2 * firstRead},
		{100, 100, 1 << 20, 100 + bytes.MinRead},
		{700_000, 700_000, 1 << 20, 700_000 + bytes.MinRead},
		{10 << 20, 10 << 20, 11 << 20, 10<<20 + bytes.MinRead},
		{1000, 100, 1 << 20, 100 + 2*bytes.MinRead}, // more than it said
		{700_000, 10 << 20, 512 << 10, -1},
		{1, 10 << 20, 1 << 10, -1},
	} {
		memory := semaphore.NewWeighted(c.memory)
		body := make([]byte, c.arrives)
		for i := range body {
			body[i] = byte(rand.IntN(256))
		}
		text, held, err := readBody(memory, iotest.HalfReader(bytes.NewReader(body)), c.announced)
		switch {
		case c.held < 0:
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%+v: %d bytes, %v", c, len(text), err)
			}
		case err != nil || !bytes.Equal(text, body) || held != c.held:
			t.Errorf("%+v: %d bytes, held %d: %v", c, len(text), held, err)
		}
		memory.Release(held) // panics for more than there is
		if !memory.TryAcquire(c.memory) {
			t.Errorf("%+v: not all was given back", c)
		}
	}
	broken := errors.New("broken")
	memory := semaphore.NewWeighted(1 << 20)
	if _, held, err := readBody(memory, io.MultiReader(bytes.NewReader(make([]byte, 10)), iotest.ErrReader(broken)), 100); !errors.Is(err, broken) || held == 0 {
		t.Error(held, err)
	}
}
