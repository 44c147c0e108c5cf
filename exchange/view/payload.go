package view

import (
	"errors"
	"fmt"

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
	p.raw = append(p.raw, raw...)
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

// unpack returns the objects at from to to of a payload.
func (b *block) unpack(payload []byte, from, to int) ([][]byte, error) {
	if len(b.lengths) != b.count || to > b.count {
		return nil, ErrDamaged
	}
	total := 0
	for _, n := range b.lengths[from:to] {
		total += n
	}
	objects, text := make([][]byte, 0, to-from), make([]byte, 0, total+2*chunkSize)
	i := 0
	for _, c := range b.chunks {
		if c.size > len(payload) {
			return nil, ErrDamaged
		}
		if i < to && i+c.objects > from {
			start := len(text)
			n, err := s2.DecodedLen(payload[:c.size])
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if n > cap(text)-start { // objects before from, or large ones
				text, start = make([]byte, 0, n+total), 0
			}
			if _, err := s2.Decode(text[start:start+n], payload[:c.size]); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			text = text[:start+n]
			for at, j := start, i; j < i+c.objects; j++ {
				end := at + b.lengths[j]
				if end > len(text) {
					return nil, ErrDamaged
				}
				if j >= from && j < to {
					objects = append(objects, text[at:end:end])
				}
				at = end
			}
		}
		payload, i = payload[c.size:], i+c.objects
	}
	return objects, nil
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
