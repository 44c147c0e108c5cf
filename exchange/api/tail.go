package api

import (
	"context"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// tails keep the newest events of collections, so that thousands who follow one
// share each, and it is read once.
type tails struct {
	mu    sync.Mutex // guards what is below
	kept  map[tailKey]*tail
	order []tailKey // of those that hold something, oldest first
	size  int       // bytes that they hold
}

// maxTails bounds the events that are kept, in bytes, but for those that are
// being made.
const maxTails = 16 << 20

// tailKey names the event behind a place of a collection in one state. anywhere
// is the since of the one for whoever stands there, wherever they started.
type tailKey struct {
	collection, state string
	since, after      int64
}

const anywhere = -1

// tail is an event; what it holds is good once done is closed.
type tail struct {
	done  chan struct{}
	since int64 // of whoever has read it
	same  bool  // it is the same for others
	data  []byte
	last  time.Time
	err   error
}

// get returns the event behind a place, without its id; its data is nil where
// nothing is there. state is the collection's from before.
func (t *tails) get(ctx context.Context, collection, state string, at place, read func() (*view.Page, error)) (*tail, error) {
	since := micro(at.since)
	key := tailKey{collection, state, anywhere, micro(at.after)}
	for {
		one, mine := t.entry(key, since)
		if mine {
			page, err := read()
			if one.err = err; err == nil {
				one.same = page.Same
				if page.Count > 0 {
					one.data, one.last = eventData(collection, page), page.Last
				}
			}
			close(one.done)
			t.settle(key, one)
			return one, err
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		switch {
		case one.err != nil: // it may be that whoever read has gone
		case one.same || one.since == since:
			return one, nil
		default:
			key.since = since
		}
	}
}

// entry returns the entry of a key; mine says that the caller has to fill it.
func (t *tails) entry(key tailKey, since int64) (one *tail, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one = t.kept[key]; one != nil {
		return one, false
	}
	if t.kept == nil {
		t.kept = make(map[tailKey]*tail)
	}
	one = &tail{done: make(chan struct{}), since: since}
	t.kept[key] = one
	return one, true
}

// settle keeps an event that holds something, and forgets the oldest.
func (t *tails) settle(key tailKey, one *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if one.data == nil {
		delete(t.kept, key)
		return
	}
	t.order, t.size = append(t.order, key), t.size+len(one.data)
	for t.size > maxTails {
		t.size -= len(t.kept[t.order[0]].data)
		delete(t.kept, t.order[0])
		t.order = t.order[1:]
	}
}
