package index

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// Who reads between a batch and what is published of it misses nothing of the first objects of STIX 2.0.
func TestAReaderBetweenABatchAndItsEnd(t *testing.T) {
	x := openPlain(t)
	const id = "sighting--00000000-0000-4000-8000-000000000001"
	x.add(&record.Block{
		Collection: "a", Number: 1, Sequence: 1, Count: 1, AddedFirst: time.UnixMicro(100),
		Payload: []byte(`{"objects":[{"type":"sighting","spec_version":"2.1","id":"` + id + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}]}`),
	})
	block := &record.Block{
		Collection: "a", Number: 2, Sequence: 2, Count: 2, AddedFirst: time.UnixMicro(200),
		Payload: []byte(`{"objects":[{"type":"sighting","id":"` + id + `","created":"2026-01-01T00:00:00Z","modified":"2026-01-02T00:00:00Z"},{"type":"sighting","id":"sighting--00000000-0000-4000-8000-000000000002","created":"2026-01-01T00:00:00Z","modified":"2026-01-02T00:00:00Z"}]}`),
	}
	b := x.db.NewBatch()
	before, err := store.NewFiltered(x.db)
	if err != nil {
		t.Fatal(err)
	}
	w := x.Begin(b, before, "a")
	w.End(block)
	if err := w.Add(block, block.Payload, func(int, []byte, stix.Brief) error { return nil }); err != nil {
		t.Fatal(err)
	}
	w.Write()
	_ = before.Close()
	if err := b.Commit(pebble.NoSync); err != nil {
		t.Fatal(err)
	}
	if p, err := x.Page(t.Context(), rightTo("a"), Query{Limit: 10, SpecVersions: []string{"2.0"}}); err != nil || p.Count != 2 {
		t.Errorf("%d objects: %v", p.Count, err)
	}
	w.Done()
}
