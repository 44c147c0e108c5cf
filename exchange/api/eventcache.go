package api

import (
	"context"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// eventCache keeps the newest events of collections, so that thousands who follow one
// share each, and it is read once.
type eventCache struct {
	mu    sync.Mutex // guards what is below
	kept  map[eventKey]*cachedEvent
	order []eventKey // of those that were made, oldest first
	size  int        // bytes that they hold
}

// maxCached bounds the events that are kept, in bytes, but for those that are
// being made.
const maxCached = 16 << 20

// eventKey names the event behind a place of a collection, in µs, in one state.
type eventKey struct {
	collection, state string
	after             int64
}

// pageEvent is an event.
type pageEvent struct {
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

// get returns the event behind a place; read makes it of a page. The state is the
// collection's from before.
func (t *eventCache) get(ctx context.Context, key eventKey, read func() (*view.Page, []byte, error)) (*pageEvent, error) {
	for {
		one, mine := t.entry(key)
		if mine {
			return one.Make(func() (e *pageEvent, err error) {
				defer func() { t.keep(key, one, e) }()
				return newPageEvent(read)
			})
		}
		if e, err := one.Wait(ctx); err == nil || ctx.Err() != nil { // else who made it is gone, and the next one tries
			return e, ctx.Err()
		}
	}
}

// entry returns the entry of a key; mine says that the caller has to fill it.
func (t *eventCache) entry(key eventKey) (one *cachedEvent, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one = t.kept[key]; one != nil {
		return one, false
	}
	if t.kept == nil {
		t.kept = make(map[eventKey]*cachedEvent)
	}
	one = &cachedEvent{Once: wait.NewOnce[*pageEvent]()}
	t.kept[key] = one
	return one, true
}

// newPageEvent reads an event.
func newPageEvent(read func() (*view.Page, []byte, error)) (*pageEvent, error) {
	page, data, err := read()
	if err != nil {
		return nil, err
	}
	e := &pageEvent{more: page.More}
	if page.Count > 0 {
		e.data, e.first, e.last, e.count = data, page.First, page.Last, page.Count
	}
	return e, nil
}

// keep counts what was made, and forgets the oldest; where nothing was made, e is nil, and the next one tries.
func (t *eventCache) keep(key eventKey, one *cachedEvent, e *pageEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e == nil {
		delete(t.kept, key)
		return
	}
	one.size = 512 + len(e.data)
	t.order, t.size = append(t.order, key), t.size+one.size
	for t.size > maxCached {
		oldest := t.order[0]
		t.size -= t.kept[oldest].size
		delete(t.kept, oldest)
		t.order = t.order[1:]
	}
}
