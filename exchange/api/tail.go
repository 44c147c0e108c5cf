package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// tails keep the newest events of collections, so that thousands who follow one
// share each, and it is read once.
type tails struct {
	mu    sync.Mutex // guards what is below
	kept  map[tailKey][]*keptTail
	order []tailKey // of those that were made, oldest first
	size  int       // bytes that they hold
}

// maxTails bounds the events that are kept, in bytes, but for those that are
// being made.
const maxTails = 16 << 20

// maxVariants is how many events behind one place are kept.
const maxVariants = 8

// tailKey names the event behind a place of a collection in one state. There can
// be several: what is repeated comes once to each reader, so it matters where one
// started.
type tailKey struct {
	collection, state string
	after             int64
}

// tail is an event.
type tail struct {
	// low and high bound the since of those whose event it is: from low on and
	// below high.
	low, high   int64
	data        []byte // without its id; nil where nothing is there
	first, last time.Time
	count       int
	more        bool // the next one is there already
}

// keptTail is an event that is kept, with its size as it is counted.
type keptTail struct {
	*wait.Once[*tail]
	size int
}

// get returns the event behind a place; read makes it of a page. state is the
// collection's from before.
func (t *tails) get(ctx context.Context, collection, state string, at place, read func() (*view.Page, []byte, error)) (*tail, error) {
	key, since := tailKey{collection, state, micro(at.after)}, micro(at.since)
	for n := range maxVariants {
		one, mine := t.entry(key, n)
		if mine {
			return one.Make(func() (e *tail, err error) {
				defer func() { t.keep(key, one, e) }()
				return newTail(read)
			})
		}
		e, err := one.Wait(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil && e.low <= since && since < e.high {
			return e, nil
		}
	}
	return newTail(read)
}

// entry returns the n-th entry of a key; mine says that the caller has to fill it.
func (t *tails) entry(key tailKey, n int) (one *keptTail, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.kept[key]; n < len(list) {
		return list[n], false
	}
	if t.kept == nil {
		t.kept = make(map[tailKey][]*keptTail)
	}
	one = &keptTail{Once: wait.NewOnce[*tail]()}
	t.kept[key] = append(t.kept[key], one)
	return one, true
}

// newTail reads an event.
func newTail(read func() (*view.Page, []byte, error)) (*tail, error) {
	page, data, err := read()
	if err != nil {
		return nil, err
	}
	e := &tail{low: page.Low, high: page.High, more: page.More}
	if page.Count > 0 {
		e.data, e.first, e.last, e.count = data, page.First, page.Last, page.Count
	}
	return e, nil
}

// keep counts what was made, nil where it was not, and forgets the oldest.
func (t *tails) keep(key tailKey, one *keptTail, e *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.kept[key], one) {
		return // forgotten meanwhile
	}
	if one.size = 512; e != nil {
		one.size += len(e.data)
	}
	t.order, t.size = append(t.order, key), t.size+one.size
	for t.size > maxTails {
		oldest := t.order[0]
		for _, old := range t.kept[oldest] {
			t.size -= old.size
		}
		delete(t.kept, oldest)
		t.order = slices.DeleteFunc(t.order, func(k tailKey) bool { return k == oldest })
	}
}
