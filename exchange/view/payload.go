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

// unpack returns the objects of a payload at from up to to, and their neighbours
// in the same chunks.
func (b *block) unpack(payload []byte, from, to int) (*decoded, error) {
	if len(b.lengths) != b.count || from >= to || to > b.count {
		return nil, ErrDamaged
	}
	i, skip := 0, 0 // objects and bytes before the first chunk that is needed
	chunks := b.chunks
	for len(chunks) > 0 && i+chunks[0].objects <= from {
		i, skip, chunks = i+chunks[0].objects, skip+chunks[0].size, chunks[1:]
	}
	if skip > len(payload) {
		return nil, ErrDamaged
	}
	d, end := &decoded{block: b, base: i}, i
	for n, c := range chunks {
		if end >= to {
			chunks = chunks[:n]
			break
		}
		end += c.objects
	}
	if end > b.count {
		return nil, ErrDamaged
	}
	d.at = make([]int, 1, end-i+1)
	total := 0
	for _, n := range b.lengths[i:end] {
		total += n + 1
		d.at = append(d.at, total)
	}
	d.text = make([]byte, total)
	payload, rest := payload[skip:], d.text
	for _, c := range chunks {
		if c.size > len(payload) {
			return nil, ErrDamaged
		}
		n, err := s2.DecodedLen(payload[:c.size])
		if err == nil && n > len(rest) {
			err = s2.ErrTooLarge
		}
		if err == nil {
			_, err = s2.Decode(rest[:n], payload[:c.size])
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		payload, rest = payload[c.size:], rest[n:]
	}
	if len(rest) != 0 {
		return nil, ErrDamaged
	}
	return d, nil
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
