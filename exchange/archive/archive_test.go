package archive_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// source is a journal in memory.
type source struct {
	at      time.Time
	streams map[string][]record.Message
	ends    map[string]uint64
}

func newSource() *source {
	return &source{at: time.Date(2026, 12, 1, 10, 0, 0, 0, time.UTC), streams: make(map[string][]record.Message), ends: make(map[string]uint64)}
}

// add appends some messages to a stream, an hour later.
func (s *source) add(stream string, n int) {
	s.at = s.at.Add(61 * time.Minute)
	for range n {
		s.ends[stream]++
		m := record.Message{Sequence: s.ends[stream], Subject: "s." + stream, Data: fmt.Appendf(nil, "%s message %d", stream, s.ends[stream]), Time: s.at.UnixNano()}
		if m.Sequence%3 == 0 {
			m.Header = []byte("NATS/1.0\r\nA: b\r\n\r\n")
		}
		s.streams[stream] = append(s.streams[stream], m)
	}
}

// remove deletes a message.
func (s *source) remove(stream string, sequence uint64) {
	s.streams[stream] = slices.DeleteFunc(s.streams[stream], func(m record.Message) bool { return m.Sequence == sequence })
}

func (s *source) Checkpoint(context.Context) (record.Checkpoint, error) {
	return record.Checkpoint{At: s.at, Ends: maps.Clone(s.ends)}, nil
}

func (s *source) Streams(context.Context) (map[string]json.RawMessage, error) {
	return map[string]json.RawMessage{"A": json.RawMessage(`{"name":"A"}`), "B": json.RawMessage(`{"name":"B"}`)}, nil
}

func (s *source) Messages(_ context.Context, stream string, after, to uint64, each func(m *record.Message) error) error {
	for _, m := range s.streams[stream] {
		if m.Sequence > after && m.Sequence <= to {
			if err := each(&m); err != nil {
				return err
			}
		}
	}
	return nil
}

// archiver writes the archive of a source that is in a store.
func archiver(s *source, store archive.Store, dir string, recipients ...age.Recipient) *archive.Archiver {
	return &archive.Archiver{
		Source: s, Store: store, Place: "there", Exchange: "one", Recipients: recipients, Dir: dir,
		Room: func() error { return nil }, Whole: func() error { return nil }, Replace: filestore.Replace, Log: slog.New(slog.DiscardHandler),
	}
}

