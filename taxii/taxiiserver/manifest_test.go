package taxiiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// A text is quoted as the library quotes it, whatever byte it has at whatever place of the eight that are looked
// at together.
func TestTextsAreQuoted(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				for _, around := range []byte{'a', 0, '"', 0xff} {
					s := bytes.Repeat([]byte{'a'}, n)
					s[(at+1)%n] = around
					s[at] = byte(c)
					want, _ := jsontext.AppendQuote([]byte("x"), s)
					if got := appendText([]byte("x"), s); !bytes.Equal(got, want) {
						t.Fatalf("%q is quoted as %s, not %s", s, got, want)
					}
				}
			}
		}
	}
}

// FuzzAppendText quotes any text as the library does.
func FuzzAppendText(f *testing.F) {
	f.Add("indicator--26ffb872-1dd9-446e-b6f5-d58527e5b5d2")
	f.Add("\x7f\xff\" \\é\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		want, _ := jsontext.AppendQuote(nil, s)
		if got := appendText(nil, s); !bytes.Equal(got, want) {
			t.Errorf("%q is quoted as %s, not %s", s, got, want)
		}
	})
}

// Records are what the facts say, whatever stands in identifiers, versions and types.
func TestRecordsAreTheirFacts(t *testing.T) {
	of := func(typ string) stix.ID { return stix.ID{Type: typ, UUID: uuid.UUID{1, 0xfe, 15: 7}} }
	at := time.Date(2026, 11, 28, 1, 2, 3, 4000, time.UTC)
	list := []Fact{
		{ID: of("indicator"), Version: []byte("2026-01-01T00:00:00.000Z"), SpecVersion: "2.1", Added: at},
		{ID: of("indicator"), Version: []byte("2026-01-01T00:00:00.000Z"), SpecVersion: "2.1", Added: at.Add(time.Microsecond)},
		{ID: of("ipv4-addr"), SpecVersion: "2.1", Added: at.Add(time.Second)},
		{ID: of(`x"\y`), Version: []byte("a\"b\x01"), SpecVersion: "2.0", Added: at.Add(time.Hour)},
		{ID: of(`x"\y`), Version: []byte("2026-01-01T00:00:00.000Z"), SpecVersion: "2.1", Added: at.Add(2 * time.Hour)},
		{ID: of("indicator"), Text: []byte(`Indicator--01FE0000-"`), SpecVersion: "2.1", Added: at.Add(3 * time.Hour)},
	}
	for _, micros := range []time.Duration{8, 9, 10, 11, 998, 999, 1000, 99_999, 100_000, 999_998, 999_999, 1_000_000, 1_000_001, 5, 6} {
		list = append(list, Fact{ID: of("indicator"), SpecVersion: "2.1", Added: at.Truncate(time.Second).Add(micros * time.Microsecond)})
	}
	var want []taxii.ManifestRecord
	for _, f := range list {
		r := taxii.ManifestRecord{
			ID: string(f.ID.AppendTo(nil)), DateAdded: taxii.FormatTime(f.Added), Version: string(f.Version), MediaType: "application/stix+json;version=" + f.SpecVersion,
		}
		if f.Text != nil {
			r.ID = string(f.Text)
		}
		if f.Version == nil {
			r.Version = taxii.NoVersion
		}
		want = append(want, r)
	}
	var one Fact // is used again for each, with its texts
	var id, version []byte
	b, err := appendRecords([]byte("["), func(yield func(*Fact, error) bool) {
		for _, one = range list {
			id, version = append(id[:0], one.Text...), append(version[:0], one.Version...)
			one.Text, one.Version = id, version
			if !yield(&one, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []taxii.ManifestRecord
	if err := json.Unmarshal(append(b, ']'), &got); err != nil {
		t.Fatal(err, string(b))
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// BenchmarkRecords writes 1,000 records of seven types in turn, two of which have no version.
func BenchmarkRecords(b *testing.B) {
	types := []string{"ipv4-addr", "network-traffic", "observed-data", "indicator", "relationship", "relationship", "sighting"}
	list := make([]Fact, 1000)
	for i := range list {
		f := &list[i]
		*f = Fact{ID: stix.ID{Type: types[i%7], UUID: uuid.New()}, SpecVersion: "2.1", Added: time.UnixMicro(1e15 + int64(i)).UTC()}
		if i%7 > 1 {
			f.Version = fmt.Appendf(nil, "2026-01-01T00:00:%02d.000Z", i/7%60)
		}
	}
	var text []byte
	for b.Loop() {
		var err error
		text, err = appendRecords(text[:0], func(yield func(*Fact, error) bool) {
			for i := range list {
				if !yield(&list[i], nil) {
					return
				}
			}
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}
