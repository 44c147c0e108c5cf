package index

import (
	"context"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// rightTo is the operator's right to read a collection.
func rightTo(id string) policy.Read {
	return policy.ToRead(new(exchange.Register), exchange.As(exchange.Admin), &exchange.Collection{ID: id, Ceiling: 1}, exchange.ChannelTAXII)
}

// testIndex is an index alone, which ends with its test. Payloads are their own text.
type testIndex struct {
	*Index
	*testing.T
	shares []record.Share // of any intake record
}

func openPlain(t *testing.T) *testIndex {
	t.Helper()
	db, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	x := &testIndex{T: t}
	if x.Index, err = Open(db, Options{Package: func(context.Context, uint64) ([]record.Share, error) { return x.shares, nil }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return x
}

// write puts something into a collection.
func (x *testIndex) write(collection string, what func(w *Writer) error) {
	x.Helper()
	b := x.db.NewIndexedBatch()
	defer func() { _ = b.Close() }()
	before, err := store.NewFiltered(x.db)
	if err != nil {
		x.Fatal(err)
	}
	defer func() { _ = before.Close() }()
	w := x.Begin(b, before, collection)
	if err := what(w); err != nil {
		x.Fatal(err)
	}
	w.Write()
	if err := b.Commit(pebble.NoSync); err != nil {
		x.Fatal(err)
	}
	w.Done()
}

// add adds a block.
func (x *testIndex) add(b *record.Block) {
	x.Helper()
	x.write(b.Collection, func(w *Writer) error {
		w.End(b)
		return w.Add(b, b.Payload, func(int, []byte, stix.Brief) error { return nil })
	})
}
