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
	types   []string // of the objects
	sizes   map[string]int
	lanes   []lane
	out     []byte
}

// lane is what goes into chunks of its own.
type lane struct {
	typ     string // "" for what is not enough
	most    int    // how much goes into a chunk, so that all are of about the same size
	raw     []byte // the chunk that is being made
	objects []int  // what is in it
}

// add puts an object at the end. Its text has to stay as it is until the payload is made.
func (p *packing) add(typ string, raw []byte) {
	p.objects, p.types = append(p.objects, raw), append(p.types, typ)
	p.sizes[typ] += len(raw) + 1
}

// pack makes the payload of what was added, and notes in a block where each object is.
func (p *packing) pack(b *block) {
	rest := 0
	for _, size := range p.sizes {
		if size < laneSize {
			rest += size
		}
	}
	b.pieces = make([]piece, len(p.objects))
	for i, raw := range p.objects {
		l := p.lane(p.types[i], rest)
		b.pieces[i] = piece{from: int32(len(l.raw)), size: int32(len(raw))}
		l.raw = append(append(l.raw, raw...), ',') // as they stand in an answer
		if l.objects = append(l.objects, i); len(l.raw) >= l.most {
			p.end(b, l)
		}
	}
	for i := range p.lanes {
		if l := &p.lanes[i]; len(l.objects) > 0 {
			p.end(b, l)
		}
	}
}

// lane returns the one that an object goes into. rest is how much there is of types without one.
func (p *packing) lane(typ string, rest int) *lane {
	size := p.sizes[typ]
	if size < laneSize {
		typ, size = "", rest
	}
	at := slices.IndexFunc(p.lanes, func(l lane) bool { return l.typ == typ && l.most > 0 })
	if at < 0 {
		if at = slices.IndexFunc(p.lanes, func(l lane) bool { return l.most == 0 }); at < 0 {
			at = len(p.lanes)
			p.lanes = append(p.lanes, lane{})
		}
		p.lanes[at].typ, p.lanes[at].most = typ, size/(size/chunkSize+1)+1
	}
	return &p.lanes[at]
}

// end ends a chunk.
func (p *packing) end(b *block, l *lane) {
	for _, i := range l.objects {
		b.pieces[i].chunk = int32(len(b.chunks))
	}
	start := len(p.out)
	if need := start + s2.MaxEncodedLen(len(l.raw)); need > cap(p.out) {
		p.out = append(make([]byte, 0, 2*need), p.out...)
	}
	p.out = p.out[:start+len(s2.Encode(p.out[start:cap(p.out)], l.raw))]
	b.chunks = append(b.chunks, chunk{size: len(p.out) - start, raw: len(l.raw)})
	l.raw, l.objects = l.raw[:0], l.objects[:0]
}

// reset makes room for the next payload.
func (p *packing) reset() {
	clear(p.objects)
	if clear(p.sizes); p.sizes == nil {
		p.sizes = make(map[string]int)
	}
	for i := range p.lanes {
		if l := &p.lanes[i]; cap(l.raw) > 4*chunkSize {
			*l = lane{} // of an object that was very large
		} else {
			l.most = 0
		}
	}
	p.objects, p.types, p.out = p.objects[:0], p.types[:0], p.out[:0]
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