// flush archives, and fails the test where that fails.
func flush(t *testing.T, a *archive.Archiver) {
	t.Helper()
	if err := a.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// texts are the messages that an archive has, up to a checkpoint, as "stream/sequence text".
func texts(t *testing.T, a *archive.Archive, at *record.Checkpoint) (list []string) {
	t.Helper()
	err := a.Each(t.Context(), at, func(stream string, m *record.Message, current bool, _ uint64) error {
		if current {
			list = append(list, fmt.Sprintf("%s/%d %s %s %q", stream, m.Sequence, m.Subject, m.Data, m.Header))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(list)
	return list
}

// now are the messages of a source in the same way.
func (s *source) now() (list []string) {
	for stream, messages := range s.streams {
		for _, m := range messages {
			list = append(list, fmt.Sprintf("%s/%d %s %s %q", stream, m.Sequence, m.Subject, m.Data, m.Header))
		}
	}
	slices.Sort(list)
	return list
}

func open(t *testing.T, store archive.Store, keys ...age.Identity) *archive.Archive {
	t.Helper()
	a, err := archive.Open(t.Context(), store, keys)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func identity(t *testing.T) *age.X25519Identity {
	t.Helper()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// bucket is an archive in a store that speaks S3.
func bucket(t *testing.T) archive.Store {
	t.Helper()
	memory := s3mem.New()
	server := httptest.NewServer(gofakes3.New(memory).Server())
	t.Cleanup(server.Close)
	if err := memory.CreateBucket("archive"); err != nil {
		t.Fatal(err)
	}
	s, err := archive.NewS3(&archive.S3Options{
		Endpoint: strings.TrimPrefix(server.URL, "http://"), Plain: true, Region: "us-east-1", Bucket: "archive", Prefix: "a/b", AccessKey: "key", Secret: "secret",
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// stores are archives of each kind.
func stores(t *testing.T) map[string]archive.Store {
	return map[string]archive.Store{"directory": archive.Directory(filepath.Join(t.TempDir(), "new")), "s3": bucket(t)}
}

// A store keeps what was put there first, and nothing of what was not put there whole.
func TestStores(t *testing.T) {
	t.Parallel()
	for kind, s := range stores(t) {
		t.Run(kind, func(t *testing.T) {
			if names, err := s.List(t.Context()); err != nil || len(names) > 0 {
				t.Fatal(names, err)
			}
			put := func(name, text string, size int64) error {
				return s.Put(t.Context(), name, strings.NewReader(text), size)
			}
			if err := put("one", "first", 5); err != nil {
				t.Fatal(err)
			}
			if err := put("one", "again", 5); !errors.Is(err, archive.ErrExists) {
				t.Error("the same name was put again:", err)
			}
			if err := put("two", "short", 50); err == nil {
				t.Error("less than was said was put")
			}
			if names, err := s.List(t.Context()); err != nil || !slices.Equal(names, []string{"one"}) {
				t.Fatal(names, err)
			}
			r, err := s.Get(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err != nil || string(text) != "first" {
				t.Errorf("%q %v", text, err)
			}
			_ = r.Close()
			if _, err := s.Get(t.Context(), "none"); !errors.Is(err, archive.ErrNotFound) {
				t.Error(err)
			}
			for range 2 {
				if err := s.Delete(t.Context(), "one"); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What was archived at each of several moments is what the archive has of it, encrypted or not, also once its days are put together.
func TestAnArchiveHasEachMoment(t *testing.T) {
	t.Parallel()
	key, other := identity(t), identity(t)
	for _, recipients := range [][]age.Recipient{nil, {other.Recipient(), key.Recipient()}} {
		for kind, store := range stores(t) {
			t.Run(fmt.Sprint(kind, len(recipients)), func(t *testing.T) {
				s, dir := newSource(), t.TempDir()
				a := archiver(s, store, dir, recipients...)
				var at []time.Time
				var had [][]string
				for n := range 9 {
					s.add("A", n)
					if n%2 == 0 {
						s.add("B", 2)
					}
					flush(t, a)
					flush(t, a) // of which nothing comes
					at, had = append(at, s.at), append(had, s.now())
					if n == 4 {
						s.at = s.at.Add(24 * time.Hour)
					}
					if n%3 == 2 {
						a = archiver(s, store, dir, recipients...) // another process
					}
				}
				check := func(segments int) {
					t.Helper()
					got := open(t, store, key)
					if got.Segments() != segments || got.Exchange() != "one" {
						t.Errorf("it has %d segments, and not %d", got.Segments(), segments)
					}
					for n := range at {
						if list := texts(t, got, got.At(at[n])); !slices.Equal(list, had[n]) {
							t.Errorf("moment %d: %d messages, and not %d", n, len(list), len(had[n]))
						}
					}
					if got.At(at[0].Add(-time.Second)) != nil {
						t.Error("there is a moment before the first")
					}
				}
				check(9)
				if err := a.Compact(t.Context(), s.at); err != nil {
					t.Fatal(err)
				}
				check(3) // five of the first day are one, and three of the second
				// What is deleted leaves the archive with what has it.
				s.remove("A", 1)
				if err := a.Rewrite(t.Context(), func(stream string, after, to uint64) bool { return stream == "A" && after < 1 && 1 <= to }); err != nil {
					t.Fatal(err)
				}
				for n := range had {
					had[n] = slices.DeleteFunc(had[n], func(s string) bool { return strings.HasPrefix(s, "A/1 ") })
				}
				check(3)
				names, err := store.List(t.Context())
				if err != nil || len(names) != 3 {
					t.Error(names, err)
				}
				if len(recipients) > 0 {
					if _, err := archive.Open(t.Context(), store, []age.Identity{identity(t)}); err == nil || errors.Is(err, archive.ErrDamaged) {
						t.Error("a stranger reads it:", err)
					}
				}
			})
		}
	}
}

// What is wrong with an archive is named, and nothing of it is believed.
func TestADamagedArchiveIsNamed(t *testing.T) {
	t.Parallel()
	key := identity(t)
	made := func(t *testing.T, exchange string, recipients ...age.Recipient) string {
		t.Helper()
		dir, s := t.TempDir(), newSource()
		a := archiver(s, archive.Directory(dir), t.TempDir(), recipients...)
		a.Exchange = exchange
		for range 4 {
			s.add("A", 50)
			flush(t, a)
		}
		return dir
	}
	for name, harm := range map[string]func(t *testing.T, dir, segment string){
		"missing": func(t *testing.T, dir, segment string) { must(t, os.Remove(filepath.Join(dir, segment))) },
		"a bit": func(t *testing.T, dir, segment string) {
			change(t, dir, segment, func(b []byte) []byte { b[len(b)*3/4] ^= 1; return b })
		},
		"cut": func(t *testing.T, dir, segment string) {
			change(t, dir, segment, func(b []byte) []byte { return b[:len(b)-1] })
		},
		"longer": func(t *testing.T, dir, segment string) {
			change(t, dir, segment, func(b []byte) []byte { return append(b, 'x') })
		},
		"empty":   func(t *testing.T, dir, segment string) { change(t, dir, segment, func([]byte) []byte { return nil }) },
		"foreign": func(t *testing.T, dir, segment string) { swap(t, dir, segment, made(t, "another", key.Recipient())) },
		"of another archive": func(t *testing.T, dir, segment string) {
			swap(t, dir, segment, made(t, "one", key.Recipient()))
		},
		"of the one before": func(t *testing.T, dir, segment string) {
			text, err := os.ReadFile(filepath.Join(dir, "000000000001-000000000001.seg"))
			must(t, err)
			change(t, dir, segment, func([]byte) []byte { return text })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const segment = "000000000002-000000000002.seg"
			dir := made(t, "one", key.Recipient())
			harm(t, dir, segment)
			a, err := archive.Open(t.Context(), archive.Directory(dir), []age.Identity{key})
			if err == nil {
				err = a.Each(t.Context(), a.Last(), func(string, *record.Message, bool, uint64) error { return nil })
			}
			if !errors.Is(err, archive.ErrDamaged) || !strings.Contains(err.Error(), segment) && !strings.Contains(err.Error(), "checkpoint 2") {
				t.Error(err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, dir, name string, f func([]byte) []byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, name), f(text), 0o600))
}

func swap(t *testing.T, dir, name, from string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(from, name))
	must(t, err)
	change(t, dir, name, func([]byte) []byte { return text })
}

// failing is a store whose next call of some kind fails, before or after it is done.
type failing struct {
	archive.Store
	put, del string // "", before, after
}

var errFailing = errors.New("the store fails")

func (f *failing) Put(ctx context.Context, name string, from io.Reader, size int64) error {
	if f.put == "before" {
		return errFailing
	}
	return errors.Join(f.Store.Put(ctx, name, from, size), map[string]error{"after": errFailing}[f.put])
}

func (f *failing) Delete(ctx context.Context, name string) error {
	if f.del == "before" {
		return errFailing
	}
	return errors.Join(f.Store.Delete(ctx, name), map[string]error{"after": errFailing}[f.del])
}

// A store that fails, before or after it has done what was asked, and a process that ends meanwhile, lose nothing and leave nothing
// twice.
func TestWhatIsCutShortIsFinished(t *testing.T) {
	t.Parallel()
	for _, fails := range []failing{{put: "before"}, {put: "after"}, {del: "before"}, {del: "after"}} {
		t.Run(fails.put+fails.del, func(t *testing.T) {
			t.Parallel()
			store, s, dir := archive.Directory(t.TempDir()), newSource(), t.TempDir()
			f := &failing{Store: store}
			s.add("A", 3)
			flush(t, archiver(s, f, dir))
			s.add("A", 3)
			f.put = fails.put
			if err := archiver(s, f, dir).Flush(t.Context()); (err != nil) != (f.put != "") {
				t.Error(err)
			}
			f.put = ""
			flush(t, archiver(s, f, dir))
			f.put, f.del = fails.put, fails.del
			if err := archiver(s, f, dir).Compact(t.Context(), s.at.Add(48*time.Hour)); !errors.Is(err, errFailing) {
				t.Error(err)
			}
			f.put, f.del = "", ""
			must(t, archiver(s, f, dir).Compact(t.Context(), s.at.Add(48*time.Hour)))
			a := open(t, store)
			if list := texts(t, a, a.Last()); !slices.Equal(list, s.now()) {
				t.Errorf("%q, and not %q", list, s.now())
			}
			if names, err := store.List(t.Context()); err != nil || len(names) != 1 {
				t.Error(names, err)
			}
		})
	}
}

// A backup that is cut short is none.
func TestABackupIsWholeOrNone(t *testing.T) {
	t.Parallel()
	s, key := newSource(), identity(t)
	s.add("A", 100)
	var b bytes.Buffer
	must(t, archive.Backup(t.Context(), &b, s, "one"))
	store := archive.Directory(t.TempDir())
	for _, n := range []int{0, 1, b.Len() / 2, b.Len() - 1} {
		if err := archive.Keep(t.Context(), store, bytes.NewReader(b.Bytes()[:n]), nil, t.TempDir()); err == nil {
			t.Errorf("%d bytes of %d are a backup", n, b.Len())
		}
	}
	must(t, archive.Keep(t.Context(), store, &b, []age.Recipient{key.Recipient()}, t.TempDir()))
	a := open(t, store, key)
	if list := texts(t, a, a.Last()); !slices.Equal(list, s.now()) {
		t.Errorf("%q", list)
	}
}

// Of past days a checkpoint an hour is kept: a year has half a million minutes.
func TestOfAPastDayHoursAreKept(t *testing.T) {
	t.Parallel()
	store, s, dir := archive.Directory(t.TempDir()), newSource(), t.TempDir()
	a := archiver(s, store, dir)
	for range 30 {
		s.add("A", 1)
		s.at = s.at.Add(-51 * time.Minute) // each ten minutes
		flush(t, a)
	}
	must(t, a.Compact(t.Context(), s.at.Add(48*time.Hour)))
	got := open(t, store)
	if at := got.At(s.at.Truncate(time.Hour)); at == nil || s.at.Truncate(time.Hour).Sub(at.At) > time.Hour || got.Last().Number != 30 {
		t.Errorf("%+v", at)
	}
	text, err := os.ReadFile(filepath.Join(dir, "archive.json"))
	if n := bytes.Count(text, []byte(`"number"`)); err != nil || n > 7 {
		t.Error(n, err)
	}
	s.add("A", 1)
	flush(t, a)
	if list := texts(t, open(t, store), open(t, store).Last()); !slices.Equal(list, s.now()) {
		t.Errorf("%q", list)
	}
}
