package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"pgregory.net/rapid"
)

// Keys are found as in a plain map, by each way to look them up, before and after they are written out.
func TestKeysAreFoundAsInAPlainMap(t *testing.T) {
	db, err := Open(t.TempDir(), Options{Prefixes: map[byte]func([]byte) int{'p': func([]byte) int { return 2 }}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	all := make(map[string]string)
	rapid.Check(t, func(t *rapid.T) {
		b := db.NewBatch()
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			k := rapid.StringMatching(`[pq][ab][xyz]{0,2}`).Draw(t, "key")
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				delete(all, k)
				_ = b.Delete([]byte(k), nil)
				continue
			}
			all[k] = strings.Repeat(k, rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "size"))
			_ = b.Set([]byte(k), []byte(all[k]), nil)
		}
		if err := b.Commit(pebble.NoSync); err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 9).Draw(t, "written out") == 0 {
			if err := db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		filtered, err := NewFiltered(db)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = filtered.Close() }()
		for range 4 {
			k := rapid.StringMatching(`[pq][ab][xyz]{0,2}`).Draw(t, "asked")
			want, there := all[k]
			value, found, err := Get(db, []byte(k))
			if string(value) != want || found != there || err != nil {
				t.Fatalf("%s is %q, %t, %v", k, value, found, err)
			}
			if value, found, err = filtered.Get([]byte(k)); found != there || found && string(value) != want || err != nil {
				t.Fatalf("%s, filtered, is %q, %t, %v", k, value, found, err)
			}
		}
		prefix := rapid.StringMatching(`[pq][ab]`).Draw(t, "prefix")
		var want, got, also []string
		for _, k := range slices.Sorted(maps.Keys(all)) {
			if rest, ok := strings.CutPrefix(k, prefix); ok {
				want = append(want, rest+" "+all[k])
			}
		}
		take := func(list *[]string) func(rest, value []byte) (bool, error) {
			return func(rest, value []byte) (bool, error) {
				*list = append(*list, fmt.Sprintf("%s %s", rest, value))
				return true, nil
			}
		}
		err = EachUnder(db, []byte(prefix), take(&got))
		if !slices.Equal(got, want) || err != nil {
			t.Fatalf("under %s: %q, want %q: %v", prefix, got, want, err)
		}
		if prefix[0] == 'p' {
			err = filtered.Each([]byte(prefix), func(key, value []byte) (bool, error) { return take(&also)(key[len(prefix):], value) })
			if !slices.Equal(also, want) || err != nil {
				t.Fatalf("under %s, filtered: %q, want %q: %v", prefix, also, want, err)
			}
		}
		if some, err := filtered.Any([]byte(prefix)); some != (len(want) > 0) || err != nil {
			t.Fatal(prefix, some, err)
		}
	})
}

// What others derive is kept by name, all of a change or nothing.
func TestWhatIsDerivedIsKeptByName(t *testing.T) {
	db, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	a, b := NewDerived(db, "a"), NewDerived(db, "ab")
	if err := errors.Join(a.Write(map[string][]byte{"1": []byte("one"), "2": nil}), b.Write(map[string][]byte{"1": []byte("other")})); err != nil {
		t.Fatal(err)
	}
	s := a.Snapshot()
	defer func() { _ = s.Close() }()
	if err := a.Write(map[string][]byte{"3": nil}); err != nil {
		t.Fatal(err)
	}
	var got []string
	err = s.Each("", func(rest string, value []byte) error {
		got = append(got, rest+string(value))
		return nil
	})
	value, found, err2 := s.Get("1")
	if !slices.Equal(got, []string{"1one", "2"}) || string(value) != "one" || !found || err != nil || err2 != nil {
		t.Error(got, string(value), found, err, err2)
	}
	if _, found, err := s.Get("3"); found || err != nil {
		t.Error("what came later is there", err)
	}
}

func TestWhatIsDamage(t *testing.T) {
	for err, want := range map[error]bool{
		nil: false, errors.New("x"): false, fmt.Errorf("x: %w", ErrDamaged): true, fmt.Errorf("x: %w", fs.ErrNotExist): true, pebble.ErrCorruption: true,
		errors.Join(errors.New("x"), pebble.ErrCorruption): true, pebble.ErrNotFound: false, pebble.ErrClosed: false,
	} {
		if Damaged(err) != want || errors.Is(Failed(err), ErrDamaged) != want {
			t.Errorf("%v: %t, %v", err, Damaged(err), Failed(err))
		}
	}
	if !bytes.Equal(After([]byte{'b', 0xff}), []byte{'c'}) { // "c" itself does not start so
		t.Error(After([]byte{'b', 0xff}))
	}
}
