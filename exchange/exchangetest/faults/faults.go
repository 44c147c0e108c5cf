// Package faults damages the data directory of an exchange as disks, people and half a copy do: one file at a time, by a
// plan that a seed decides.
package faults

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is what is done to a file.
type Kind string

// The kinds.
const (
	Flip     Kind = "flip a bit"
	FlipEnd  Kind = "flip a bit of the end"
	Cut      Kind = "cut a byte off"
	Halve    Kind = "cut in half"
	Empty    Kind = "empty"
	Remove   Kind = "remove"
	Zero     Kind = "overwrite with zeros"
	Swap     Kind = "swap with another"
	RemoveIn Kind = "remove its directory"
)

// kinds are what Plan takes from; a bit is what most often goes.
var kinds = []Kind{Flip, Flip, Flip, FlipEnd, Cut, Halve, Empty, Remove, Zero, Swap, RemoveIn}

// Fault is one thing done to one file of a data directory.
type Fault struct {
	Kind Kind
	// File and, for Swap, Other are paths in the directory.
	File, Other string
	// At is which byte is changed, Bit which bit of it.
	At  int64
	Bit uint8
	// Index says that the stream's index.db goes as well, so that nats-server reads the messages anew.
	Index bool
}

func (f Fault) String() string {
	s := fmt.Sprintf("%s: %s", f.Kind, f.File)
	if f.Kind == Flip || f.Kind == FlipEnd || f.Kind == Zero {
		s += fmt.Sprintf(" at %d", f.At)
	}
	if f.Kind == Swap {
		s += " " + f.Other
	}
	if f.Index {
		s += ", and its index"
	}
	return s
}

// passing are files that say nothing of the past: a lock, where a process listens, a token that can be made anew.
var passing = []string{"lock", "address.json", "admin.token", "LOCK"}

// Files lists the files of a data directory that faults are for, sorted.
func Files(dir string) (list []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && !slices.Contains(passing, d.Name()) {
			list = append(list, path)
		}
		return err
	})
	return list, err
}

// Plan picks a fault for a directory. index says that streams lose their index, too.
func Plan(r *rand.Rand, dir string, index bool) (f Fault, err error) {
	list, err := Files(dir)
	if err != nil {
		return f, err
	}
	for {
		f = Fault{Kind: kinds[r.IntN(len(kinds))], File: list[r.IntN(len(list))], Bit: uint8(r.IntN(8)), Index: index}
		info, err := os.Stat(filepath.Join(dir, f.File))
		if err != nil {
			return f, err
		}
		if index && !strings.HasSuffix(f.File, ".blk") || info.Size() == 0 && f.Kind != Remove && f.Kind != RemoveIn {
			continue
		}
		switch f.Kind { //nolint:exhaustive // the others need nothing more
		case Flip, Zero:
			f.At = r.Int64N(info.Size())
		case FlipEnd:
			f.At = info.Size() - 1 - r.Int64N(min(info.Size(), 64))
		case Swap:
			same := slices.DeleteFunc(slices.Clone(list), func(p string) bool { return p == f.File || filepath.Ext(p) != filepath.Ext(f.File) })
			if len(same) == 0 {
				continue
			}
			f.Other = same[r.IntN(len(same))]
		}
		return f, nil
	}
}

// Do damages the directory.
func (f Fault) Do(dir string) error {
	path := filepath.Join(dir, f.File)
	err := f.change(path, filepath.Join(dir, f.Other))
	if f.Index && err == nil {
		err = os.Remove(filepath.Join(filepath.Dir(path), "index.db"))
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
	}
	return err
}

func (f Fault) change(path, other string) error {
	if f.Kind == Remove {
		return os.Remove(path)
	}
	if f.Kind == RemoveIn {
		return os.RemoveAll(filepath.Dir(path))
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	switch f.Kind { //nolint:exhaustive // the others are done
	case Flip, FlipEnd:
		text[f.At] ^= 1 << f.Bit
	case Cut:
		text = text[:len(text)-1]
	case Halve:
		text = text[:len(text)/2]
	case Empty:
		text = nil
	case Zero:
		clear(text[f.At:min(f.At+512, int64(len(text)))])
	case Swap:
		with, err := os.ReadFile(other)
		if err != nil {
			return err
		}
		if err := os.WriteFile(other, text, 0o600); err != nil {
			return err
		}
		text = with
	}
	return os.WriteFile(path, text, 0o600)
}
