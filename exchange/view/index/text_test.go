package index

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// addBlocks adds blocks of two objects each, at 10, 20, ... µs.
func addBlocks(t *testing.T, v *testIndex, n int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		var objects []string
		for j := range 2 {
			objects = append(objects, fmt.Sprintf(`{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z"}`, 2*i+j))
		}
		b := &record.Block{
			Collection: "a", Number: uint64(i), Count: 2, AddedFirst: time.UnixMicro(int64(10 * i)), Sequence: uint64(i),
			Payload: []byte(`{"objects":[` + strings.Join(objects, ",") + `]}`),
		}
		v.add(b)
	}
}

func TestAPageIsTakenAndWrittenAlike(t *testing.T) {
	v := openPlain(t)
	addBlocks(t, v, 3)
	p, err := v.Page(t.Context(), rightTo("a"), Query{Limit: 5})
	if err != nil || p.Count != 5 {
		t.Fatalf("%d objects, %v; want 5", p.Count, err)
	}
	objects, err := p.Objects()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var b bytes.Buffer
		if _, err := p.WriteTo(&b); err != nil || b.Len() != p.Len() || b.String() != string(bytes.Join(objects, []byte{','})) {
			t.Fatalf("written: %s, %v; want %s", &b, err, objects)
		}
	}
}

// Who goes once through a large collection does not push out of the cache what is wanted again and again.
func TestABlockThatIsWantedAgainStaysInTheCache(t *testing.T) {
	v := openPlain(t)
	const blocks = 200
	addBlocks(t, v, blocks)
	read := func(n int) {
		t.Helper()
		p, err := v.Page(t.Context(), rightTo("a"), Query{Limit: 2, After: time.UnixMicro(int64(10*n - 1))})
		if err == nil {
			_, err = p.WriteTo(new(bytes.Buffer))
		}
		if err != nil {
			t.Fatal(err)
		}
		v.cache.CleanUp()
	}
	read(7)
	c, _ := v.Number("a")
	one := v.cache.get(cacheKey{c, 70})
	if one == nil {
		t.Fatal("what was read is not kept")
	}
	v.cache = newBlockCache(20 * one.size())
	for n := range blocks {
		read(n + 1)
		read(7)
	}
	if n := v.cache.EstimatedSize(); v.cache.get(cacheKey{c, 70}) == nil || n > 20 {
		t.Errorf("%d blocks are kept, and not the one that was wanted most", n)
	}
}

// A block of a feed's own collection is packaged anew where the cache loses it between a look and the read.
func TestAPackagedBlockMayLeaveTheCacheAtAnyMoment(t *testing.T) {
	v := openPlain(t)
	text := `{"type":"sighting","spec_version":"2.1","id":"sighting--00000000-0000-4000-8000-000000000001","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z"}`
	o := record.Object{ID: text[46:92], Raw: []byte(text), New: true}
	v.shares = []record.Share{{Collection: exchange.FeedCollection("f"), Groups: []*record.Group{{Objects: []record.Object{o}}}}}
	v.write(exchange.FeedCollection("f"), func(w *Writer) error {
		_, err := w.AddOwn(&record.Intake{Feed: "f", At: time.UnixMicro(10)}, 1, v.shares)
		return err
	})
	c, _ := v.Number(exchange.FeedCollection("f"))
	for name, take := range map[string]func(*reader, part) error{
		"kept":   (*reader).keep,
		"loaded": func(r *reader, p part) error { return r.load(&p) },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := v.reader(t.Context(), c, &Query{Limit: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = r.Close() }()
			if err := r.take(10, oneBit(0), false); err != nil { // puts it into the cache
				t.Fatal(err)
			}
			b, err := r.known(10)
			if err != nil || b.pieces == nil {
				t.Fatal("it is not in the cache:", err)
			}
			v.cache = newBlockCache(1 << 20)
			if err := take(r, part{block: b, first: 10, set: oneBit(0)}); err != nil {
				t.Error(err)
			}
		})
	}
}
