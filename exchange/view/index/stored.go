package index

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/maypok86/otter/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// stored returns at least those objects of a block that are in a set, from the cache where it has them. Blocks that are wanted
// whole are offered to the cache, which keeps what is wanted again and again; a part of one takes less time than looking after
// it.
func (x *Index) stored(ctx context.Context, r store.Getter, c uint32, first int64, b *block, set bits) (*stored, error) {
	key := cacheKey{c, first}
	if s := x.cache.get(key); s != nil {
		return s, nil
	}
	var s *stored
	var err error
	if b.intake != 0 {
		s, err = x.unpackage(ctx, b)
	} else {
		s, err = b.read(r, c, first, set)
	}
	if err != nil {
		return nil, fmt.Errorf("block at %d: %w", first, err)
	}
	if s.whole {
		x.cache.Set(key, s)
	}
	return s, nil
}

// unpackage makes the objects that an intake record stands for.
func (x *Index) unpackage(ctx context.Context, b *block) (*stored, error) {
	shares, err := x.opt.Package(ctx, b.intake)
	if err != nil {
		return nil, err
	}
	own := ownOf(shares)
	if len(own.objects) != b.count {
		return nil, store.ErrDamaged
	}
	made := *b
	made.pieces, made.chunks = nil, nil // it has them where it comes from the cache, which has lost it since
	var p packing
	p.reset()
	for i := range own.objects {
		p.add("", own.objects[i].Raw)
	}
	p.pack(&made)
	return made.part(p.out, allBits(made.count))
}

// readBlock returns a block's record.
func readBlock(r store.Getter, c uint32, first int64) (b *block, err error) {
	err = readData(r, c, first, itsRecord, func(value []byte) (err error) {
		b, err = decodeBlock(value)
		return err
	})
	return b, err
}

// readData calls f with what is kept of a block, which is good until f returns.
func readData(r store.Getter, c uint32, first int64, its byte, f func(value []byte) error) error {
	err := store.With(r, dataKey(c, first, its), f)
	if errors.Is(err, pebble.ErrNotFound) {
		return fmt.Errorf("the %s of the block at %d is not there: %w", [...]string{"record", "names", "payload"}[its], first, store.ErrDamaged)
	}
	return err
}

// nearby is a store.Getter of what is kept of a collection's blocks, for who goes along them: it looks from where it is.
type nearby struct {
	db pebble.Reader
	c  uint32
	it *pebble.Iterator // nil before the first look
}

// Get implements store.Getter.
func (a *nearby) Get(key []byte) (value []byte, closer io.Closer, err error) {
	if a.it == nil {
		if a.it, err = store.Under(a.db, collectionKey('b', a.c)); err != nil {
			return nil, nil, err
		}
	}
	if !a.it.SeekGE(key) || !bytes.Equal(a.it.Key(), key) {
		return nil, nil, cmp.Or(a.it.Error(), pebble.ErrNotFound)
	}
	value, err = a.it.ValueAndErr()
	return value, io.NopCloser(nil), err
}

// Close ends it.
func (a *nearby) Close() error {
	if a.it == nil {
		return nil
	}
	return a.it.Close()
}

// ownShare is what an intake record stands for in the feed's own collection.
type ownShare struct {
	objects      []record.Object // each address once
	starts, news bits            // where groups start, and what the collection cannot have had before
	label        tlp.Level       // the highest
}

func ownOf(shares []record.Share) (p ownShare) {
	if len(shares) == 0 {
		return p
	}
	p.label = shares[0].Label
	n := 0
	for _, g := range shares[0].Groups {
		n += len(g.Needs) + len(g.Objects)
	}
	p.objects = make([]record.Object, 0, n)
	seen := make(map[string]bool, len(shares[0].Groups))
	add := func(o record.Object) {
		if o.New {
			p.news = p.news.grown(len(p.objects))
			p.news.set(len(p.objects))
		}
		p.objects = append(p.objects, o)
	}
	for _, g := range shares[0].Groups {
		p.starts = p.starts.grown(len(p.objects))
		p.starts.set(len(p.objects))
		for _, o := range g.Needs {
			if !seen[o.ID] {
				seen[o.ID] = true
				add(o)
			}
		}
		for _, o := range g.Objects {
			add(o)
		}
	}
	return p
}

// blockCache keeps blocks as they are stored, up to a number of bytes: those that are wanted again and again.
type blockCache struct {
	*otter.Cache[cacheKey, *stored]
}

type cacheKey struct {
	c     uint32
	first int64
}

func newBlockCache(limit int64) blockCache {
	return blockCache{otter.Must(&otter.Options[cacheKey, *stored]{
		MaximumWeight: uint64(limit), Weigher: func(_ cacheKey, s *stored) uint32 { return uint32(s.size()) },
	})}
}

// get returns a block, nil where it is not there.
func (c blockCache) get(key cacheKey) *stored {
	s, _ := c.GetIfPresent(key)
	return s
}

// Block says where a collection's block is.
type Block struct {
	// Sequence is its place in the journal: among blocks, or, for a feed's own
	// collection, in intake.
	Sequence uint64
	// Added is the date_added of its first object.
	Added time.Time
}

// Block returns where a collection's block is, and false where there is no such
// block.
func (x *Index) Block(collection string, number uint64) (Block, bool, error) {
	c, ok := x.Number(collection)
	if !ok {
		return Block{}, false, nil
	}
	value, found, err := store.Get(x.db, sequenceKey(c, number))
	if err != nil || !found || len(value) != 16 {
		return Block{}, false, err
	}
	return Block{Sequence: binary.BigEndian.Uint64(value), Added: micros(int64(binary.BigEndian.Uint64(value[8:])))}, true, nil
}
