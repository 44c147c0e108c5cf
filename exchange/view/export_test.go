package view

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// RightTo is the operator's right to read a collection.
func RightTo(id string) policy.Read {
	return policy.ToRead(new(exchange.Register), exchange.As(exchange.Admin), &exchange.Collection{ID: id, Ceiling: 1}, exchange.ChannelTAXII)
}

var rightTo = RightTo

// openPlain opens a view whose blocks' payloads are their own text, which ends with the test.
func openPlain(t *testing.T) *View {
	t.Helper()
	v, err := Open(Options{
		Dir:        t.TempDir(),
		Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil },
		Continues:  func(*record.Block, uint64, string, time.Time) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close(context.Background()) })
	return v
}

// PlainRemoval reads a control block's payload that nobody has sealed.
func PlainRemoval(_ *record.Block, payload []byte) (*record.Removal, error) {
	r := new(record.Removal)
	return r, json.Unmarshal(payload, r)
}
