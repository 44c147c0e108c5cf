package view

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// scan walks over the blocks that have what is wanted.
func (r *reader) scan() error {
	kind := byte('v')
	if r.latest {
		kind = 'l'
	}
	if len(r.q.Types) > 0 {
		return r.ofTypes(kind)
	}
	return r.walk(collectionKey(kind, r.c), func(first int64, set bits) error { return r.block(first, slices.Clone(set)) })
}

// walk calls each with the sets under a prefix that may have something behind
// where the page starts.
func (r *reader) walk(prefix []byte, each func(first int64, set bits) error) (err error) {
	it, err := under(r.db, prefix)
	if err != nil {
		return err
	}
	defer func() { err = cmp.Or(it.Close(), err) }() // a page that failed is not full
	for ok := r.seek(it, prefix); ok; ok = r.next(it, prefix) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		set, err := it.ValueAndErr()
		if err == nil {
			err = each(firstOf(it.Key()), set)
		}
		if err != nil {
			return err
		}
	}
	return it.Error()
}

// under iterates over the keys under a prefix.
func under(db pebble.Reader, prefix []byte) (*pebble.Iterator, error) {
	upper := slices.Clone(prefix)
	for i := len(upper) - 1; ; i-- { // never all 0xff: it starts with a letter
		if upper[i]++; upper[i] != 0 {
			break
		}
	}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	return it, nil
}

// seek goes to the first set that may have something behind where the page
// starts.
func (r *reader) seek(it *pebble.Iterator, prefix []byte) bool {
	before := r.after + 1
	i, in := gapAt(r.gaps, max(r.after, 0))
	if in { // the block before it can reach into it
		before = r.gaps[i].from
	}
	ok := before > 0 && it.SeekLT(setKey(prefix, before))
	switch {
	case it.Error() != nil:
		return false
	case !ok && in:
		return it.SeekGE(setKey(prefix, r.gaps[i].to))
	case !ok:
		return it.First()
	}
	for ok {
		set := it.LazyValue() // how long it is, is known without a look at it
		if firstOf(it.Key())+int64(set.Len()*8) > r.after {
			break
		}
		ok = r.next(it, prefix)
	}
	return ok
}

// ofTypes walks over the blocks that have objects of the wanted types, and latest ones, or any.
func (r *reader) ofTypes(kind byte) (err error) {
	var its []*pebble.Iterator
	var prefixes [][]byte
	defer func() {
		for _, it := range its {
			err = cmp.Or(it.Close(), err) // as in walk
		}
	}()
	types := slices.Compact(slices.Sorted(slices.Values(r.q.Types)))
	prefixes = append(prefixes, collectionKey(kind, r.c))
	for _, typ := range types {
		prefixes = append(prefixes, typeKey(r.c, typ))
	}
	for _, prefix := range prefixes {
		it, err := under(r.db, prefix)
		if err != nil {
			return err
		}
		its = append(its, it)
		r.seek(it, prefix)
	}
	// Each goes to where the others are: what only one has is not walked over.
	all := its[0]
	for all.Valid() {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first, nearest := firstOf(all.Key()), int64(math.MaxInt64)
		var of bits
		for i, it := range its[1:] {
			if it.Valid() && firstOf(it.Key()) < first && it.Next() && firstOf(it.Key()) < first {
				it.SeekGE(setKey(prefixes[i+1], first))
			}
			switch {
			case !it.Valid():
				if it.Error() != nil {
					return it.Error()
				}
				continue
			case firstOf(it.Key()) == first:
				set, err := it.ValueAndErr()
				if err != nil {
					return err
				}
				of = of.union(set)
			}
			nearest = min(nearest, firstOf(it.Key()))
		}
		switch {
		case nearest == math.MaxInt64:
			return nil
		case nearest > first:
			r.from(all, prefixes[0], nearest)
			continue
		}
		set, err := all.ValueAndErr()
		if err == nil {
			err = r.block(first, of.intersect(set))
		}
		if err != nil {
			return err
		}
		r.next(all, prefixes[0])
	}
	return all.Error()
}

// block takes what is wanted of one block; set are the positions to look at, and
// is the page's from then on.
func (r *reader) block(first int64, set bits) error {
	if r.kept >= maxKept {
		return errFull
	}
	b, err := r.known(first)
	if err != nil {
		return err
	}
	for i := range min(int64(b.count), r.after-first+1) {
		set.clear(int(i))
	}
	for _, a := range b.earlier {
		if first+int64(a.i) <= r.after {
			continue
		}
		if before := a.before.added(); before > r.since {
			set.clear(a.i) // the reader has met it there
			r.high = min(r.high, before)
		} else {
			r.low = max(r.low, before)
		}
	}
	if set.empty() {
		return nil
	}
	var s *stored
	if b.pieces == nil { // it is a reference to intake
		if s, err = r.v.stored(r.ctx, &r.data, r.c, first, b, set); err != nil {
			return err
		}
		b = s.block
	}
	full := r.plain && r.choose(b, set)
	if !set.empty() {
		p := part{block: b, first: first, objects: s, set: set}
		if r.plain {
			err = r.whole(p)
		} else {
			err = r.each(p, r.latest)
		}
		if err != nil {
			return err
		}
	}
	if full {
		return errFull
	}
	return nil
}

// known returns what is known of a block.
func (r *reader) known(first int64) (*block, error) {
	if s := r.v.cache.get(cacheKey{r.c, first}); s != nil {
		return s.block, nil
	}
	return readBlock(&r.data, r.c, first)
}

