package journal

import (
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Each block takes at least one instant of its collection, also one without objects: what is told of it is told by that.
func TestEachBlockTakesAnInstant(t *testing.T) {
	first := time.UnixMicro(100)
	for count, last := range map[int]int64{0: 100, 1: 100, 2: 101, 500: 599} {
		if h := headOf(&record.Block{Count: count, AddedFirst: first}); !h.added.Equal(time.UnixMicro(last)) {
			t.Errorf("a block of %d objects ends at %d, want %d", count, h.added.UnixMicro(), last)
		}
	}
}
