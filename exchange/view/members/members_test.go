package members

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// rooms are collections by number.
type rooms []string

func (r rooms) Number(c string) (uint32, bool) {
	i := slices.Index(r, c)
	return uint32(i), i >= 0
}
func (r rooms) Name(c uint32) string { return r[c] }

// What is known of members' objects is what a plain list says, after versions were added, remembered and forgotten.
func TestKnownIsWhatAPlainListSays(t *testing.T) {
	dir := t.TempDir()
	db, err := store.Open(dir, store.Options{Prefixes: map[byte]func([]byte) int{'g': Prefix, 'd': Prefix}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	all := rooms{"a", "b"}
	m := &Members{DB: db, Collections: all}
	run := 0
	rapid.Check(t, func(t *rapid.T) {
		run++
		ids := make([]string, 4)
		for i := range ids {
			ids[i] = fmt.Sprintf("%s--%08d-0000-4000-8000-%012d", []string{"note", "tool", "indicator", "report"}[i], run, i/2) // some have a UUID in common
		}
		at := func(v int) time.Time { return time.Date(2026, 1, v, 0, 0, 0, 0, time.UTC) }
		var want []record.Posted
		for range rapid.IntRange(0, 12).Draw(t, "steps") {
			id, v, c := rapid.IntRange(0, 3).Draw(t, "id"), rapid.IntRange(1, 3).Draw(t, "version"), rapid.IntRange(0, 1).Draw(t, "collection")
			p := record.Posted{Collection: all[c], Version: record.Version{ID: ids[id], SpecVersion: "2.1", Version: at(v)}, By: "m"}
			p.Remembered = rapid.IntRange(0, 4).Draw(t, "remembered") == 0
			stands := func(o record.Posted) bool {
				return o.Collection == p.Collection && o.Version == p.Version && o.Remembered == p.Remembered
			}
			b := db.NewBatch()
			want = slices.DeleteFunc(want, stands)
			switch {
			case p.Remembered:
				p.Label = tlp.Red
				err = Remember(b, uint32(c), &record.Remembered{Version: p.Version, Label: p.Label}, p.By)
			case rapid.IntRange(0, 3).Draw(t, "forget") == 0:
				of, _ := key.Of(p.Version)
				Forget(b, uint32(c), of, key.VersionOf(p.Version.Version))
			default:
				const address = "ipv4-addr--00000000-0000-4000-8000-000000000001"
				to, typ := append(ids, address)[rapid.IntRange(0, 4).Draw(t, "refers to")], ids[id][:len(ids[id])-38]
				raw := fmt.Sprintf(`{"type":%q,"id":%q,"spec_version":"2.1","created":"2026-01-01T00:00:00Z","modified":%q,"object_refs":[%q]}`, typ, ids[id], at(v).Format(time.RFC3339), to)
				brief, _ := stix.ScanBrief([]byte(raw))
				p.Label, p.Own, p.Size = tlp.Amber, tlp.Green, len(raw)
				p.Refers = to == address
				err = Add(b, uint32(c), brief, []byte(raw), p.By, record.PackLabels(p.Label, p.Own))
			}
			if err == nil {
				err = b.Commit(pebble.NoSync)
			}
			if err != nil {
				t.Fatal(err)
			}
			if p.Label != tlp.None {
				want = append(want, p)
			}
		}
		for i, id := range ids {
			var got, mine []record.Posted
			err := m.Posted([]string{"nothing", id}, func(n int, p *record.Posted) error {
				if n != 1 {
					t.Errorf("asked for the %d-th", n)
				}
				got = append(got, *p)
				return nil
			})
			for _, p := range want {
				if p.ID == ids[i] {
					mine = append(mine, p)
				}
			}
			by := func(a, b record.Posted) int { return slices.Compare([]string{fmt.Sprint(a)}, []string{fmt.Sprint(b)}) }
			slices.SortFunc(got, by)
			slices.SortFunc(mine, by)
			if d := cmp.Diff(mine, got); d != "" || err != nil {
				t.Fatal(id, err, d)
			}
		}
	})
}
