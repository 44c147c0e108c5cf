package index

import (
	"iter"
	mathbits "math/bits"
)

// bits is a set of positions in a block.
type bits []byte

func allBits(n int) bits {
	b := make(bits, (n+7)/8)
	for i := range n {
		b.set(i)
	}
	return b
}

// oneBit is the set of one position.
func oneBit(i int) bits {
	b := make(bits, i/8+1)
	b.set(i)
	return b
}

func (b bits) set(i int)      { b[i/8] |= 1 << (i % 8) }
func (b bits) has(i int) bool { return i/8 < len(b) && b[i/8]&(1<<(i%8)) != 0 }
func (b bits) clear(i int) {
	if i/8 < len(b) {
		b[i/8] &^= 1 << (i % 8)
	}
}

// all goes over the positions in the set that are before n.
func (b bits) all(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, x := range b {
			for ; x != 0; x &= x - 1 {
				if at := 8*i + mathbits.TrailingZeros8(x); at >= n || !yield(at) {
					return
				}
			}
		}
	}
}

// union adds what another set has; it may change b.
func (b bits) union(o bits) bits {
	if len(o) > 0 {
		b = b.grown(len(o)*8 - 1)
	}
	for i := range o {
		b[i] |= o[i]
	}
	return b
}

// intersect keeps what another set has too; it changes b.
func (b bits) intersect(o bits) bits {
	b = b[:min(len(b), len(o))]
	for i := range b {
		b[i] &= o[i]
	}
	return b
}

// subtract takes out what another set has.
func (b bits) subtract(o bits) {
	for i := range min(len(b), len(o)) {
		b[i] &^= o[i]
	}
}

// keep leaves what is before n.
func (b bits) keep(n int) {
	for i := n; i < len(b)*8; i++ {
		b.clear(i)
	}
}

// ends returns the first position in the set and the one after the last, of n.
func (b bits) ends(n int) (from, to int) {
	for i, x := range b {
		if x == 0 {
			continue
		}
		if to == 0 {
			from = 8*i + mathbits.TrailingZeros8(x)
		}
		to = 8*i + mathbits.Len8(x)
	}
	return min(from, n), min(to, n)
}

// any reports whether a position from from on and before to is in the set.
func (b bits) any(from, to int) bool {
	for i := from; i < to; i++ {
		if b.has(i) {
			return true
		}
	}
	return false
}

// from returns the last position up to i that is in the set, i itself where
// there is none.
func (b bits) from(i int) int {
	for j := i; j >= 0; j-- {
		if b.has(j) {
			return j
		}
	}
	return i
}

// grown returns the set with room for a position.
func (b bits) grown(i int) bits {
	for len(b) <= i/8 {
		b = append(b, 0)
	}
	return b
}

func (b bits) empty() bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
