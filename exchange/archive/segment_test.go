package archive_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A segment that somebody else has written says nothing that becomes a path, or a panic.
func TestAHostileHeaderIsRefused(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(c *record.Checkpoint){
		"no ends":       func(c *record.Checkpoint) { c.Ends = nil },
		"a path":        func(c *record.Checkpoint) { c.Ends["../../x"] = 1 },
		"a stream more": func(c *record.Checkpoint) { c.Ends["C"] = 1 },
	} {
		s := newSource()
		s.add("A", 3)
		s.add("B", 3)
		store := archive.Directory(t.TempDir())
		var b bytes.Buffer
		must(t, archive.Backup(t.Context(), &b, hostile{s, harm}, "one"))
		must(t, archive.Keep(t.Context(), store, &b, nil, t.TempDir()))
		if _, err := archive.Open(t.Context(), store, nil); !errors.Is(err, archive.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type hostile struct {
	*source
	harm func(c *record.Checkpoint)
}

func (h hostile) Checkpoint(ctx context.Context) (record.Checkpoint, error) {
	c, err := h.source.Checkpoint(ctx)
	h.harm(&c)
	return c, err
}

func FuzzSegment(f *testing.F) {
	s := newSource()
	s.add("A", 3)
	var b bytes.Buffer
	if err := archive.Backup(context.Background(), &b, s, "one"); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte("age-encryption.org/v1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		store := memory{"000000000001-000000000001.seg": text}
		if a, err := archive.Open(t.Context(), store, nil); err == nil {
			_ = a.Each(t.Context(), a.Last(), func(string, *record.Message, bool, uint64) error { return nil })
		}
	})
}

// memory is a store in memory, to be read.
type memory map[string][]byte

func (m memory) Put(context.Context, string, io.Reader, int64) error { return errFailing }

func (m memory) Delete(context.Context, string) error { return errFailing }

func (m memory) List(context.Context) ([]string, error) { return slices.Collect(maps.Keys(m)), nil }

func (m memory) Get(_ context.Context, name string) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[name])), nil
}
