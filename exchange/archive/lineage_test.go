package archive_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
)

// Two exchanges never write to one archive: neither another, nor a copy of the same.
func TestAnArchiveHasOneWriter(t *testing.T) {
	t.Parallel()
	store, s, dir := archive.Directory(t.TempDir()), newSource(), t.TempDir()
	s.add("A", 3)
	first := archiver(s, store, dir)
	flush(t, first)
	copied := t.TempDir()
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	s.add("A", 3)
	flush(t, first)
	s.add("A", 1)
	if err := archiver(s, store, copied).Flush(t.Context()); !errors.Is(err, archive.ErrExists) {
		t.Error("a copy goes on:", err)
	}
	other := archiver(s, store, t.TempDir())
	other.Exchange = "another"
	if err := other.Flush(t.Context()); !errors.Is(err, archive.ErrExists) {
		t.Error("another exchange writes:", err)
	}
	flush(t, first)
	if a := open(t, store); a.Segments() != 3 {
		t.Error(a.Segments())
	}
}

// An exchange that was restored to a moment goes on in its archive, whose reader gets nothing of what was taken back, but where it
// asks for a moment of that time.
func TestAnArchiveGoesOnAfterARestore(t *testing.T) {
	t.Parallel()
	store, s := archive.Directory(t.TempDir()), newSource()
	a := archiver(s, store, t.TempDir())
	s.add("A", 3)
	flush(t, a)
	kept, moment := s.now(), s.at
	s.add("A", 4)
	flush(t, a)
	taken, meanwhile := s.now(), s.at
	read := open(t, store)
	cut := read.At(moment).Ends
	dir := t.TempDir()
	must(t, read.Continue(dir, "there", cut, filestore.Replace))
	s.streams["A"], s.ends["A"] = s.streams["A"][:3], 3
	s.add("A", 2)
	s.streams["A"][3].Data = []byte("another one")
	again := archiver(s, store, dir)
	flush(t, again)
	check := func() {
		t.Helper()
		a := open(t, store)
		for at, want := range map[time.Time][]string{moment: kept, s.at: s.now()} {
			if got := texts(t, a, a.At(at)); !slices.Equal(got, want) {
				t.Errorf("as of %v it has %q, and not %q", at, got, want)
			}
		}
	}
	check()
	if a := open(t, store); !slices.Equal(texts(t, a, a.At(meanwhile)), taken) {
		t.Error("what was taken back cannot be restored")
	}
	// Once they are put together, nothing is left of it.
	must(t, again.Compact(t.Context(), s.at.Add(48*time.Hour)))
	check()
	for _, text := range texts(t, open(t, store), open(t, store).Last()) {
		if strings.Contains(text, "message 5") && !slices.Contains(s.now(), text) {
			t.Error(text)
		}
	}
}

// Where an archive's segments are put together, the names of the first are free: that is no place for another exchange. The same one
// goes on where its archive was moved.
func TestAnArchiveIsNobodyElses(t *testing.T) {
	t.Parallel()
	at, s, dir := t.TempDir(), newSource(), t.TempDir()
	a := archiver(s, archive.Directory(at), dir)
	for range 3 {
		s.add("A", 2)
		flush(t, a)
	}
	must(t, a.Compact(t.Context(), s.at.Add(48*time.Hour)))
	other := archiver(newSource(), archive.Directory(at), t.TempDir())
	other.Exchange = "another"
	if err := other.Flush(t.Context()); !errors.Is(err, archive.ErrExists) {
		t.Error("another exchange writes:", err)
	}
	if err := archiver(s, archive.Directory(at), t.TempDir()).Flush(t.Context()); !errors.Is(err, archive.ErrExists) {
		t.Error("it begins anew where its own segments are:", err)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	must(t, os.Rename(at, moved))
	s.add("A", 2)
	again := archiver(s, archive.Directory(moved), dir)
	again.Place = "elsewhere"
	flush(t, again)
	if got := open(t, archive.Directory(moved)); !slices.Equal(texts(t, got, got.Last()), s.now()) {
		t.Error("it does not go on")
	}
}

// What a restore has taken back is in no journal: it goes from the archive with the first thing that is erased.
func TestWhatWasTakenBackIsErased(t *testing.T) {
	t.Parallel()
	store, s := archive.Directory(t.TempDir()), newSource()
	a := archiver(s, store, t.TempDir())
	s.add("A", 3)
	flush(t, a)
	moment := s.at
	s.add("A", 4)
	flush(t, a)
	read, dir := open(t, store), t.TempDir()
	must(t, read.Continue(dir, "there", read.At(moment).Ends, filestore.Replace))
	s.streams["A"], s.ends["A"] = s.streams["A"][:3], 3
	s.add("A", 1)
	again := archiver(s, store, dir)
	flush(t, again)
	must(t, again.Rewrite(t.Context(), func(string, uint64, uint64) bool { return false }))
	names, err := store.List(t.Context())
	must(t, err)
	for _, name := range names {
		r, err := store.Get(t.Context(), name)
		must(t, err)
		text, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		d, err := zstd.NewReader(bytes.NewReader(text))
		must(t, err)
		if text, err = io.ReadAll(d); err != nil || bytes.Contains(text, []byte("A message 6")) {
			t.Errorf("%s has what was taken back, %v", name, err)
		}
		d.Close()
	}
}
