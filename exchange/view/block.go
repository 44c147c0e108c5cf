package view

import (
	"bytes"
	"container/list"
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
)

// stored is one object of a decoded block.
type stored struct {
	raw   []byte
	brief stix.Brief
}

// decoded is a block ready to be read.
type decoded struct {
	*block
	objects []stored
	size    int64
}

// decode returns a block's objects, from the cache where they are there.
func (v *View) decode(ctx context.Context, c uint32, first int64) (*decoded, error) {
	key := cacheKey{c, first}
	if d := v.cache.get(key); d != nil {
		return d, nil
	}
	b, err := v.readBlock(c, first)
	if err != nil {
		return nil, err
	}
	d := &decoded{block: b}
	if b.intake != 0 {
		in, err := v.Intake(b.intake)
		if err != nil {
			return nil, err
		}
		if d.objects, _, _, err = v.packaged(ctx, in); err != nil {
			return nil, err
		}
		for i := range d.objects {
			d.size += int64(len(d.objects[i].raw))
		}
	} else {
		text, err := v.opt.Decompress(b.payload)
		if err != nil {
			return nil, err
		}
		d.objects = make([]stored, 0, b.count)
		if !stix.Scan(text, func(raw []byte, brief stix.Brief) { d.objects = append(d.objects, stored{raw, brief}) }) {
			return nil, ErrDamaged
		}
		d.size = int64(len(text))
	}
	b.starts, b.payload = slices.Clone(b.starts), nil // nothing keeps the record
	if len(d.objects) != b.count {
		return nil, fmt.Errorf("block at %d has %d objects, not %d: %w", first, len(d.objects), b.count, ErrDamaged)
	}
	d.size += int64(len(d.objects)) * 128
	v.cache.put(key, d)
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

// packaged returns the objects of the feed's own collection that an intake
// record stands for, each address once; where its groups start, and which it
// cannot have had before.
func (v *View) packaged(ctx context.Context, in *exchange.Intake) (out []stored, starts, news bits, err error) {
	own := exchange.FeedCollection(in.Feed)
	shares, err := v.opt.Shares(ctx, in, func(collection string) bool { return collection == own })
	if err != nil || len(shares) == 0 {
		return nil, nil, nil, err
	}
	seen := make(map[string]bool)
	add := func(o exchange.Object) error {
		// The library's objects have their keys in another order; both scan.
		brief, ok := stix.ScanBrief(bytes.TrimSpace(o.Raw))
		if !ok {
			return fmt.Errorf("package object %d: %w", len(out), ErrDamaged) // the id itself can tell an address
		}
		if o.New {
			news = news.grown(len(out))
			news.set(len(out))
		}
		out = append(out, stored{raw: o.Raw, brief: brief})
		return nil
	}
	for _, g := range shares[0].Groups {
		starts = starts.grown(len(out))
		starts.set(len(out))
		for _, o := range g.Needs {
			if seen[o.ID] {
				continue
			}
			seen[o.ID] = true
			if err := add(o); err != nil {
				return nil, nil, nil, err
			}
		}
		for _, o := range g.Objects {
			if err := add(o); err != nil {
				return nil, nil, nil, err
			}
		}
	}
	return out, starts, news, nil
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
	if c.byKey[key] != nil || d.size > c.limit {
		return
	}
	c.byKey[key] = c.order.PushFront(&cached{key, d})
	c.size += d.size
	for c.size > c.limit {
		last := c.order.Back()
		old := last.Value.(*cached)
		c.order.Remove(last)
		delete(c.byKey, old.key)
		c.size -= old.d.size
	}
}
