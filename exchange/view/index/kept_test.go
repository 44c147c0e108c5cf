package index

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A page of a rare type ends early rather than keep very many blocks in memory, and the next goes on behind it.
func TestPagesKeepFewBlocks(t *testing.T) {
	defer func(was int) { maxKept = was }(maxKept)
	maxKept = 8 << 10
	v := openPlain(t)
	const blocks, each = 30, 100
	object := func(typ string, id int) string {
		return fmt.Sprintf(`{"type":"%s","spec_version":"2.1","id":"%s--00000000-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z"}`, typ, typ, id)
	}
	for n := range blocks {
		objects := []string{object("malware", n)}
		for i := 1; i < each; i++ {
			objects = append(objects, object("sighting", n*each+i))
		}
		b := &record.Block{Collection: "a", Number: uint64(n + 1), Count: each, AddedFirst: time.UnixMicro(int64(1 + n*each)), Payload: []byte(`{"objects":[` + strings.Join(objects, ",") + `]}`), Sequence: uint64(n + 1)}
		v.add(b)
	}
	for _, facts := range []bool{false, true} {
		q, pages := Query{Limit: 1000, Types: []string{"malware"}, Facts: facts}, 0
		var list []time.Time
		for more := true; more; pages++ {
			p, err := v.Page(t.Context(), rightTo("a"), q)
			if err != nil {
				t.Fatal(err)
			}
			if p.Count == 0 || len(p.parts) > 8 {
				t.Fatalf("%d objects in %d blocks", p.Count, len(p.parts))
			}
			list, q.After, more = append(list, p.Added()...), p.Reached, p.More
		}
		if len(list) != blocks || pages < 3 {
			t.Fatalf("%d objects on %d pages", len(list), pages)
		}
		for n, at := range list {
			if at.UnixMicro() != int64(1+n*each) {
				t.Fatalf("object %d was added at %d", n, at.UnixMicro())
			}
		}
	}
}
