package hosts

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// FuzzHost reads what may be in a damaged view: what is known of a host's day.
func FuzzHost(f *testing.F) {
	f.Add((&hostRecord{events: []hostEvent{{sequence: 7}}}).append(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeHost(b)
	})
}

// What is known of hosts is what a plain list of the records says.
func TestKnownIsWhatAPlainListSays(t *testing.T) {
	db, err := store.Open(t.TempDir(), store.Options{Prefixes: map[byte]func([]byte) int{'a': Prefix}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	s := &Hosts{DB: db, Decompress: func(dst, b []byte) ([]byte, error) { return append(dst, b...), nil }}
	day := func(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }
	sequence := uint64(0)
	rapid.Check(t, func(t *rapid.T) {
		feed := fmt.Sprint("f", sequence)
		type seen struct {
			key    exchange.ObservationKey
			events []exchange.EventID
			at     []uint64
		}
		var all []seen
		known := make(map[netip.Addr]bool)
		gone := make(map[exchange.HostDay][]uint64) // records of what was recalled
		topics, keys := make(map[record.Introduction]time.Time), make(map[string]uint64)
		clean := make(map[netip.Addr]time.Time)
		addresses := []netip.Addr{netip.MustParseAddr("240.0.0.1"), netip.MustParseAddr("240.0.0.2"), netip.MustParseAddr("2001:db8::1")}
		for range rapid.IntRange(0, 8).Draw(t, "records") {
			sequence++
			in := &record.Intake{Feed: feed, Key: fmt.Sprint("k", sequence), At: day(20), Decisions: make([]exchange.Decision, 1)}
			keys[in.Key] = sequence
			for range rapid.IntRange(0, 4).Draw(t, "observations") {
				a, at := rapid.SampledFrom(addresses).Draw(t, "address"), day(rapid.IntRange(1, 3).Draw(t, "day"))
				key := exchange.ObservationKey{
					HostDay: exchange.HostDay{Address: a, Day: exchange.DayOf(at)}, Country: rapid.SampledFrom([]string{"", "AT"}).Draw(t, "country"),
					Exposed: rapid.SampledFrom([]string{"", "", "x"}).Draw(t, "exposed"),
				}
				known[a] = true
				if slices.ContainsFunc(in.Observations, func(o record.Observation) bool { return o.ObservationKey == key }) {
					continue
				}
				i := slices.IndexFunc(all, func(s seen) bool { return s.key == key })
				in.Observations = append(in.Observations, record.Observation{ObservationKey: key, First: at, Last: at, New: i < 0, Count: 1})
				if i < 0 {
					i = len(all)
					all = append(all, seen{key: key})
				}
				e := record.Accepted{Event: exchange.Event{Address: a, Observed: at, Count: 1, Port: uint16(sequence)}, Observation: len(in.Observations) - 1}
				in.Events = append(in.Events, e)
				all[i].events, all[i].at = append(all[i].events, e.ID()), append(all[i].at, sequence)
			}
			if rapid.Bool().Draw(t, "introduces") {
				x := record.Introduction{Collection: "c", Topic: rapid.SampledFrom([]string{"x", "y"}).Draw(t, "topic")}
				in.Introductions, topics[x] = []record.Introduction{x}, in.At
			}
			if len(in.Observations) == 0 && rapid.Bool().Draw(t, "clean") {
				a := rapid.SampledFrom(addresses).Draw(t, "clean address")
				in.Cleaned, clean[a] = []record.Cleaned{{Address: a, At: day(4)}}, day(4)
			}
			if len(in.Observations)+len(in.Cleaned) == 0 && len(all) > 0 && rapid.Bool().Draw(t, "recall") {
				i := rapid.IntRange(0, len(all)-1).Draw(t, "of")
				n := rapid.IntRange(1, len(all[i].events)).Draw(t, "events")
				o := &all[i]
				in.Reason, in.Recalled = "x", slices.Clone(o.events[:n])
				in.Observations = []record.Observation{{ObservationKey: o.key, First: day(1), Last: day(1), Count: int64(len(o.events) - n)}}
				gone[o.key.HostDay] = append(gone[o.key.HostDay], o.at[:n]...)
				if o.events, o.at = o.events[n:], o.at[n:]; len(o.events) == 0 {
					all = slices.Delete(all, i, i+1)
				}
				keys = map[string]uint64{in.Key: sequence} // what was published before may come again
			}
			b := db.NewBatch()
			before, err := store.NewFiltered(db)
			if err == nil {
				err = s.Add(b, before, in, sequence, in.Append(nil))
			}
			if err == nil {
				err = b.Commit(pebble.NoSync)
			}
			if err != nil {
				t.Fatal(err)
			}
			_ = before.Close()
		}
		look, err := s.Snapshot(feed)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = look.Close() }()
		for _, a := range addresses {
			var days []exchange.Day
			for n := 1; n < 5; n++ {
				of := exchange.HostDay{Address: a, Day: exchange.DayOf(day(n))}
				var want record.HostSnapshot
				var records []uint64
				want.Address = known[a]
				for _, o := range all {
					if o.key.HostDay == of {
						want.Observations = append(want.Observations, record.Observation{ObservationKey: o.key})
						want.Events, records = append(want.Events, o.events...), append(records, o.at...)
					}
				}
				records = append(records, gone[of]...)
				if len(records) > 0 {
					days = append(days, of.Day)
				}
				got, err := look.Host(of)
				for i, o := range got.Observations {
					got.Observations[i] = record.Observation{ObservationKey: o.ObservationKey}
				}
				sorted := cmp.Options{
					cmpopts.SortSlices(func(a, b record.Observation) bool { return a.Country+" "+a.Exposed < b.Country+" "+b.Exposed }),
					cmpopts.SortSlices(func(a, b exchange.EventID) bool { return string(a[:]) < string(b[:]) }),
					cmpopts.EquateComparable(netip.Addr{}),
				}
				if d := cmp.Diff(want, got, sorted); d != "" || err != nil {
					t.Fatal(of, err, d)
				}
				slices.Sort(records)
				if list, err := s.HostRecords(feed, of); !slices.Equal(list, slices.Compact(records)) || err != nil {
					t.Fatal(of, list, records, err)
				}
			}
			if list, err := s.HostDays(feed, a); !slices.Equal(list, days) || err != nil {
				t.Fatal(a, list, days, err)
			}
			if at, err := s.CleanSince(feed, a); !at.Equal(clean[a]) || err != nil {
				t.Fatal(a, at, clean[a], err)
			}
			if h, err := look.History(a); !h.Cleaned.Equal(clean[a]) || err != nil {
				t.Fatal(a, h, clean[a], err)
			}
		}
		for _, topic := range []string{"x", "y", "z"} {
			x := record.Introduction{Collection: "c", Topic: topic}
			if at, found, err := s.Introduced(feed, x); found != !topics[x].IsZero() || !at.Equal(topics[x]) || err != nil {
				t.Fatal(topic, at, found, err)
			}
		}
		for key, want := range keys {
			if in, at, found, err := s.IntakeByKey(feed, key); err != nil || !found || at != want || in.Key != key {
				t.Fatal(key, at, found, err)
			}
		}
		if _, _, found, err := s.IntakeByKey(feed, "another"); found || err != nil {
			t.Fatal(found, err)
		}
	})
}
