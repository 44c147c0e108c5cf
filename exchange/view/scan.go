package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
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
	it, err := r.sets(prefix)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := r.seek(it, prefix); ok; ok = it.Next() {
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
func (r *reader) sets(prefix []byte) (*pebble.Iterator, error) {
	upper := slices.Clone(prefix)
	for i := len(upper) - 1; ; i-- { // never all 0xff: it starts with a letter
		if upper[i]++; upper[i] != 0 {
			break
		}
	}
	it, err := r.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: upper})
	if err != nil {
		return nil, fmt.Errorf("read view: %w", err)
	}
	return it, nil
}

// seek goes to the first set that may have something behind where the page
// starts.
func (r *reader) seek(it *pebble.Iterator, prefix []byte) bool {
	ok := r.after > 0 && it.SeekLT(binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(r.after+1)))
	if !ok {
		return it.First()
	}
	for ok && firstOf(it.Key())+int64(len(it.Value())*8) <= r.after {
		ok = it.Next()
	}
	return ok
}

// ofTypes walks over the blocks that have objects of the wanted types.
func (r *reader) ofTypes(kind byte) (err error) {
	var its []*pebble.Iterator
	defer func() {
		for _, it := range its {
			err = errors.Join(err, it.Close())
		}
	}()
	for _, typ := range slices.Compact(slices.Sorted(slices.Values(r.q.Types))) {
		prefix := typeKey(r.c, typ)
		it, err := r.sets(prefix)
		if err != nil {
			return err
		}
		its = append(its, it)
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
		for _, it := range its {
			if it.Valid() && firstOf(it.Key()) == first {
				of = of.union(it.Value())
				it.Next()
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

// block takes what is wanted of one block; set are the positions to look at.
func (r *reader) block(first int64, set bits) error {
	facts, err := r.facts(first)
	if err != nil {
		return err
	}
	for i := range min(int64(facts.count), r.after-first+1) {
		set.clear(int(i))
	}
	for _, a := range facts.earlier {
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
	full := false
	if r.plain && !set.empty() {
		if facts.lengths == nil { // it is a reference to intake
			d, err := r.v.decode(r.ctx, r.c, first, facts, 0, facts.count)
			if err != nil {
				return err
			}
			facts = d.block
		}
		full = r.choose(facts, set)
	}
	if from, to := set.ends(facts.count); from < to {
		d, err := r.v.decode(r.ctx, r.c, first, facts, from, to)
		switch {
		case err != nil:
			return err
		case r.plain && !r.q.Facts:
			r.joined(d, first, set)
		default:
			err = r.each(d, first, set)
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

// facts returns what is known of a block.
func (r *reader) facts(first int64) (*block, error) {
	if d := r.v.cache.get(cacheKey{r.c, first}); d != nil {
		return d.block, nil
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
			if start := facts.starts.from(i); r.count > 0 || set.before(start) {
				set.keep(start)
			}
			return true
		}
		count, size = count+1, size+facts.lengths[i]
	}
	return false
}

// each takes what is wanted of a block object by object.
func (r *reader) each(d *decoded, first int64, set bits) error {
	for i := range d.count {
		if !set.has(i) {
			continue
		}
		if err := r.take(d, place{first, i}, r.latest); err != nil {
			if errors.Is(err, errFull) {
				r.cut(d.block, place{first, i})
			}
			return err
		}
		if r.scanned++; r.scanned >= maxScanned && r.count > 0 {
			r.reached = micros(first + int64(i))
			return errFull
		}
	}
	return nil
}

// joined takes what is wanted of a block in runs.
func (r *reader) joined(d *decoded, first int64, set bits) {
	for i := 0; i < d.count; {
		if !set.has(i) {
			i++
			continue
		}
		j := i + 1
		for j < d.count && set.has(j) {
			j++
		}
		raw := d.own(d.run(i, j))
		r.runs = append(r.runs, run{raw: raw, first: first + int64(i), last: first + int64(j-1)})
		r.count, r.size = r.count+j-i, r.size+len(raw)
		i = j
	}
}

// cut takes off the page's end what belongs together with the object at which it
// became full, unless that is all there is.
func (r *reader) cut(b *block, at place) {
	start := at.first + int64(b.starts.from(at.i))
	n := len(r.runs)
	for n > 0 && r.runs[n-1].last >= start {
		n--
	}
	if n > 0 {
		r.runs, r.count = r.runs[:n], n
	}
}

// take adds an object to the page where it fits the query. chosen says that its
// version is one of those that are wanted, and its type is.
func (r *reader) take(d *decoded, at place, chosen bool) error {
	raw := d.run(at.i, at.i+1)
	one := run{first: at.added(), last: at.added()}
	if !chosen || r.q.Facts || len(r.q.SpecVersions) > 0 {
		brief, ok := stix.ScanBrief(bytes.TrimSpace(raw))
		if !ok {
			return ErrDamaged
		}
		one.fact = Fact{ID: string(brief.ID), SpecVersion: brief.Spec(), Version: string(brief.Version), Added: micros(at.added())}
		if len(r.q.SpecVersions) > 0 && !slices.Contains(r.q.SpecVersions, one.fact.SpecVersion) {
			return nil
		}
		if !chosen {
			id, ok := scannedID(brief)
			ver, err := scannedVersion(brief)
			if err != nil || !ok {
				return errors.Join(err, ErrDamaged)
			}
			if wanted, err := r.wants(id, ver); err != nil || !wanted {
				return err
			}
		}
	}
	if !r.q.Match.Object(raw) {
		return nil
	}
	if !r.room(r.count, r.size, len(raw)) {
		return errFull
	}
	one.raw = d.own(raw)
	r.runs = append(r.runs, one)
	r.count, r.size = r.count+1, r.size+len(raw)
	return nil
}
