package view_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Which observables leave with what refers to them: those that no member has posted and nothing that stands refers to.
func TestWhichObservablesLeave(t *testing.T) {
	t.Parallel()
	const (
		address = "ipv4-addr--00000000-0000-4000-8000-000000000001"
		sink    = "ipv4-addr--00000000-0000-4000-8000-000000000002"
		contact = "network-traffic--00000000-0000-4000-8000-000000000001"
		seen    = "observed-data--00000000-0000-4000-8000-000000000001"
		other   = "observed-data--00000000-0000-4000-8000-000000000002"
		note    = "note--00000000-0000-4000-8000-000000000001"
	)
	object := func(id string, refs ...string) string {
		typ, _, _ := strings.Cut(id, "--")
		versions := `"created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z",`
		if stix.Observable(typ) {
			versions = ""
		}
		list := ""
		if len(refs) > 0 {
			list = `,"object_refs":["` + strings.Join(refs, `","`) + `"]`
		}
		return fmt.Sprintf(`{"type":%q,"spec_version":"2.1",%s"id":%q%s}`, typ, versions, id, list)
	}
	feed := func(objects ...string) record.Block {
		return record.Block{Feed: "f", Payload: []byte(strings.Join(objects, ","))}
	}
	member := func(objects ...string) record.Block {
		b := feed(objects...)
		b.Feed, b.By, b.Labels = "", "m", slices.Repeat([]byte{record.PackLabels(tlp.Green, tlp.None)}, len(objects))
		return b
	}
	version := func(id string) record.Version {
		return record.Version{ID: id, SpecVersion: "2.1", Version: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	}
	host := func(ids ...string) (r record.Removal) {
		for _, id := range ids {
			r.Objects = append(r.Objects, record.Withdrawn{ID: id})
		}
		return r
	}
	own := []string{object(address), object(contact, address, sink), object(sink), object(seen, address, contact)}
	for name, c := range map[string]struct {
		blocks []record.Block
		out    record.Removal
		stay   []string
	}{
		"all that it alone refers to":                {[]record.Block{feed(own...)}, host(seen), nil},
		"another's, in the same block":               {[]record.Block{feed(append(own, object(other, address))...)}, host(seen), []string{address, other}},
		"another's, in a later block":                {[]record.Block{feed(own...), feed(object(address), object(other, address))}, host(seen), []string{address, other}},
		"both":                                       {[]record.Block{feed(own...), feed(object(address), object(other, address))}, host(seen, other), nil},
		"the contact of another":                     {[]record.Block{feed(append(own, object(other, contact))...)}, host(seen), []string{address, contact, sink, other}},
		"a member refers to it":                      {[]record.Block{feed(own...), member(object(note, address))}, host(seen), []string{address, note}},
		"a member has posted it":                     {[]record.Block{member(object(sink)), feed(own...)}, host(seen), []string{sink}},
		"a member's reference that is withdrawn too": {[]record.Block{feed(own...), member(object(note, address))}, record.Removal{Objects: host(seen).Objects, Withdrawn: []record.Version{version(note)}}, nil},
		"a member's reference that is deleted":       {[]record.Block{feed(object(address)), member(object(note, address))}, record.Removal{Versions: []record.Version{version(note)}}, nil},
		"a member's reference that comes again":      {[]record.Block{feed(object(address)), member(object(note, address))}, record.Removal{Raised: []record.Version{version(note)}}, []string{address}},
		"nothing":                                    {[]record.Block{feed(own...)}, host(other), []string{address, contact, sink, seen}},
	} {
		v := open(t, t.TempDir())
		added := int64(1)
		for i, b := range append(c.blocks, record.Block{Control: record.ControlWithdraw}) {
			b.Collection, b.Number, b.Sequence, b.AddedFirst = "a", uint64(i+1), uint64(i+1), time.UnixMicro(added)
			if b.Control != "" {
				b.Payload, _ = json.Marshal(c.out)
			} else {
				b.Count = strings.Count(string(b.Payload), `"type":`)
				b.Payload = []byte(`{"objects":[` + string(b.Payload) + `]}`)
				b.Starts = []byte{1}
			}
			added += int64(b.Count) + 1
			if err := v.ApplyBlock(&b); err != nil {
				t.Fatal(name, err)
			}
		}
		p, err := v.Page(t.Context(), rightTo("a"), view.Query{Limit: 100})
		if err != nil {
			t.Fatal(name, err)
		}
		objects, err := p.Objects()
		if err != nil || len(v.Broken()) > 0 {
			t.Fatal(name, err, v.Broken())
		}
		var got []string
		for _, raw := range objects {
			h, _ := stix.ParseHead(raw)
			got = append(got, h.ID)
		}
		slices.Sort(got)
		got = slices.Compact(got) // some stand at several places
		slices.Sort(c.stay)
		if !slices.Equal(got, c.stay) {
			t.Errorf("%s: there are %v, want %v", name, got, c.stay)
		}
		if err := v.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
}
