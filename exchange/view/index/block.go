package index

import (
	"encoding/binary"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/view/store"
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
	r := store.Reads{B: b}
	out := &block{intake: r.Number(), feed: string(r.Take(r.Int())), number: r.Number(), count: r.Int()}
	out.starts = slices.Clone(bits(r.Take(r.Int())))
	if n := r.Int(); n > 0 && n <= len(r.B) && out.count <= len(r.B) {
		out.chunks, out.pieces = make([]chunk, n), make([]piece, out.count)
	} else if n > 0 {
		return nil, store.ErrDamaged
	}
	for i := range out.chunks {
		out.chunks[i].size = r.Int()
	}
	all := 0
	for i := range out.pieces {
		at, size := r.Int(), r.Int()
		if r.Bad || at >= len(out.chunks) {
			return nil, store.ErrDamaged
		}
		c := &out.chunks[at]
		out.pieces[i] = piece{int32(at), int32(c.raw), int32(size)}
		c.raw += size + 1
		if all += size + 1; all > maxText {
			return nil, store.ErrDamaged
		}
	}
	if r.Bad || len(r.B) > 0 {
		return nil, store.ErrDamaged
	}
	return out, nil
}

// maxText is more than the objects of a block of the journal can take, in bytes.
const maxText = 64 << 20
