package view

import (
	"iter"
	"sync"
)

// misses remembers keys of objects that were looked up and are not there, until they are written. What is
// added is looked up when it is decided about, and again when its block is applied, and a look among keys
// that are all over the place is the dearest part of either.
//
// What a batch writes is forgotten before it is written, and nothing is noted meanwhile: who sees a part of
// a batch sees all of it.
type misses struct {
	mu      sync.Mutex
	writing int    // batches that are being written
	written uint64 // counts those that were
	keys    map[string]struct{}
}

// What is remembered: the keys of some requests, but none that are very long.
const (
	maxMisses = 1 << 16
	maxMissed = 128 // bytes
)

// missing reports whether a key is known not to be there. Otherwise it can be looked up, and noted with
// what else is returned.
func (m *misses) missing(key []byte) (known bool, written uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, known = m.keys[string(key)]
	return known, m.written
}

// note remembers a key that was looked up behind missing and is not there.
func (m *misses) note(key []byte, written uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.writing > 0 || written != m.written || len(key) > maxMissed {
		return // it may be there by now, or takes too much
	}
	if m.keys == nil || len(m.keys) == maxMisses {
		m.keys = make(map[string]struct{})
	}
	m.keys[string(key)] = struct{}{}
}

// begin forgets what a batch is going to write; all where it cannot say.
func (m *misses) begin(keys iter.Seq[[]byte], all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing++
	if all {
		clear(m.keys)
	}
	if len(m.keys) == 0 {
		return
	}
	for k := range keys {
		delete(m.keys, string(k))
	}
}

// end is called when the batch is written, or cannot be.
func (m *misses) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writing--
	m.written++
}

// find is get of a key that is usually not there, and that may be looked up again soon.
func (v *View) find(key []byte) ([]byte, bool, error) {
	missing, written := v.misses.missing(key)
	if missing {
		return nil, false, nil
	}
	value, found, err := v.get(key)
	if err == nil && !found {
		v.misses.note(key, written)
	}
	return value, found, err
}
