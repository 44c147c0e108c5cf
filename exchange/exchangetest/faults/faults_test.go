package faults_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/faults"
)

// directory has two files of the same kind, an index beside them, and what faults pass over.
func directory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"a/1.blk", "a/index.db", "b/1.blk", "admin.token", "lock"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), 300), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// read is what a directory has, by file.
func read(t *testing.T, dir string) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, name := range []string{"a/1.blk", "a/index.db", "b/1.blk", "admin.token", "lock"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			texts[name] = string(text)
		}
	}
	return texts
}

func TestFilesOfThePast(t *testing.T) {
	list, err := faults.Files(directory(t))
	if want := []string{"a/1.blk", "a/index.db", "b/1.blk"}; err != nil || !slices.Equal(list, want) {
		t.Errorf("%v, %v", list, err)
	}
}

// A seed decides what is done: the same again, to the file that it names and to no other, and each kind comes.
func TestAPlanIsRepeated(t *testing.T) {
	kinds := make(map[faults.Kind]bool)
	for seed := range uint64(200) {
		dir := directory(t)
		before := read(t, dir)
		index := seed%2 == 1
		f, err := faults.Plan(rand.New(rand.NewPCG(seed, 1)), dir, index)
		again, e := faults.Plan(rand.New(rand.NewPCG(seed, 1)), dir, index)
		if err != nil || e != nil || f != again {
			t.Fatal(f, again, err, e)
		}
		if err := f.Do(dir); err != nil {
			t.Fatal(seed, f, err)
		}
		kinds[f.Kind] = true
		after := read(t, dir)
		for name, text := range before {
			now, there := after[name]
			meant := name == f.File || name == f.Other || f.Kind == faults.RemoveIn && filepath.Dir(name) == filepath.Dir(f.File)
			gone := index && name == filepath.Join(filepath.Dir(f.File), "index.db")
			switch {
			case gone && there:
				t.Errorf("seed %d, %v: the index is there", seed, f)
			case meant && there && now == text:
				t.Errorf("seed %d, %v: %s is as it was", seed, f, name)
			case !meant && !gone && now != text:
				t.Errorf("seed %d, %v: %s is another", seed, f, name)
			}
		}
	}
	if len(kinds) != 9 {
		t.Errorf("of nine kinds came %v", kinds)
	}
}
