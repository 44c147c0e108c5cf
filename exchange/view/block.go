package view

import (
	"container/list"
	"context"
	"fmt"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// decoded is a block ready to be read: its objects, each with a comma behind it,
// and where each starts; the last place is the end.
type decoded struct {
	*block
	text []byte
	at   []int
}

// run returns the objects from i up to j, joined by commas.
func (d *decoded) run(i, j int) []byte { return d.text[d.at[i] : d.at[j]-1 : d.at[j]-1] }

func (d *decoded) size() int64 { return int64(len(d.text) + 16*d.count + 32*len(d.earlier)) }

// decode returns a block's objects, from the cache where they are there. known
// is what was read of the block already, or nil.
func (v *View) decode(ctx context.Context, c uint32, first int64, known *block) (*decoded, error) {
	key := cacheKey{c, first}
	if d := v.cache.get(key); d != nil {
		return d, nil
	}
	d := &decoded{block: known}
	var err error
	if known == nil {
		if d.block, err = v.readBlock(c, first); err != nil {
			return nil, err
		}
	}
	if d.intake != 0 {
		err = d.unpackage(ctx, v)
	} else {
		err = v.payload(c, first, func(payload []byte) (err error) {
			d.text, d.at, err = d.unpack(payload)
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	if len(d.at) != d.count+1 {
		return nil, fmt.Errorf("block at %d has %d objects, not %d: %w", first, len(d.at)-1, d.count, ErrDamaged)
	}
	v.cache.put(key, d)
	return d, nil
}

// unpackage makes the objects that an intake record stands for.
func (d *decoded) unpackage(ctx context.Context, v *View) error {
	in, err := v.Intake(d.intake)
	if err != nil {
		return err
	}
	objects, _, _, err := v.packaged(ctx, in)
	if err != nil {
		return err
	}
	total := 0
	for i := range objects {
		total += len(objects[i].Raw) + 1
	}
	d.text, d.at = make([]byte, 0, total), make([]int, 1, len(objects)+1)
	for i := range objects {
		d.text = append(append(d.text, objects[i].Raw...), ',')
		d.at = append(d.at, len(d.text))
	}
	return nil
}

// object returns one object of a block, without the others where that is less
// work.
func (v *View) object(ctx context.Context, c uint32, at place, known *block) (raw []byte, err error) {
	d := v.cache.get(cacheKey{c, at.first})
	if d == nil && known == nil {
		if known, err = v.readBlock(c, at.first); err != nil {
			return nil, err
		}
	}
	if d == nil && known.intake != 0 {
		if d, err = v.decode(ctx, c, at.first, known); err != nil {
			return nil, err
		}
	}
	if d != nil {
		if at.i >= d.count {
			return nil, ErrDamaged
		}
		return d.run(at.i, at.i+1), nil
	}
	err = v.payload(c, at.first, func(payload []byte) (err error) {
		raw, err = known.unpackOne(payload, at.i)
		return err
	})
	return raw, err
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
func (v *View) packaged(ctx context.Context, in *exchange.Intake) (out []exchange.Object, starts, news bits, err error) {
	own := exchange.FeedCollection(in.Feed)
	shares, err := v.opt.Shares(ctx, in, func(collection string) bool { return collection == own })
	if err != nil || len(shares) == 0 {
		return nil, nil, nil, err
	}
	seen := make(map[string]bool)
	add := func(o exchange.Object) {
		if o.New {
			news = news.grown(len(out))
			news.set(len(out))
		}
		out = append(out, o)
	}
	for _, g := range shares[0].Groups {
		starts = starts.grown(len(out))
		starts.set(len(out))
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
