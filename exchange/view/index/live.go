package index

import (
	"encoding/binary"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// A block of which no latest version is left is passed over: the view keeps in memory which blocks of a collection have
// some. Going through keys that are deleted takes longer the more versions there were.
//
// A reader takes the list first and its state of the files afterwards. What has left the list by then is not in that state
// either. A block that was added since stands behind the list; where one came in before its end, revived has changed, and the
// reader begins anew.

// live are the blocks of a collection that have latest versions, as far as a reader has to know.
type live struct {
	list    []int64 // by date_added, in µs
	revived int     // how often one came in that is not the last
}

// loadLive reads which blocks of a collection have latest versions.
func (x *Index) loadLive(c uint32) (l live, err error) {
	err = store.EachUnder(x.db, collectionKey('l', c), func(k, _ []byte) (bool, error) {
		l.list = append(l.list, firstOf(k))
		return true, nil
	})
	return l, err
}

// enliven publishes what readers have to know of the batch before it is written: the blocks in which it has latest
// versions, and whether there are several versions of STIX.
func (w *Writer) enliven() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.x.mixed[w.c] = w.head.mixed
	l := w.x.live[w.c]
	for k, set := range w.marks {
		if i, in := slices.BinarySearch(l.list, k.first); k.kind == 'l' && !set.empty() && !in {
			if i < len(l.list) {
				l.list, l.revived = slices.Clone(l.list), l.revived+1 // readers have the old one
			}
			l.list = slices.Insert(l.list, i, k.first)
		}
	}
	w.x.live[w.c] = l
}

// bury takes the blocks out of the list in which the batch, which is written, has left no latest versions. Who calls it has mu.
func (w *Writer) bury() {
	l := w.x.live[w.c]
	for k, set := range w.marks {
		if i, in := slices.BinarySearch(l.list, k.first); k.kind == 'l' && set.empty() && in {
			l.list = slices.Concat(l.list[:i], l.list[i+1:]) // readers have the old one
		}
	}
	w.x.live[w.c] = l
}

// blocks finds blocks in the order of their date_added, going one way.
type blocks interface {
	// next returns the first from a date_added on.
	next(from int64) (first int64, ok bool, err error)
	// before returns the last up to a date_added, from where it goes on.
	before(added int64) (first int64, ok bool, err error)
}

// liveBlocks are those that have latest versions: what is listed, and what came behind it since.
type liveBlocks struct {
	list []int64
	tail *sets
	from int64 // where that begins
}

func newLiveBlocks(list []int64, tail *sets) *liveBlocks {
	l := &liveBlocks{list: list, tail: tail}
	if n := len(list); n > 0 {
		l.from = list[n-1] + 1
	}
	return l
}

func (l *liveBlocks) next(from int64) (int64, bool, error) {
	if len(l.list) > 0 && l.list[0] < from { // usually it is the one behind
		l.list = l.list[1:]
		i, _ := slices.BinarySearch(l.list, from)
		l.list = l.list[i:]
	}
	if len(l.list) == 0 {
		return l.tail.next(max(from, l.from))
	}
	return l.list[0], true, nil
}

func (l *liveBlocks) before(added int64) (int64, bool, error) {
	i, in := slices.BinarySearch(l.list, added)
	if !in && i == len(l.list) {
		if at, ok, err := l.tail.before(added); err != nil || ok && at >= l.from {
			return at, ok, err
		}
	}
	if !in {
		i--
	}
	if i < 0 {
		return 0, false, nil
	}
	return l.list[i], true, nil
}

// liveOf returns the live blocks of a collection.
func (x *Index) liveOf(c uint32) live {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.live[c]
}

// sets are those of blocks under a prefix of keys.
type sets struct {
	prefix []byte
	it     *pebble.Iterator
	placed bool
}

func newSets(db pebble.Reader, prefix []byte) (*sets, error) {
	it, err := store.Under(db, prefix)
	return &sets{prefix: prefix, it: it}, err
}

func (s *sets) key(first int64) []byte {
	return binary.BigEndian.AppendUint64(slices.Clip(s.prefix), uint64(first))
}

func (s *sets) next(from int64) (first int64, ok bool, err error) {
	if ok = s.placed && s.it.Valid(); ok && firstOf(s.it.Key()) < from {
		ok = s.it.Next()
	}
	if !s.placed || ok && firstOf(s.it.Key()) < from {
		s.placed, ok = true, s.it.SeekGE(s.key(from))
	}
	if !ok {
		return 0, false, store.Failed(s.it.Error())
	}
	return firstOf(s.it.Key()), true, nil
}

func (s *sets) before(added int64) (int64, bool, error) {
	if !s.it.SeekLT(s.key(added + 1)) {
		return 0, false, store.Failed(s.it.Error())
	}
	return firstOf(s.it.Key()), true, nil
}

// of returns a copy of a block's set, nil where it has none.
func (s *sets) of(first int64) (bits, error) {
	at, ok, err := s.next(first)
	if err != nil || !ok || at != first {
		return nil, err
	}
	set, err := s.it.ValueAndErr()
	return slices.Clone(bits(set)), store.Failed(err)
}
