package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// scan goes along the blocks that have what is wanted.
func (r *reader) scan() error {
	kind, named := byte('v'), true
	if r.onlyLast() {
		kind, named = 'l', false
	}
	if len(r.q.SpecVersions) > 0 {
		named = true
		if r.x.isMixed(r.c) { // what is marked as latest is so of the newest STIX
			kind = 'v'
		}
	}
	marked, err := r.under(collectionKey(kind, r.c))
	if err != nil {
		return err
	}
	way := blocks(marked)
	if kind == 'l' {
		way = newLiveBlocks(r.live, marked)
	}
	var types []*sets
	for _, typ := range slices.Compact(slices.Sorted(slices.Values(r.q.Types))) {
		s, err := r.under(typeKey(r.c, typ))
		if err != nil {
			return err
		}
		types = append(types, s)
	}
	var again *sets
	if r.q.Facts {
		if again, err = r.under(collectionKey('r', r.c)); err != nil {
			return err
		}
	}
	first, ok, err := way.before(r.after) // which may have something behind it
	if !ok && err == nil {
		first, ok, err = way.next(r.after + 1)
	}
	for ; ok && err == nil; first, ok, err = way.next(first + 1) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		var of bits
		if len(types) > 0 {
			near, has, err := nearest(types, first)
			if err != nil || !has {
				return err
			}
			if near > first { // what only one of the two has is not gone along
				first = near - 1
				continue
			}
			for _, s := range types {
				set, err := s.of(first)
				if err != nil {
					return err
				}
				of = of.union(set)
			}
		}
		set, err := marked.of(first)
		if err == nil && types != nil {
			set = of.intersect(set)
		}
		if err == nil && again != nil {
			var later bits
			later, err = again.of(first)
			set.subtract(later)
		}
		if err == nil {
			err = r.take(first, set, named)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// under opens the sets under a prefix of keys, which are closed with the reader.
func (r *reader) under(prefix []byte) (*sets, error) {
	s, err := newSets(r.db, prefix)
	if err == nil {
		r.sets = append(r.sets, s)
	}
	return s, err
}

// nearest is the first block from one on that any of the sets has.
func nearest(list []*sets, from int64) (first int64, found bool, err error) {
	for _, s := range list {
		at, ok, err := s.next(from)
		if err != nil {
			return 0, false, err
		}
		if ok && (!found || at < first) {
			first, found = at, true
		}
	}
	return first, found, nil
}

// take takes what is wanted of one block: of the positions in a set, which is the page's from then on. named says that
// what tells the objects apart has to be looked at.
func (r *reader) take(first int64, set bits, named bool) error {
	for i := range min(int64(8*len(set)), r.after-first+1) {
		set.clear(int(i))
	}
	if set.empty() {
		return nil
	}
	if r.kept >= maxKept {
		return errFull
	}
	b, err := r.known(first)
	if err != nil {
		return err
	}
	if _, end := set.ends(8 * len(set)); end > b.count {
		return fmt.Errorf("block at %d: %w", first, store.ErrDamaged)
	}
	p := part{block: b, first: first, set: set}
	if b.pieces == nil { // it is a reference to intake
		if p.objects, err = r.x.stored(r.ctx, &r.data, r.c, first, b, set); err != nil {
			return err
		}
		p.block = p.objects.block
	}
	if err := r.choosePart(&p, named); err != nil {
		return err
	}
	full := r.fit(&p)
	if !p.set.empty() {
		if err := r.keep(p); err != nil {
			return err
		}
	}
	if !full && r.scanned >= maxScanned && r.count > 0 {
		r.reached, full = micros(first+int64(b.count)-1), true
	}
	if full {
		return errFull
	}
	return nil
}

// known returns what is known of a block.
func (r *reader) known(first int64) (*block, error) {
	if s := r.x.cache.get(cacheKey{r.c, first}); s != nil {
		return s.block, nil
	}
	return readBlock(&r.data, r.c, first)
}

// choosePart leaves in a part what the query is after.
func (r *reader) choosePart(p *part, named bool) (err error) {
	var all names
	if named || r.q.Facts {
		if all.B, err = r.names(p.first); err != nil {
			return err
		}
		p.names = all.B
	}
	if !named && r.q.Match == nil {
		return nil
	}
	var texts []byte
	if r.q.Match != nil { // all at once: a chunk is not decompressed for each of its objects
		if err := r.load(p); err != nil {
			return err
		}
		text := borrow()
		defer giveBack(text)
		if texts, err = p.objects.appendTo(*text, p.set); err != nil {
			return err
		}
		*text = texts
	}
	for i := range p.count {
		var n name
		if named {
			if n = all.next(); all.Bad {
				return store.ErrDamaged
			}
		}
		if !p.set.has(i) {
			continue
		}
		r.scanned++
		wanted := true
		if named {
			if wanted, err = r.wanted(&n); err != nil {
				return err
			}
		}
		if r.q.Match != nil {
			size := int(p.pieces[i].size)
			wanted = wanted && r.q.Match.Object(texts[:size])
			texts = texts[size+1:]
		}
		if !wanted {
			p.set.clear(i)
		}
	}
	return nil
}

// wanted decides whether the query is after a name.
func (r *reader) wanted(n *name) (bool, error) {
	if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, n.id.SpecName()) {
		return false, nil
	}
	ver, err := key.ParseVersion(n.version)
	if err != nil {
		return false, errors.Join(err, store.ErrDamaged)
	}
	return r.wants(n.id, ver)
}

// fit leaves in a part what the page has room for, and reports whether that is not all. What belongs together with an
// object that has no room stays out with it, unless that is all there is.
func (r *reader) fit(p *part) (full bool) {
	count, size := r.count, r.size
	for i := range p.set.all(p.count) {
		more := int(p.pieces[i].size)
		if full = count >= r.q.Limit || count > 0 && size+more > cmp.Or(r.q.Bytes, maxBytes); full {
			p.set.keep(i)
			if start := p.starts.from(i); len(r.q.IDs) == 0 && (r.count > 0 || p.set.any(0, start)) {
				p.set.keep(start)
			}
			break
		}
		count, size = count+1, size+more
	}
	for i := range p.set.all(p.count) {
		r.count++
		p.size += int(p.pieces[i].size)
	}
	r.size += p.size
	return full
}

// keep makes a part one of the page's.
func (r *reader) keep(p part) error {
	if r.q.Facts {
		p.objects = nil
	} else {
		p.names = nil
		if err := r.load(&p); err != nil {
			return err
		}
		r.kept += len(p.objects.payload)
	}
	r.kept += len(p.names) + 12*len(p.pieces)
	r.parts = append(r.parts, p)
	return nil
}

// load sees to it that a part has its objects.
func (r *reader) load(p *part) (err error) {
	if p.objects == nil {
		p.objects, err = r.x.stored(r.ctx, &r.data, r.c, p.first, p.block, p.set)
	}
	return err
}

// names returns what tells the objects of a block apart.
func (r *reader) names(first int64) (list []byte, err error) {
	err = readData(&r.data, r.c, first, itsNames, func(value []byte) error {
		list = bytes.Clone(value)
		return nil
	})
	return list, err
}
