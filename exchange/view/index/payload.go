package index

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"

	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// A block's objects are kept in chunks, each compressed by itself, in a form that
// is made and read several times as fast as the journal's. Objects of one type are in
// chunks of their own where there are enough of them: a page needs whole blocks, but
// who asks for a type only what is of it, and for a single object only its chunk.

// chunkSize is about how much is compressed together, in bytes: it trades size for the
// time that a single object takes.
const chunkSize = 32 << 10

// laneSize is how much there has to be of a type in a block for chunks of its own, in
// bytes. What is of other types is together.
const laneSize = 4 << 10

// packing makes a payload.
type packing struct {
	objects [][]byte
	types   []string         // in the order in which they came
	lanes   map[string]*lane // by type
	raw     []byte           // the chunk that is being made
	out     []byte
}

// lane are the objects that go into the same chunks.
type lane struct {
	objects []int
	size    int
}

func (l *lane) add(i, size int) { l.objects, l.size = append(l.objects, i), l.size+size }

// add puts an object at the end. Its text has to stay as it is until the payload is made.
func (p *packing) add(typ string, raw []byte) {
	l := p.lanes[typ]
	if l == nil {
		l = new(lane)
		p.types, p.lanes[typ] = append(p.types, typ), l
	}
	l.add(len(p.objects), len(raw)+1)
	p.objects = append(p.objects, raw)
}

// pack makes the payload of what was added, and notes in a block where each object is.
func (p *packing) pack(b *block) {
	b.pieces = make([]piece, len(p.objects))
	var rest lane // of types of which there is little
	for _, typ := range p.types {
		if l := p.lanes[typ]; l.size >= laneSize {
			p.chunks(b, l)
		} else {
			rest.objects, rest.size = append(rest.objects, l.objects...), rest.size+l.size
		}
	}
	slices.Sort(rest.objects)
	p.chunks(b, &rest)
}

// chunks makes those of a lane, all of about the same size.
func (p *packing) chunks(b *block, l *lane) {
	most := l.size/(l.size/chunkSize+1) + 1
	raw := p.raw[:0]
	for n, i := range l.objects {
		o := p.objects[i]
		b.pieces[i] = piece{chunk: int32(len(b.chunks)), from: int32(len(raw)), size: int32(len(o))}
		raw = append(append(raw, o...), ',') // as they stand in an answer
		if len(raw) < most && n < len(l.objects)-1 {
			continue
		}
		start := len(p.out)
		if need := start + s2.MaxEncodedLen(len(raw)); need > cap(p.out) {
			p.out = append(make([]byte, 0, 2*need), p.out...)
		}
		p.out = p.out[:start+len(s2.Encode(p.out[start:cap(p.out)], raw))]
		b.chunks = append(b.chunks, chunk{size: len(p.out) - start, raw: len(raw)})
		raw = raw[:0]
	}
	p.raw = raw
}

// reset makes room for the next payload.
func (p *packing) reset() {
	clear(p.objects)
	*p = packing{objects: p.objects[:0], types: p.types[:0], lanes: make(map[string]*lane), raw: p.raw, out: p.out[:0]}
	if cap(p.raw) > 4*chunkSize {
		p.raw = nil // of an object that was very large
	}
}

// stored are objects of a block as they are kept: some of its chunks.
type stored struct {
	*block
	at      []int // where each chunk starts in the payload, -1 for one that is not there
	payload []byte
	whole   bool // all are there
}

// read reads those chunks of a block that have the objects of a set.
func (b *block) read(r store.Getter, c uint32, first int64, set bits) (s *stored, err error) {
	err = readData(r, c, first, itsPayload, func(payload []byte) (err error) {
		s, err = b.part(payload, set)
		return err
	})
	return s, err
}

// part returns a copy of the chunks of a payload that have the objects of a set.
func (b *block) part(payload []byte, set bits) (*stored, error) {
	s, err := b.over(payload)
	if err != nil {
		return nil, err
	}
	return s.only(set), nil
}

// over returns what a payload holds; it is good as long as that is.
func (b *block) over(payload []byte) (*stored, error) {
	if len(b.pieces) != b.count {
		return nil, store.ErrDamaged
	}
	s, size := &stored{block: b, at: make([]int, len(b.chunks)), payload: payload, whole: true}, 0
	for i, c := range b.chunks {
		s.at[i], size = size, size+c.size
	}
	if size != len(payload) {
		return nil, store.ErrDamaged
	}
	return s, nil
}

// only returns a copy of the chunks that have the objects of a set; all of these are there.
func (s *stored) only(set bits) *stored {
	at, size := s.chunked(set, func(c chunk) int { return c.size })
	out := &stored{block: s.block, at: at, whole: s.whole && size == len(s.payload)}
	if size == len(s.payload) {
		out.payload = bytes.Clone(s.payload) // which is faster than to make room and fill it
		return out
	}
	out.payload = make([]byte, 0, size)
	for i, c := range s.chunks {
		if out.at[i] >= 0 {
			out.payload = append(out.payload, s.payload[s.at[i]:s.at[i]+c.size]...)
		}
	}
	return out
}

// chunked tells of the chunks that have objects of a set where each starts when they stand one behind the
// other, -1 for others, and what they take together.
func (b *block) chunked(set bits, size func(chunk) int) (at []int, all int) {
	at = make([]int, len(b.chunks))
	for i := range set.all(len(b.pieces)) {
		at[b.pieces[i].chunk] = 1
	}
	for i, c := range b.chunks {
		if at[i] == 0 {
			at[i] = -1
			continue
		}
		at[i], all = all, all+size(c)
	}
	return at, all
}

// size is what the block takes in the cache, in bytes, about.
func (s *stored) size() int64 {
	return int64(400 + len(s.payload) + len(s.starts) + 12*len(s.pieces) + 32*len(s.chunks))
}

// appendTo appends the objects of a set to dst, in their order, each with a comma behind it.
func (s *stored) appendTo(dst []byte, set bits) ([]byte, error) {
	lent := borrow()
	defer giveBack(lent)
	at, all := s.chunked(set, func(c chunk) int { return c.raw })
	text := slices.Grow(*lent, all)[:all]
	*lent = text
	for i, c := range s.chunks {
		if at[i] < 0 {
			continue
		}
		if s.at[i] < 0 {
			return dst, store.ErrDamaged
		}
		if err := unpack(text[at[i]:at[i]+c.raw], s.payload[s.at[i]:s.at[i]+c.size]); err != nil {
			return dst, err
		}
	}
	for i := range set.all(len(s.pieces)) {
		p := &s.pieces[i]
		start := at[p.chunk] + int(p.from)
		dst = append(dst, text[start:start+int(p.size)+1]...)
	}
	return dst, nil
}

// unpack decompresses a chunk, which has to fill the text.
func unpack(text, packed []byte) error {
	if n, err := s2.DecodedLen(packed); err != nil || n != len(text) {
		return errors.Join(err, store.ErrDamaged)
	}
	if _, err := s2.Decode(text, packed); err != nil {
		return fmt.Errorf("%w: %w", store.ErrDamaged, err)
	}
	return nil
}

// object returns one object.
func (s *stored) object(i int) ([]byte, error) {
	if i >= len(s.pieces) {
		return nil, store.ErrDamaged
	}
	raw, err := s.appendTo(nil, oneBit(i))
	if err != nil {
		return nil, err
	}
	return raw[:len(raw)-1], nil // without its comma
}
