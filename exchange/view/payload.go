package view

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/klauspost/compress/s2"
)

// A block's objects are kept in chunks, each compressed by itself, in a form that
// is made and read several times as fast as the journal's: a page needs whole
// blocks, but a single object only its chunk.

// chunkSize is how much is compressed together, in bytes: it trades size for the
// time that a single object takes.
const chunkSize = 16 << 10

// packing makes a payload.
type packing struct {
	raw []byte // objects of the chunk that is being made
	n   int    // how many
	out []byte
}

// add puts an object at the end, and ends a chunk that is full.
func (p *packing) add(b *block, raw []byte) {
	p.raw = append(append(p.raw, raw...), ',') // as they stand in an answer
	p.n++
	b.lengths = append(b.lengths, len(raw))
	if len(p.raw) >= chunkSize {
		p.end(b)
	}
}

// end ends the chunk.
func (p *packing) end(b *block) {
	if p.n == 0 {
		return
	}
	start := len(p.out)
	if need := start + s2.MaxEncodedLen(len(p.raw)); need > cap(p.out) {
		p.out = append(make([]byte, 0, 2*need), p.out...)
	}
	p.out = p.out[:start+len(s2.Encode(p.out[start:cap(p.out)], p.raw))]
	b.chunks = append(b.chunks, chunk{p.n, len(p.out) - start})
	p.raw, p.n = p.raw[:0], 0
}

// reset makes room for the next payload.
func (p *packing) reset() { p.raw, p.n, p.out = p.raw[:0], 0, p.out[:0] }

// stored are objects of a block as they are kept: some of its chunks.
type stored struct {
	*block
	base    int     // the position of their first object
	pieces  []chunk // of the block's
	payload []byte
}

// part returns the chunks of a payload that have the objects at from up to to.
func (b *block) part(payload []byte, from, to int) (*stored, error) {
	if len(b.lengths) != b.count || from >= to || to > b.count {
		return nil, ErrDamaged
	}
	s := &stored{block: b, pieces: b.chunks}
	skip := 0 // bytes before the first chunk that is needed
	for len(s.pieces) > 0 && s.base+s.pieces[0].objects <= from {
		s.base, skip, s.pieces = s.base+s.pieces[0].objects, skip+s.pieces[0].size, s.pieces[1:]
	}
	end, size := s.base, 0
	for n, c := range s.pieces {
		if end >= to {
			s.pieces = s.pieces[:n]
			break
		}
		end, size = end+c.objects, size+c.size
	}
	if end < to || skip+size > len(payload) {
		return nil, ErrDamaged
	}
	s.payload = bytes.Clone(payload[skip : skip+size])
	return s, nil
}

func (s *stored) whole() bool { return len(s.pieces) == len(s.chunks) }

// size is what the block takes in memory, in bytes, about.
func (s *stored) size() int64 { return int64(len(s.payload) + 8*s.count + 32*len(s.earlier)) }

// appendTo appends the objects of a set to dst, each with a comma behind it. Where
// room is not nil, it is called before a chunk of some size, in bytes, is
// decompressed, and returns what to go on with.
func (s *stored) appendTo(dst []byte, set bits, room func(dst []byte, size int) ([]byte, error)) (_ []byte, err error) {
	i, payload := s.base, s.payload
	for _, c := range s.pieces {
		packed := payload[:c.size]
		from, to := i, i+c.objects
		i, payload = to, payload[c.size:]
		if !set.any(from, to) {
			continue
		}
		size := 0
		for _, n := range s.lengths[from:to] {
			size += n + 1
		}
		if room != nil {
			if dst, err = room(dst, size); err != nil {
				return dst, err
			}
		}
		if dst, err = s.unpack(dst, packed, size); err != nil {
			return dst, err
		}
		dst = s.drop(dst, len(dst)-size, from, to, set)
	}
	return dst, nil
}

// object appends one object to dst.
func (s *stored) object(dst []byte, i int) ([]byte, error) {
	one := make(bits, i/8+1)
	one.set(i)
	dst, err := s.appendTo(dst, one, nil)
	if err != nil {
		return dst, err
	}
	return dst[:len(dst)-1], nil // without its comma
}

// unpack appends what a chunk holds, which has a size.
func (s *stored) unpack(dst, packed []byte, size int) ([]byte, error) {
	if n, err := s2.DecodedLen(packed); err != nil || n != size {
		return dst, errors.Join(err, ErrDamaged)
	}
	dst = slices.Grow(dst, size)
	end := len(dst) + size
	if _, err := s2.Decode(dst[len(dst):end:end], packed); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return dst[:end], nil
}

// drop takes the objects that are not in a set out of those at from up to to, which
// start at a place of dst and end with it.
func (s *stored) drop(dst []byte, at, from, to int, set bits) []byte {
	keep := at
	for i := from; i < to; {
		start, in := at, set.has(i)
		for i < to && set.has(i) == in {
			at, i = at+s.lengths[i]+1, i+1
		}
		if in {
			keep += copy(dst[keep:], dst[start:at])
		}
	}
	return dst[:keep]
}

// payload calls f with a block's payload, which is good until f returns.
func (v *View) payload(c uint32, first int64, f func(payload []byte) error) error {
	value, closer, err := v.db.Get(blockKey('p', c, first))
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("payload of the block at %d: %w", first, ErrDamaged)
	}
	if err != nil {
		return fmt.Errorf("read view: %w", err)
	}
	return errors.Join(f(value), closer.Close())
}
