package api

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// tails keep the newest events of collections, so that thousands who follow one
// share each, and it is read once.
type tails struct {
	mu    sync.Mutex // guards what is below
	kept  map[tailKey][]*tail
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

// tail is an event; what it holds is good once done is closed.
type tail struct {
	done chan struct{}
	// low and high bound the since of those whose event it is: from low on and
	// below high.
	low, high   int64
	data        []byte // without its id; nil where nothing is there
	first, last time.Time
	count       int
	more        bool // the next one is there already
	err         error
	size        int // as it is counted
}

var errUnfinished = errors.New("the event was not read to its end")

// get returns the event behind a place; read makes it of a page. state is the
// collection's from before.
func (t *tails) get(ctx context.Context, collection, state string, at place, read func() (*view.Page, []byte, error)) (*tail, error) {
	key, since := tailKey{collection, state, micro(at.after)}, micro(at.since)
	for n := range maxVariants {
		one, mine := t.entry(key, n)
		if mine {
			defer func() { // whatever happens: others wait for it
				close(one.done)
				t.settle(key, one)
			}()
			return one, one.fill(read)
		}
		select {
		case <-one.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if one.err == nil && one.low <= since && since < one.high {
			return one, nil
		}
	}
	one := new(tail)
	return one, one.fill(read)
}

// entry returns the n-th entry of a key; mine says that the caller has to fill it.
func (t *tails) entry(key tailKey, n int) (one *tail, mine bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if list := t.kept[key]; n < len(list) {
		return list[n], false
	}
	if t.kept == nil {
		t.kept = make(map[tailKey][]*tail)
	}
	one = &tail{done: make(chan struct{}), err: errUnfinished}
	t.kept[key] = append(t.kept[key], one)
	return one, true
}

// fill reads an event.
func (e *tail) fill(read func() (*view.Page, []byte, error)) error {
	page, data, err := read()
	if e.err = err; err != nil {
		return err
	}
	e.low, e.high, e.more = page.Low, page.High, page.More
	if page.Count > 0 {
		e.data, e.first, e.last, e.count = data, page.First, page.Last, page.Count
	}
	return nil
}

// settle counts what was made, and forgets the oldest.
func (t *tails) settle(key tailKey, one *tail) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.kept[key], one) {
		return // forgotten meanwhile
	}
	one.size = len(one.data) + 512
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
