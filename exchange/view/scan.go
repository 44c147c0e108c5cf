package view

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/stix"
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
	it, err := sets(r.db, prefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := r.seek(it, prefix); ok; ok = r.next(it, prefix) {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		if err := each(firstOf(it.Key()), it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}

// sets iterates over the blocks' sets under a prefix.
func sets(db pebble.Reader, prefix []byte) (*pebble.Iterator, error) {
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
	case !ok && in:
		return it.SeekGE(setKey(prefix, r.gaps[i].to))
	case !ok:
		return it.First()
	}
	for ok && firstOf(it.Key())+int64(len(it.Value())*8) <= r.after {
		ok = r.next(it, prefix)
	}
	return ok
}

// ofTypes walks over the blocks that have objects of the wanted types.
func (r *reader) ofTypes(kind byte) (err error) {
	var its []*pebble.Iterator
	var prefixes [][]byte
	defer func() {
		for _, it := range its {
			err = errors.Join(err, it.Close())
		}
	}()
	for _, typ := range slices.Compact(slices.Sorted(slices.Values(r.q.Types))) {
		prefix := typeKey(r.c, typ)
		it, err := sets(r.db, prefix)
		if err != nil {
			return err
		}
		its, prefixes = append(its, it), append(prefixes, prefix)
		r.seek(it, prefix)
	}
	for {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		first := int64(-1)
		for _, it := range its {
			if !it.Valid() && it.Error() != nil {
				return it.Error()
			}
			if it.Valid() && (first < 0 || firstOf(it.Key()) < first) {
				first = firstOf(it.Key())
			}
		}
		if first < 0 {
			return nil
		}
		var of bits
		for i, it := range its {
			if it.Valid() && firstOf(it.Key()) == first {
				of = of.union(it.Value())
				r.next(it, prefixes[i])
			}
		}
		set, found, err := get(r.db, blockKey(kind, r.c, first))
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		if err := r.block(first, of.intersect(set)); err != nil {
			return err
		}
	}
}

// block takes what is wanted of one block; set are the positions to look at, and
// is the page's from then on.
func (r *reader) block(first int64, set bits) error {
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
	from, to := set.ends(b.count)
	if from == to {
		return nil
	}
	var s *stored
	if b.lengths == nil { // it is a reference to intake
		if s, err = r.v.stored(r.ctx, r.c, first, b, from, to); err != nil {
			return err
		}
		b = s.block
	}
	full := false
	if r.plain {
		full = r.choose(b, set)
		from, to = set.ends(b.count)
	}
	if from < to {
		if s == nil {
			if s, err = r.v.stored(r.ctx, r.c, first, b, from, to); err != nil {
				return err
			}
		}
		if r.plain && !r.q.Facts {
			r.take(part{s, first, set})
		} else if err := r.each(s, first, set, r.latest); err != nil {
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
	return r.v.readBlock(r.c, first)
}

// room reports whether the page has room for one more object.
func (r *reader) room(count, size, more int) bool {
	return count < r.q.Limit && (count == 0 || size+more <= cmp.Or(r.q.Bytes, maxBytes))
}

// choose leaves in the set what the page has room for, and reports whether that
// is not all. What belongs together with an object that has no room stays out
// with it, unless that is all there is.
func (r *reader) choose(facts *block, set bits) (full bool) {
	count, size := r.count, r.size
	for i := range facts.count {
		if !set.has(i) {
			continue
		}
		if !r.room(count, size, facts.lengths[i]) {
			set.keep(i)
			if start := facts.starts.from(i); r.count > 0 || set.any(0, start) {
				set.keep(start)
			}
			return true
		}
		count, size = count+1, size+facts.lengths[i]
	}
	return false
}

// each takes what is wanted of a block object by object. chosen says that their versions
// are those that are wanted, and their types are.
func (r *reader) each(s *stored, first int64, set bits, chosen bool) (err error) {
	texts := !chosen || r.q.Facts || len(r.q.SpecVersions) > 0 || r.q.Match != nil
	if texts { // all at once: a chunk is not decompressed for each of its objects
		if *r.text, err = s.appendTo((*r.text)[:0], set, nil); err != nil {
			return err
		}
	}
	rest := *r.text
	for i := range s.count {
		if !set.has(i) {
			continue
		}
		at, fact, wanted := place{first, i}, Fact{}, true
		if texts {
			if fact, wanted, err = r.fact(rest[:s.lengths[i]], at, chosen); err != nil {
				return err
			}
			rest = rest[s.lengths[i]+1:]
		}
		if wanted && !r.room(r.count, r.size, s.lengths[i]) {
			if len(r.q.IDs) == 0 {
				r.cut(at)
			}
			return errFull
		}
		if wanted {
			r.add(s, at, fact)
		}
		if r.scanned++; r.scanned >= maxScanned && r.count > 0 {
			r.reached = micros(at.added())
			return errFull
		}
	}
	return nil
}

// take adds objects of a block.
func (r *reader) take(p part) {
	r.parts = append(r.parts, p)
	for i := range p.count {
		if p.set.has(i) {
			r.count, r.size = r.count+1, r.size+p.lengths[i]
		}
	}
}

// add adds a block's object.
func (r *reader) add(s *stored, at place, fact Fact) {
	if last := len(r.parts) - 1; last < 0 || r.parts[last].stored != s {
		r.parts = append(r.parts, part{s, at.first, make(bits, (s.count+7)/8)})
	}
	r.parts[len(r.parts)-1].set.set(at.i)
	r.count, r.size = r.count+1, r.size+s.lengths[at.i]
	if r.q.Facts {
		r.facts = append(r.facts, fact)
	}
}

// cut takes off the page's end what belongs together with the object at which it
// became full, unless that is all there is.
func (r *reader) cut(at place) {
	last := len(r.parts) - 1
	if r.parts[last].first != at.first {
		return
	}
	p := &r.parts[last]
	start := p.starts.from(at.i)
	if last == 0 && !p.set.any(0, start) {
		return
	}
	for i := start; i < at.i; i++ {
		if p.set.has(i) {
			p.set.clear(i)
			r.count, r.size = r.count-1, r.size-p.lengths[i]
		}
	}
	if p.set.empty() {
		r.parts = r.parts[:last]
	}
	if r.q.Facts {
		r.facts = r.facts[:r.count]
	}
}

// fact reads what tells an object from others, and decides whether the query is after it. chosen says
// that its version is one of those that are wanted, and its type is.
func (r *reader) fact(raw []byte, at place, chosen bool) (f Fact, wanted bool, err error) {
	if !chosen || r.q.Facts || len(r.q.SpecVersions) > 0 {
		brief, ok := stix.ScanBrief(bytes.TrimSpace(raw))
		if !ok {
			return f, false, ErrDamaged
		}
		f = Fact{ID: string(brief.ID), SpecVersion: brief.Spec(), Version: string(brief.Version), Added: micros(at.added())}
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, f.SpecVersion) {
			return f, false, nil
		}
		if !chosen {
			id, ok := scannedID(brief)
			ver, err := scannedVersion(brief)
			if err != nil || !ok {
				return f, false, errors.Join(err, ErrDamaged)
			}
			if wanted, err := r.wants(id, ver); err != nil || !wanted {
				return f, false, err
			}
		}
	}
	return f, r.q.Match.Object(raw), nil
}
