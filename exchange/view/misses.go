package view

import "sync"

// misses remembers keys of objects that were looked up and are not there, until they are written. What is
// added is looked up when it is decided about, and again when its block is applied, and a look among keys
// that are all over the place is the dearest part of either.
type misses struct {
	mu     sync.Mutex
	writes uint64 // counts what could have made it wrong
	keys   map[string]struct{}
}

// maxMisses is how many are remembered: those of some requests.
const maxMisses = 1 << 16

// has reports whether a key is known not to be there. What it answers otherwise is for note.
func (m *misses) has(key []byte) (missing bool, writes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, missing = m.keys[string(key)]
	return missing, m.writes
}

// note remembers a key that was looked up behind has and is not there.
func (m *misses) note(key []byte, writes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if writes != m.writes {
		return // it may be there by now
	}
	if m.keys == nil || len(m.keys) == maxMisses {
		m.keys = make(map[string]struct{})
	}
	m.keys[string(key)] = struct{}{}
}

// written forgets keys that a batch has written, before others are told of it; all where it cannot say which.
func (m *misses) written(keys [][]byte, all bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.writes++
	if all {
		clear(m.keys)
	}
	if len(m.keys) == 0 {
		return
	}
	for _, k := range keys {
		delete(m.keys, string(k))
	}
}

// find is get of a key that is usually not there, and that may be looked up again soon.
func (v *View) find(key []byte) ([]byte, bool, error) {
	missing, writes := v.misses.has(key)
	if missing {
		return nil, false, nil
	}
	value, found, err := v.get(key)
	if err == nil && !found {
		v.misses.note(key, writes)
	}
	return value, found, err
}
