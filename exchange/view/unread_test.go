package view

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// What cannot be read of the view is not taken for what is not there: a reader would go on behind it.
func TestWhatCannotBeReadIsNotMissing(t *testing.T) {
	own := exchange.FeedCollection("f")
	shares := func(context.Context, *record.Intake, func(string) bool) ([]record.Share, error) {
		g := new(record.Group)
		for i := range 2000 { // of one type and the other in turns
			typ := []string{"sighting", "x-own"}[i%2]
			id := fmt.Sprintf("%s--00000000-0000-4000-8000-%012d", typ, i)
			raw := fmt.Sprintf(`{"type":%q,"spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z"}`, typ, id)
			g.Objects = append(g.Objects, record.Object{ID: id, Raw: []byte(raw), New: true})
		}
		return []record.Share{{Collection: own, Groups: []*record.Group{g}}}, nil
	}
	opt := Options{Dir: t.TempDir(), Shares: shares, Again: shares, Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil }}
	v, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	in := &record.Intake{Feed: "f", At: time.UnixMicro(10)}
	if err := v.ApplyIntake(t.Context(), 1, in.Append(nil)); err != nil {
		t.Fatal(err)
	}
	// Between the sets of the two types is so much that they are in different parts of the file.
	between := append([]byte{'y'}, 0, 0, 0, 1, 1) // the type that is first
	if err := v.db.Set(between, make([]byte, 100<<10), pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if err := v.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	damaged := 0
	files, err := filepath.Glob(filepath.Join(opt.Dir, "*", "*.blob"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if i := bytes.LastIndex(b, bytes.Repeat([]byte{0x55}, 250)); i >= 0 { // every second one: the set of sighting
			b[i] ^= 1
			damaged++
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if damaged != 1 {
		t.Fatalf("damaged %d sets in %d files", damaged, len(files))
	}
	if v, err = Open(opt); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = v.Close(context.Background()) }()
	if p, err := v.Page(t.Context(), rightTo(own), Query{Limit: 10, Types: []string{"x-own"}}); err != nil || p.Count != 10 {
		t.Errorf("the other type's page: %v, %+v", err, p)
	}
	if p, err := v.Page(t.Context(), rightTo(own), Query{Limit: 10, Types: []string{"sighting", "x-own"}}); err == nil {
		t.Errorf("no error, and %d objects, the last at %v", p.Count, p.Last)
	}
}
