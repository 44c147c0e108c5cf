package view_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// control is a control block of a collection.
func control(t *testing.T, number uint64, at int64, r record.Removal) *record.Block {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return &record.Block{Collection: "a", Number: number, Sequence: number, AddedFirst: time.UnixMicro(at), Control: record.ControlDelete, Payload: text}
}

func apply(t *testing.T, v *view.View, blocks ...*record.Block) {
	t.Helper()
	for _, b := range blocks {
		if err := v.ApplyBlock(b); err != nil {
			t.Fatal(err)
		}
	}
}

// Two control blocks at one instant are told of both.
func TestRemovalsAtOneInstant(t *testing.T) {
	v := open(t, t.TempDir())
	defer func() { _ = v.Close(t.Context()) }()
	one, two := object{id: 1, version: 1}, object{id: 2, version: 1}
	apply(t, v, &record.Block{Collection: "a", Number: 1, Sequence: 1, Count: 2, AddedFirst: time.UnixMicro(100), Payload: []byte(`{"objects":[` + one.text() + "," + two.text() + `]}`)},
		control(t, 2, 200, record.Removal{Versions: []record.Version{one.named()}}), control(t, 3, 200, record.Removal{Versions: []record.Version{two.named()}}))
	list, err := v.Removed(rightTo("a"), time.Time{}, 10)
	holes, _, err2 := v.Holes("a", time.Time{})
	if len(list) != 2 || len(holes) != 1 || len(holes[0].Positions) != 2 || err != nil || err2 != nil {
		t.Errorf("%v, holes %v: %v %v", list, holes, err, err2)
	}
}

// What stands beside an address is what is left there, also in a view that is made of what stays of the block.
func TestWhatStandsBesideAnAddressAfterARemoval(t *testing.T) {
	const address = "ipv4-addr--00000000-0000-4000-8000-000000000001"
	observed := func(n int, l tlp.Level) (id, text string) {
		id = fmt.Sprintf("observed-data--00000000-0000-4000-8000-%012d", n)
		return id, fmt.Sprintf(`{"type":"observed-data","spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z","object_refs":[%q],"object_marking_refs":[%q]}`, id, address, l.MarkingID())
	}
	a := fmt.Sprintf(`{"type":"ipv4-addr","spec_version":"2.1","id":%q,"value":"240.0.0.1"}`, address)
	one, green := observed(1, tlp.Green)
	two, amber := observed(2, tlp.Amber)
	block := func(removed []byte, texts ...string) *record.Block {
		return &record.Block{Collection: "a", Number: 1, Sequence: 1, Count: 3, AddedFirst: time.UnixMicro(100), Starts: []byte{1}, Feed: "f", Removed: removed, Payload: []byte(`{"objects":[` + strings.Join(texts, ",") + `]}`)}
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out := control(t, 2, 200, record.Removal{Versions: []record.Version{{ID: one, SpecVersion: "2.1", Version: at}}})
	rest := control(t, 3, 300, record.Removal{Objects: []record.Withdrawn{{ID: two}}})
	beside := func(v *view.View, want tlp.Level) {
		t.Helper()
		raw, got, err := v.Made(t.Context(), "a", address)
		if got != want || (raw == nil) != (want == tlp.None) || err != nil {
			t.Errorf("%s beside %s, want %s: %v", raw, got, want, err)
		}
	}
	v, again := open(t, t.TempDir()), open(t, t.TempDir())
	defer func() { _, _ = v.Close(t.Context()), again.Close(t.Context()) }()
	apply(t, v, block(nil, a, green, amber))
	beside(v, tlp.Green)
	apply(t, v, out)
	beside(v, tlp.Amber)
	apply(t, again, block([]byte{2}, a, amber), out)
	beside(again, tlp.Amber)
	apply(t, v, rest)
	beside(v, tlp.None)
	list, err := v.Removed(rightTo("a"), time.UnixMicro(200), 10)
	if len(list) != 1 || strings.Join(list[0].IDs, " ") != two+" "+address || err != nil {
		t.Errorf("%v: %v", list, err) // the address has left with it
	}
	if list, err := v.Withdrawn(rightTo("a"), time.UnixMicro(200), 10); len(list) != 1 || strings.Join(list[0].IDs, " ") != two || err != nil {
		t.Errorf("%v: %v", list, err) // whose id tells it
	}
}

// A block that says that it has more objects than fit into it is not believed.
func TestABlockOfImpossiblyManyObjects(t *testing.T) {
	for _, removed := range [][]byte{nil, {1}} {
		v := open(t, t.TempDir())
		b := &record.Block{Collection: "a", Number: 1, Sequence: 1, Count: math.MaxInt, AddedFirst: time.UnixMicro(100), Feed: "f", Payload: []byte(`{"objects":[]}`), Removed: removed}
		apply(t, v, b)
		if len(v.Broken()) != 1 {
			t.Error(v.Broken())
		}
		if err := v.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
