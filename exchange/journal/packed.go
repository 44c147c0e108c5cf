package journal

import (
	"bytes"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// packed are the blocks that this process has packed last: who follows them need not look a second time whether they hold what
// they commit to, where the stream gives back the same bytes.
type packed struct {
	mu   sync.Mutex // guards what is below
	list [maxPacked]record.Block
	next int
}

// maxPacked bounds them, and maxPackedSize each, in bytes.
const (
	maxPacked     = 128
	maxPackedSize = 256 << 10
)

// note notes a block before it is appended.
func (p *packed) note(b *record.Block) {
	if len(b.Payload) > maxPackedSize {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list[p.next%maxPacked] = record.Block{Collection: b.Collection, Number: b.Number, Root: b.Root, Seed: b.Seed, Payload: b.Payload}
	p.next++
}

// take tells whether a block is one of them, and forgets it.
func (p *packed) take(b *record.Block) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		o := &p.list[i]
		if o.Number == b.Number && o.Collection == b.Collection && o.Number > 0 {
			same := len(b.Removed) == 0 && o.Root == b.Root && bytes.Equal(o.Seed, b.Seed) && bytes.Equal(o.Payload, b.Payload)
			*o = record.Block{}
			return same
		}
	}
	return false
}
