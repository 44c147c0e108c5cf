package api

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// eventCache keeps the newest events of collections, so that thousands who follow one
// share each, and it is read once.
type eventCache struct {
	mu    sync.Mutex // guards what is below
	kept  map[eventKey][]*cachedEvent
	order []eventKey // of those that were made, oldest first
	size  int        // bytes that they hold
}

// maxCached bounds the events that are kept, in bytes, but for those that are
// being made.
const maxCached = 16 << 20

// maxVariants is how many events behind one place are kept.
const maxVariants = 8

// eventKey names the event behind a place of a collection in one state. There can
// be several: what is repeated comes once to each reader, so it matters where one
// started.
type eventKey struct {
	collection, state string
	after             int64
}

// pageEvent is an event.
type pageEvent struct {
	// low and high bound the since of those whose event it is: from low on and
	// below high.
	low, high   int64
	data        []byte // without its id; nil where nothing is there
	first, last time.Time
	count       int
	more        bool // the next one is there already
}

// cachedEvent is an event that is kept, with its size as it is counted.
type cachedEvent struct {
	*wait.Once[*pageEvent]
	size int
}

// get returns the event behind a place; read makes it of a page. state is the
// collection's from before.
func (t *eventCache) get(ctx context.Context, collection, state string, at cursor, read func() (*view.Page, []byte, error)) (*pageEvent, error) {
	key, since := eventKey{collection, state, micro(at.after)}, micro(at.since)
	for n := range maxVariants {
		one, mine := t.entry(key, n)
		if mine {
			return one.Make(func() (e *pageEvent, err error) {
				defer func() { t.keep(key, one, e) }()
				return newPageEvent(read)
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
	return newPageEvent(read)
}

// entry returns the n-th entry of a key; mine says that the caller has to fill it.
func (t *eventCache) entry(key eventKey, n int) (one *cachedEvent, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.kept[key]; n < len(list) {
		return list[n], false
	}
	if t.kept == nil {
		t.kept = make(map[eventKey][]*cachedEvent)
	}
	one = &cachedEvent{Once: wait.NewOnce[*pageEvent]()}
	t.kept[key] = append(t.kept[key], one)
	return one, true
}

// newPageEvent reads an event.
func newPageEvent(read func() (*view.Page, []byte, error)) (*pageEvent, error) {
	page, data, err := read()
	if err != nil {
		return nil, err
	}
	e := &pageEvent{low: page.Low, high: page.High, more: page.More}
	if page.Count > 0 {
		e.data, e.first, e.last, e.count = data, page.First, page.Last, page.Count
	}
	return e, nil
}

// keep counts what was made, nil where it was not, and forgets the oldest.
func (t *eventCache) keep(key eventKey, one *cachedEvent, e *pageEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.kept[key], one) {
		return // forgotten meanwhile
	}
	if one.size = 512; e != nil {
		one.size += len(e.data)
	}
	t.order, t.size = append(t.order, key), t.size+one.size
	for t.size > maxCached {
		oldest := t.order[0]
		for _, old := range t.kept[oldest] {
			t.size -= old.size
		}
		delete(t.kept, oldest)
		t.order = slices.DeleteFunc(t.order, func(k eventKey) bool { return k == oldest })
	}
}
