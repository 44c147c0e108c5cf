package index

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// What the journal may have lost of a block, the view has: its headers beside the objects.

// Keep keeps a block's headers, and what a control block holds.
func (w *Writer) Keep(b *record.Block) {
	header := record.EncodeHeader(b.Header())
	value := binary.AppendUvarint(make([]byte, 0, len(header)+binary.MaxVarintLen32), uint64(len(header)))
	value = append(value, header...)
	if b.Control != "" {
		value = append(value, b.Payload...)
	}
	store.Set(w.b, factsKey(w.c, b.Number), value)
}

// Whole calls each with the blocks that were appended at some sequences of the journal and that have lost no object since. A
// block with objects has no payload: it is made of their texts.
func (x *Index) Whole(at map[uint64]bool, each func(b *record.Block, objects [][]byte) error) error {
	x.mu.Lock()
	all := slices.Sorted(maps.Values(x.numbers))
	x.mu.Unlock()
	for _, c := range all {
		err := store.EachUnder(x.db, collectionKey('q', c), func(number, value []byte) (bool, error) {
			if len(number) != 8 || len(value) != 16 {
				return false, store.ErrDamaged
			}
			sequence := binary.BigEndian.Uint64(value)
			if !at[sequence] {
				return true, nil
			}
			b, err := x.kept(c, binary.BigEndian.Uint64(number))
			if err != nil || b == nil {
				return true, err
			}
			if b.Sequence = sequence; b.Trimmed {
				return true, each(b, nil)
			}
			objects, whole, err := x.objectsOf(c, firstOf(value), b)
			if err != nil || !whole {
				return true, err
			}
			return true, each(b, objects)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// kept is a block as Keep has kept it, nil where it has not.
func (x *Index) kept(c uint32, number uint64) (*record.Block, error) {
	value, found, err := store.Get(x.db, factsKey(c, number))
	if err != nil || !found {
		return nil, err
	}
	r := store.Reads{B: value}
	text := r.Take(r.Int())
	if r.Bad {
		return nil, store.ErrDamaged
	}
	header, err := record.DecodeHeader(text)
	if err != nil {
		return nil, err
	}
	return record.ParseBlock(header, r.B)
}

// objectsOf are the texts of a block's objects; whole says that none has left it.
func (x *Index) objectsOf(c uint32, first int64, b *record.Block) (objects [][]byte, whole bool, err error) {
	if b.Control != "" {
		return nil, true, nil
	}
	there, _, err := store.Get(x.db, blockKey('v', c, first))
	gone := allBits(b.Count)
	gone.subtract(there)
	if err != nil || len(b.Removed) > 0 || !gone.empty() {
		return nil, false, err
	}
	known, err := readBlock(x.db, c, first)
	if err != nil {
		return nil, false, err
	}
	if known.intake != 0 || known.count != b.Count {
		return nil, false, nil
	}
	s, err := known.read(x.db, c, first, allBits(b.Count))
	if err != nil {
		return nil, false, err
	}
	for i := range b.Count {
		o, err := s.object(i)
		if err != nil {
			return nil, false, err
		}
		objects = append(objects, o)
	}
	return objects, true, nil
}
