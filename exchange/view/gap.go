package view

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// gap is where a collection has no latest versions: from one date_added on and before another, all have
// been replaced. Pages of latest versions skip it: looking through what is gone takes longer the more
// versions there were.
type gap struct {
	from, to int64
	blocks   int // in it, about
}

// maxGaps is how many gaps of a collection are known: those with the most blocks.
const maxGaps = 256

// dead lists a collection's gaps as they are in the files. Blocks that nothing is left of do not count.
func (v *View) dead(c uint32) (gaps []gap, err error) {
	all, err := under(v.db, collectionKey('v', c))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	latest, err := under(v.db, collectionKey('l', c))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, latest.Close()) }()
	g, live := gap{}, latest.First()
	end := func(to int64) {
		if g.to = to; g.blocks > 0 {
			gaps = append(gaps, g)
		}
		g = gap{from: min(to, math.MaxInt64-1) + 1}
	}
	for ok := all.First(); ok; ok = all.Next() {
		first := firstOf(all.Key())
		for ; live && firstOf(latest.Key()) < first; live = latest.Next() { // which is damaged, and in no gap
			end(firstOf(latest.Key()))
		}
		if !live || firstOf(latest.Key()) != first {
			g.blocks++
			continue
		}
		end(first)
		live = latest.Next()
	}
	for ; live; live = latest.Next() {
		end(firstOf(latest.Key()))
	}
	end(math.MaxInt64)
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(b.blocks, a.blocks) })
	gaps = gaps[:min(len(gaps), maxGaps)]
	slices.SortFunc(gaps, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	return gaps, errors.Join(all.Error(), latest.Error())
}

// lacking returns a collection's gaps, in order. They hold for who looks at the view from then on, while cuts stays
// the same.
func (v *View) lacking(c uint32) (gaps []gap, cuts uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gaps[c], v.cuts
}

// fill cuts off gaps where the batch, which is not written yet, has latest versions.
func (w *writer) fill() {
	w.v.mu.Lock()
	defer w.v.mu.Unlock()
	for k, set := range w.marks {
		if k.kind != 'l' || set.empty() {
			continue
		}
		if i, in := gapAt(w.v.gaps[w.c], k.first); in {
			gaps := slices.Clone(w.v.gaps[w.c])
			if gaps[i].to = k.first; gaps[i].from == k.first {
				gaps = slices.Delete(gaps, i, i+1)
			}
			w.v.gaps[w.c] = gaps
			w.v.cuts++
		}
	}
}

// gapAt returns the gap that has a date_added in it, or the place of the next one.
func gapAt(gaps []gap, first int64) (i int, in bool) {
	i, _ = slices.BinarySearchFunc(gaps, first, func(g gap, first int64) int {
		if g.to <= first {
			return -1
		}
		return 1
	})
	return i, i < len(gaps) && gaps[i].from <= first
}

// widen notes where the batch, which is written, has replaced the last latest versions of a block. Where it cannot tell,
// pages look at what they could have skipped.
func (w *writer) widen() {
	var it *pebble.Iterator
	for k, set := range w.marks {
		if k.kind != 'l' || !set.empty() {
			continue
		}
		if it == nil {
			var err error
			if it, err = under(w.v.db, collectionKey('l', w.c)); err != nil {
				return
			}
			defer func() { _ = it.Close() }()
		}
		if g := w.gapAround(it, k.first); it.Error() == nil {
			w.v.addGap(w.c, g)
		}
	}
}

// gapAround returns the gap that a block is in which has no latest versions.
func (w *writer) gapAround(it *pebble.Iterator, first int64) gap {
	g := gap{0, math.MaxInt64, 1}
	gaps, _ := w.v.lacking(w.c)
	i, _ := gapAt(gaps, first)
	if i > 0 && gaps[i-1].to == first {
		g.from = gaps[i-1].from
	} else if it.SeekLT(blockKey('l', w.c, first)) {
		g.from = firstOf(it.Key()) + 1
	}
	if i < len(gaps) && gaps[i].from == first+1 {
		g.to = gaps[i].to
	} else if it.Error() == nil && it.SeekGE(blockKey('l', w.c, first)) {
		g.to = firstOf(it.Key())
	}
	return g
}

// addGap adds a gap, in place of those that are in it.
func (v *View) addGap(c uint32, g gap) {
	v.mu.Lock()
	defer v.mu.Unlock()
	gaps := slices.DeleteFunc(slices.Clone(v.gaps[c]), func(old gap) bool {
		in := g.from <= old.from && old.to <= g.to
		if in {
			g.blocks += old.blocks
		}
		return in
	})
	if len(gaps) == maxGaps {
		least := 0
		for i := range gaps {
			if gaps[i].blocks < gaps[least].blocks {
				least = i
			}
		}
		gaps = slices.Delete(gaps, least, least+1)
	}
	i, _ := slices.BinarySearchFunc(gaps, g, func(a, b gap) int { return cmp.Compare(a.from, b.from) })
	v.gaps[c] = slices.Insert(gaps, i, g)
}

// setKey is the key of a block's set under a prefix.
func setKey(prefix []byte, first int64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clone(prefix), uint64(first))
}

// from goes to the first set from a date_added on.
func (r *reader) from(it *pebble.Iterator, prefix []byte, first int64) bool {
	if i, in := gapAt(r.gaps, first); in {
		first = r.gaps[i].to
	}
	return it.SeekGE(setKey(prefix, first))
}

// next goes to the next set.
func (r *reader) next(it *pebble.Iterator, prefix []byte) bool {
	i, _ := gapAt(r.gaps, firstOf(it.Key()))
	if i == len(r.gaps) {
		return it.Next()
	}
	if state := it.NextWithLimit(setKey(prefix, r.gaps[i].from)); state != pebble.IterAtLimit {
		return state == pebble.IterValid
	}
	return it.SeekGE(setKey(prefix, r.gaps[i].to))
}
