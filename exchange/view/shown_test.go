package view_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// An object has its label as soon as it is shown, also where somebody had looked for it just before.
func TestWhatIsShownHasItsLabel(t *testing.T) {
	v := open(t, t.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var latest, looks atomic.Int64
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				name := object{id: int(latest.Load()), version: 1}.name()
				p, err := v.Page(ctx, rightTo("a"), view.Query{IDs: []string{name}, Limit: 1})
				if err != nil || p.Count == 0 {
					continue
				}
				raw, err := p.Objects()
				if err != nil {
					t.Error(err)
					return
				}
				l, err := v.LabelIn(&exchange.Collection{ID: "a"}, raw[0])
				if looks.Add(1); err != nil || l != tlp.Red {
					t.Error(l, err)
					return
				}
			}
		})
	}
	for n := range 8000 {
		o := object{id: n + 1, version: 1}
		if s, err := v.Standings(o.name()); s != nil || err != nil { // as before each post
			t.Fatal(s, err)
		}
		latest.Store(int64(n + 1))
		err := v.ApplyBlock(&record.Block{
			Collection: "a", Number: uint64(n + 1), Count: 1, AddedFirst: time.UnixMicro(int64(100 * (n + 1))), Payload: []byte(`{"objects":[` + o.text() + `]}`),
			Sequence: uint64(n + 1), By: "m", Labels: []byte{byte(tlp.Red)},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	readers.Wait()
	if looks.Load() == 0 {
		t.Error("nobody has seen anything")
	}
}
