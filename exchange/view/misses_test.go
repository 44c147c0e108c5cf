package view

import (
	"fmt"
	"maps"
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
			key    string
			found  bool
			writes uint64
		}
		var looks []look     // under way
		var written []string // by a batch that has not told of it yet
		key := rapid.Map(rapid.IntRange(0, 4), func(n int) string { return fmt.Sprint("key ", n) })
		t.Repeat(map[string]func(*rapid.T){
			"look": func(t *rapid.T) {
				k := key.Draw(t, "key")
				missing, writes := m.has([]byte(k))
				if missing && there[k] && !slices.Contains(written, k) {
					t.Fatalf("%q is there", k)
				}
				if !missing {
					looks = append(looks, look{k, there[k], writes})
				}
			},
			"answer": func(t *rapid.T) {
				if len(looks) == 0 {
					t.Skip("no look")
				}
				i := rapid.IntRange(0, len(looks)-1).Draw(t, "look")
				if l := looks[i]; !l.found {
					m.note([]byte(l.key), l.writes)
				}
				looks = slices.Delete(looks, i, i+1)
			},
			"write": func(t *rapid.T) {
				for _, k := range rapid.SliceOfN(key, 1, 3).Draw(t, "keys") {
					there[k], written = true, append(written, k)
				}
			},
			"tell": func(t *rapid.T) {
				var keys [][]byte
				all := rapid.Bool().Draw(t, "all")
				for _, k := range written {
					if !all {
						keys = append(keys, []byte(k))
					}
				}
				m.written(keys, all)
				written = nil
			},
			"lose": func(*rapid.T) { // the exchange starts anew
				m, looks, written = misses{}, nil, nil
			},
			"": func(t *rapid.T) {
				for k := range maps.Keys(m.keys) {
					if there[k] && !slices.Contains(written, k) {
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
}
