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

// unpack returns all objects of a payload, each with a comma behind it, and where
// each starts; the last place is the end.
func (b *block) unpack(payload []byte) (text []byte, at []int, err error) {
	if len(b.lengths) != b.count {
		return nil, nil, ErrDamaged
	}
	at = make([]int, 0, b.count+1)
	total := 0
	for _, n := range b.lengths {
		at = append(at, total)
		total += n + 1
	}
	at = append(at, total)
	text = make([]byte, total)
	end := 0
	for _, c := range b.chunks {
		if c.size > len(payload) {
			return nil, nil, ErrDamaged
		}
		n, err := unpackChunk(text[end:], payload[:c.size])
		if err != nil {
			return nil, nil, err
		}
		payload, end = payload[c.size:], end+n
	}
	if end != total {
		return nil, nil, ErrDamaged
	}
	return text, at, nil
}

// unpackChunk decompresses a chunk into dst and returns its size.
func unpackChunk(dst, data []byte) (int, error) {
	n, err := s2.DecodedLen(data)
	if err == nil && n > len(dst) {
		err = s2.ErrTooLarge
	}
	if err == nil {
		_, err = s2.Decode(dst[:n], data)
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return n, nil
}

// unpackOne returns one object of a payload.
func (b *block) unpackOne(payload []byte, i int) ([]byte, error) {
	if len(b.lengths) != b.count || i >= b.count {
		return nil, ErrDamaged
	}
	start := 0 // of the chunk among the objects
	for _, c := range b.chunks {
		if c.size > len(payload) {
			break
		}
		if i >= start+c.objects {
			payload, start = payload[c.size:], start+c.objects
			continue
		}
		total, at := 0, 0
		for j := range c.objects {
			if start+j == i {
				at = total
			}
			total += b.lengths[start+j] + 1
		}
		text := make([]byte, total)
		if _, err := unpackChunk(text, payload[:c.size]); err != nil {
			return nil, err
		}
		return text[at : at+b.lengths[i]], nil
	}
	return nil, ErrDamaged
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