// room reports whether the page has room for one more object.
func (r *reader) room(count, size, more int) bool {
	return count < r.q.Limit && (count == 0 || size+more <= cmp.Or(r.q.Bytes, maxBytes))
}

// choose leaves in the set what the page has room for, and reports whether that
// is not all. What belongs together with an object that has no room stays out
// with it, unless that is all there is.
func (r *reader) choose(b *block, set bits) (full bool) {
	count, size := r.count, r.size
	for i := range set.all(b.count) {
		if !r.room(count, size, int(b.pieces[i].size)) {
			set.keep(i)
			if start := b.starts.from(i); r.count > 0 || set.any(0, start) {
				set.keep(start)
			}
			return true
		}
		count, size = count+1, size+int(b.pieces[i].size)
	}
	return false
}

// load sees to it that a part has its objects, or their names, where they are wanted.
func (r *reader) load(p *part, named bool) (err error) {
	if p.objects == nil && (!r.q.Facts || r.q.Match != nil) {
		if p.objects, err = r.v.stored(r.ctx, &r.data, r.c, p.first, p.block, p.set); err != nil {
			return err
		}
	}
	if named || r.q.Facts {
		err = readData(&r.data, r.c, p.first, itsNames, func(value []byte) error {
			p.names = bytes.Clone(value)
			return nil
		})
	}
	return err
}

// keep makes a part one of the page's.
func (r *reader) keep(p part) {
	r.parts = append(r.parts, p)
	r.kept += len(p.names) + 12*len(p.pieces)
	if p.objects != nil {
		r.kept += len(p.objects.payload)
	}
}

// each takes what is wanted of what is in the set of a part. chosen says that their versions are those that
// are wanted, and their types are.
func (r *reader) each(p part, chosen bool) (err error) {
	l := look{taken: p, from: p.set, chosen: chosen, named: !chosen || len(r.q.SpecVersions) > 0}
	if err := r.load(&l.taken, l.named); err != nil {
		return err
	}
	l.names.b, l.taken.set = l.taken.names, make(bits, len(p.set))
	if r.q.Match != nil { // all at once: a chunk is not decompressed for each of its objects
		text := borrow()
		defer giveBack(text)
		if l.texts, err = l.taken.objects.appendTo(*text, p.set); err != nil {
			return err
		}
		*text = l.texts
	}
	err = r.look(&l)
	if !l.taken.set.empty() {
		if r.q.Facts {
			l.taken.objects = nil
		} else if l.taken.names = nil; !l.taken.objects.mostly(l.taken.set) { // the page is kept until it is read
			l.taken.objects = l.taken.objects.only(l.taken.set)
		}
		r.keep(l.taken)
	}
	return err
}

// look is a part that is being looked at, object by object.
type look struct {
	taken         part
	from          bits // what is looked at
	names         names
	texts         []byte // of the objects that are looked at, where they have to be read
	chosen, named bool
}

func (r *reader) look(l *look) (err error) {
	p := &l.taken
	for i := range p.count {
		var n name
		if l.named {
			if n = l.names.next(); l.names.bad {
				return ErrDamaged
			}
		}
		if !l.from.has(i) {
			continue
		}
		size, wanted := int(p.pieces[i].size), true
		if l.named {
			if wanted, err = r.wanted(&n, l.chosen); err != nil {
				return err
			}
		}
		if r.q.Match != nil {
			wanted = wanted && r.q.Match.Object(l.texts[:size])
			l.texts = l.texts[size+1:]
		}
		if wanted && !r.room(r.count, r.size, size) {
			if len(r.q.IDs) == 0 {
				r.cut(p, i)
			}
			return errFull
		}
		if wanted {
			p.set.set(i)
			p.size += size
			r.count, r.size = r.count+1, r.size+size
		}
		if r.scanned++; r.scanned >= maxScanned && r.count > 0 {
			r.reached = micros(p.first + int64(i))
			return errFull
		}
	}
	return nil
}

// whole takes all that is in the set of a part.
func (r *reader) whole(p part) (err error) {
	count := 0
	for i := range p.set.all(p.count) {
		count, p.size = count+1, p.size+int(p.pieces[i].size)
	}
	if !r.q.Facts && r.ready == len(r.parts) && r.size+p.size <= maxWritten {
		err = r.write(&p)
	} else {
		err = r.load(&p, false)
	}
	if err != nil {
		return err
	}
	r.count, r.size = r.count+count, r.size+p.size
	r.keep(p)
	return nil
}

// cut takes off the page's end, which a part is, what belongs together with the object at which it
// became full, unless that is all there is.
func (r *reader) cut(p *part, i int) {
	start := p.starts.from(i)
	if len(r.parts) == 0 && !p.set.any(0, start) {
		return
	}
	for ; start < i; start++ {
		if p.set.has(start) {
			p.set.clear(start)
			size := int(p.pieces[start].size)
			p.size, r.count, r.size = p.size-size, r.count-1, r.size-size
		}
	}
}

// wanted decides whether the query is after a name. chosen says that its version is one of those that
// are wanted.
func (r *reader) wanted(n *name, chosen bool) (bool, error) {
	if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, n.id.specName()) {
		return false, nil
	}
	if chosen {
		return true, nil
	}
	ver, err := versionNamed(n.version)
	if err != nil {
		return false, errors.Join(err, ErrDamaged)
	}
	return r.wants(n.id, ver)
}
