package view

import (
	"encoding/binary"
	"slices"
)

// block is the record of a block: what is known of it without its
// payload. The objects of a block of the journal are in its payload; where intake
// is not 0, they are what that record is packaged as.
type block struct {
	intake uint64
	feed   string // that its objects come from, "" where a member added them
	number uint64
	count  int
	// starts are the positions where a group starts.
	starts bits
	// pieces are where the objects are in the payload, chunks what it is made of; none
	// where intake is not 0.
	pieces []piece
	chunks []chunk
}

// chunk is what some objects are compressed to together.
type chunk struct {
	size int // compressed, in bytes
	raw  int // and not
}

// piece is where an object is: in a chunk, from a byte of it on. A comma follows it.
type piece struct{ chunk, from, size int32 }

func (b *block) bytes() []byte {
	var to []byte
	to = binary.AppendUvarint(to, b.intake)
	to = binary.AppendUvarint(to, uint64(len(b.feed)))
	to = append(to, b.feed...)
	to = binary.AppendUvarint(to, b.number)
	to = binary.AppendUvarint(to, uint64(b.count))
	to = binary.AppendUvarint(to, uint64(len(b.starts)))
	to = append(to, b.starts...)
	to = binary.AppendUvarint(to, uint64(len(b.chunks)))
	for _, c := range b.chunks {
		to = binary.AppendUvarint(to, uint64(c.size))
	}
	for _, p := range b.pieces { // each stands behind the one before it in its chunk
		to = binary.AppendUvarint(to, uint64(p.chunk))
		to = binary.AppendUvarint(to, uint64(p.size))
	}
	return to
}

func decodeBlock(b []byte) (*block, error) {
	r := reads{b: b}
	out := &block{intake: r.number(), feed: string(r.take(r.int())), number: r.number(), count: r.int()}
	out.starts = slices.Clone(bits(r.take(r.int())))
	if n := r.int(); n > 0 && n <= len(r.b) && out.count <= len(r.b) {
		out.chunks, out.pieces = make([]chunk, n), make([]piece, out.count)
	} else if n > 0 {
		return nil, ErrDamaged
	}
	for i := range out.chunks {
		out.chunks[i].size = r.int()
	}
	all := 0
	for i := range out.pieces {
		at, size := r.int(), r.int()
		if r.bad || at >= len(out.chunks) {
			return nil, ErrDamaged
		}
		c := &out.chunks[at]
		out.pieces[i] = piece{int32(at), int32(c.raw), int32(size)}
		c.raw += size + 1
		if all += size + 1; all > maxText {
			return nil, ErrDamaged
		}
	}
	if r.bad || len(r.b) > 0 {
		return nil, ErrDamaged
	}
	return out, nil
}

// reads takes what was appended to bytes; the first failure sticks.
type reads struct {
	b   []byte
	bad bool
}

func (r *reads) number() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return x
}

// maxText is more than the objects of a block of the journal can take, in bytes.
const maxText = 64 << 20

// maxInt is more than a size or a position in one block can be.
const maxInt = 1 << 30

// int takes a size or a position.
func (r *reads) int() int {
	if len(r.b) > 0 && r.b[0] < 0x80 { // most are small
		n := int(r.b[0])
		r.b = r.b[1:]
		return n
	}
	n := r.number()
	if n > maxInt {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reads) take(n int) []byte {
	if n > len(r.b) {
		r.bad, r.b = true, nil
		return nil
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}
