package view

import (
	"bytes"
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// decoded is a block ready to be read, or a part of it: objects from base on, each
// with a comma behind it, and where each starts; the last place is the end.
type decoded struct {
	*block
	base int
	text []byte
	at   []int
}

// has reports whether the objects from i up to j are there.
func (d *decoded) has(i, j int) bool { return d.base <= i && j-d.base < len(d.at) }

// run returns the objects from i up to j, joined by commas.
func (d *decoded) run(i, j int) []byte {
	start, end := d.at[i-d.base], d.at[j-d.base]-1
	return d.text[start:end:end]
}

// own returns a run for a page to keep. A small part of a text that nothing else
// keeps is copied: a page is not to hold on to many times what it has.
func (d *decoded) own(raw []byte) []byte {
	if whole := d.has(0, d.count); !whole && len(raw) < len(d.text)/4 {
		return bytes.Clone(raw)
	}
	return raw
}

func (d *decoded) size() int64 { return int64(len(d.text) + 16*d.count + 32*len(d.earlier)) }

// decode returns the objects of a block at from up to to at least, from the cache
// where they are there. Blocks that are wanted whole go into it; a part of one
// takes less time than looking after it.
func (v *View) decode(ctx context.Context, c uint32, first int64, b *block, from, to int) (*decoded, error) {
	key := cacheKey{c, first}
	d := v.cache.get(key)
	if d != nil && d.has(from, to) {
		return d, nil
	}
	var err error
	if b.intake != 0 {
		d, err = v.unpackage(ctx, b)
	} else {
		err = v.payload(c, first, func(payload []byte) (err error) {
			d, err = b.unpack(payload, from, to)
			return err
		})
	}
	if err == nil && !d.has(from, to) {
		err = ErrDamaged
	}
	if err != nil {
		return nil, fmt.Errorf("block at %d: %w", first, err)
	}
	if d.has(0, d.count) {
		v.cache.put(key, d)
	}
	return d, nil
}

// unpackage makes the objects that an intake record stands for.
func (v *View) unpackage(ctx context.Context, b *block) (*decoded, error) {
	in, err := v.Intake(b.intake)
	if err != nil {
		return nil, err
	}
	own, err := v.packaged(ctx, in)
	if err != nil {
		return nil, err
	}
	objects := own.objects
	if len(objects) != b.count {
		return nil, ErrDamaged
	}
	total := 0
	for i := range objects {
		total += len(objects[i].Raw) + 1
	}
	facts := *b
	facts.lengths = make([]int, len(objects))
	d := &decoded{block: &facts, text: make([]byte, 0, total), at: make([]int, 1, len(objects)+1)}
	for i := range objects {
		facts.lengths[i] = len(objects[i].Raw)
		d.text = append(append(d.text, objects[i].Raw...), ',')
		d.at = append(d.at, len(d.text))
	}
	return d, nil
}

// readBlock returns a block's record.
func (v *View) readBlock(c uint32, first int64) (*block, error) {
	value, found, err := v.get(blockKey('b', c, first))
	if err == nil && !found {
		err = fmt.Errorf("block at %d is not there: %w", first, ErrDamaged)
	}
	if err != nil {
		return nil, err
	}
	return decodeBlock(value)
}

// ownShare is what an intake record stands for in the feed's own collection.
type ownShare struct {
	objects      []exchange.Object // each address once
	starts, news bits              // where groups start, and what the collection cannot have had before
	label        tlp.Level         // the highest
}

func (v *View) packaged(ctx context.Context, in *exchange.Intake) (p ownShare, err error) {
	own := exchange.FeedCollection(in.Feed)
	shares, err := v.opt.Shares(ctx, in, func(collection string) bool { return collection == own })
	if err != nil || len(shares) == 0 {
		return p, err
	}
	p.label = shares[0].Label
	seen := make(map[string]bool)
	add := func(o exchange.Object) {
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
	return p, nil
}

// blockCache keeps decoded blocks, the least recently used going first, up to a
// number of bytes.
type blockCache struct {
	mu    sync.Mutex
	limit int64
	size  int64
	order list.List // of *cached, most recent in front
	byKey map[cacheKey]*list.Element
}

type cacheKey struct {
	c     uint32
	first int64
}

type cached struct {
	key cacheKey
	d   *decoded
}

func newBlockCache(limit int64) *blockCache {
	return &blockCache{limit: limit, byKey: make(map[cacheKey]*list.Element)}
}

func (c *blockCache) get(key cacheKey) *decoded {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).d
}

func (c *blockCache) put(key cacheKey, d *decoded) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key] != nil || d.size() > c.limit {
		return
	}
	c.byKey[key] = c.order.PushFront(&cached{key, d})
	c.size += d.size()
	for c.size > c.limit {
		last := c.order.Back()
		old := last.Value.(*cached)
		c.order.Remove(last)
		delete(c.byKey, old.key)
		c.size -= old.d.size()
	}
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
func (v *View) Block(collection string, number uint64) (Block, bool, error) {
	c, ok := v.number(collection)
	if !ok {
		return Block{}, false, nil
	}
	value, found, err := v.get(sequenceKey(c, number))
	if err != nil || !found || len(value) != 16 {
		return Block{}, false, err
	}
	return Block{Sequence: binary.BigEndian.Uint64(value), Added: micros(int64(binary.BigEndian.Uint64(value[8:])))}, true, nil
}
