package view_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What a member has posted is known by its id with its labels, creator and versions, and what refers to it; what was
// removed is not, and what is remembered is.
func TestWhatMembersHavePostedIsKnownByItsID(t *testing.T) {
	v := open(t, t.TempDir())
	defer func() { _ = v.Close(context.Background()) }()
	const note, address = "note--00000001-0000-4000-8000-000000000000", "ipv4-addr--00000002-0000-4000-8000-000000000000"
	version := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	text := func(n int) string {
		return `{"type":"note","id":"` + note + `","spec_version":"2.1","created":"2026-01-01T00:00:00Z","modified":"` + version(n).Format(time.RFC3339) +
			`","created_by_ref":"identity--A0000000-0000-4000-8000-000000000000","object\u005frefs":["` + address + `"]}`
	}
	sequence, number := uint64(0), make(map[string]uint64)
	apply := func(b record.Block) {
		t.Helper()
		sequence++
		number[b.Collection]++
		b.Sequence, b.Number, b.AddedFirst, b.By = sequence, number[b.Collection], time.UnixMicro(int64(1000*sequence)), "m"
		if err := v.ApplyBlock(&b); err != nil {
			t.Fatal(err)
		}
	}
	post := func(c string, labels byte, raw string) {
		t.Helper()
		apply(record.Block{Collection: c, Count: 1, Payload: []byte(`{"objects":[` + raw + `]}`), Labels: []byte{labels}})
	}
	post("a", record.PackLabels(tlp.Amber, tlp.None), text(1))
	post("a", record.PackLabels(tlp.Red, tlp.Green), text(2))
	post("b", record.PackLabels(tlp.Green, tlp.Green), text(1))
	post("b", record.PackLabels(tlp.Clear, tlp.None), `{"type":"ipv4-addr","id":"`+address+`","value":"198.51.100.2"}`)
	post("b", 0, `{"type":"ipv4-addr","id":"ipv4-addr--00000003-0000-4000-8000-000000000000","value":"198.51.100.3"}`)
	of := func(n int) record.Version { return record.Version{ID: note, SpecVersion: "2.1", Version: version(n)} }
	posted := func(c string, n int, label, own tlp.Level) record.Posted {
		return record.Posted{Collection: c, Version: of(n), By: "m", Creator: "identity--a0000000-0000-4000-8000-000000000000", Label: label, Own: own, Refers: true, Size: len(text(n))}
	}
	known := func(want ...record.Posted) {
		t.Helper()
		var got []record.Posted
		err := v.Posted([]string{"note--00000009-0000-4000-8000-000000000000", note, "nothing"}, func(i int, p *record.Posted) error {
			if i != 1 {
				t.Error(i)
			}
			got = append(got, *p)
			return nil
		})
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(d, err)
		}
	}
	known(posted("a", 1, tlp.Amber, tlp.None), posted("a", 2, tlp.Red, tlp.Green), posted("b", 1, tlp.Green, tlp.Green))
	for c, want := range map[string][]record.Version{"a": {of(1), of(2)}, "b": {of(1)}, "c": nil} {
		got, err := v.Referring(c, address)
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Error(c, d, err)
		}
	}
	if raw, err := v.Object(t.Context(), "a", of(1)); string(raw) != text(1) || err != nil {
		t.Errorf("%s %v", raw, err)
	}
	if raw, err := v.Object(t.Context(), "b", of(2)); raw != nil || err != nil {
		t.Errorf("%s %v", raw, err)
	}
	removal, err := json.Marshal(record.Removal{Versions: []record.Version{of(1)}, Remembered: []record.Remembered{{Version: of(3), Label: tlp.Red}}})
	if err != nil {
		t.Fatal(err)
	}
	apply(record.Block{Collection: "a", Control: record.ControlWithdraw, Payload: removal})
	last := record.Posted{Collection: "a", Version: of(3), By: "m", Label: tlp.Red, Remembered: true}
	known(posted("a", 2, tlp.Red, tlp.Green), last, posted("b", 1, tlp.Green, tlp.Green))
	if raw, err := v.Object(t.Context(), "a", of(1)); raw != nil || err != nil {
		t.Errorf("%s %v", raw, err)
	}
	none, err := v.Withdrawn(rightTo("a"), time.Time{}, 10)
	if len(none) != 0 || err != nil { // version 2 is left
		t.Error(none, err)
	}
}
