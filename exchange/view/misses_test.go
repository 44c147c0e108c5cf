package view

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What is said to be missing is, whatever is written between a look and what is made of it.
func TestNothingThatIsThereIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m misses
		there := make(map[string]bool)
		type look struct {
			key     string
			found   bool
			written uint64
		}
		type batch struct {
			keys [][]byte
			in   bool // readers see it
		}
		var looks []look    // under way
		var batches []batch // being written
		key := rapid.Map(rapid.IntRange(0, 4), func(n int) string { return fmt.Sprint("key ", n) })
		t.Repeat(map[string]func(*rapid.T){
			"look": func(t *rapid.T) {
				k := key.Draw(t, "key")
				if missing, written := m.missing([]byte(k)); !missing {
					looks = append(looks, look{k, there[k], written})
				}
			},
			"answer": func(t *rapid.T) {
				if len(looks) == 0 {
					return // no look
				}
				i := rapid.IntRange(0, len(looks)-1).Draw(t, "look")
				if l := looks[i]; !l.found {
					m.note([]byte(l.key), l.written)
				}
				looks = slices.Delete(looks, i, i+1)
			},
			"begin": func(t *rapid.T) {
				var b batch
				for _, k := range rapid.SliceOfN(key, 1, 3).Draw(t, "keys") {
					b.keys = append(b.keys, []byte(k))
				}
				if rapid.Bool().Draw(t, "all") {
					m.begin(nil, true)
				} else {
					m.begin(slices.Values(b.keys), false)
				}
				batches = append(batches, b)
			},
			"write": func(t *rapid.T) {
				if len(batches) == 0 {
					return // no batch
				}
				b := &batches[rapid.IntRange(0, len(batches)-1).Draw(t, "batch")]
				b.in = true
				for _, k := range b.keys {
					there[string(k)] = true
				}
			},
			"end": func(*rapid.T) {
				i := slices.IndexFunc(batches, func(b batch) bool { return b.in })
				if i < 0 {
					return // nothing is written
				}
				m.end()
				batches = slices.Delete(batches, i, i+1)
			},
			"": func(t *rapid.T) {
				for k := range m.keys {
					if there[k] {
						t.Fatalf("%q is there", k)
					}
				}
			},
		})
	})
}

func TestMissesAreBounded(t *testing.T) {
	var m misses
	for i := range 2 * maxMisses {
		m.note(fmt.Append(nil, i), 0)
	}
	if n := len(m.keys); n == 0 || n > maxMisses {
		t.Error(n)
	}
	m.note(bytes.Repeat([]byte{1}, 1<<20), 0)
	for k := range m.keys {
		if len(k) > maxMissed {
			t.Error(len(k), "bytes")
		}
	}
}
