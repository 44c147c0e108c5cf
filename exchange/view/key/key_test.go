package key

import (
	"bytes"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

var anyType = rapid.OneOf(rapid.SampledFrom(append([]string{"note", "x-own"}, Types...)), rapid.StringMatching(`[a-z]{1,9}(-[a-z]{1,9})?`))

// Types are read as they were written, and none is the start of another.
func TestTypesAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := anyType.Draw(t, "type"), anyType.Draw(t, "other type")
		spec, otherSpec := rapid.SampledFrom(Specs).Draw(t, "spec"), rapid.SampledFrom(Specs).Draw(t, "other spec")
		a, b := AppendType(nil, one, spec), AppendType(nil, other, otherSpec)
		typ, is, rest, ok := DecodeType(append(bytes.Clone(a), "rest"...))
		if typ != one || is != spec || string(rest) != "rest" || !ok {
			t.Fatalf("%q %q %q %t", typ, is, rest, ok)
		}
		if same := one == other && spec == otherSpec; bytes.HasPrefix(a, b) != same {
			t.Fatalf("%x starts with %x", a, b)
		}
	})
	for _, bad := range []string{"", "\x00", "\x00x", "\x00\x00", "\xff"} {
		if _, _, _, ok := DecodeType([]byte(bad)); ok {
			t.Errorf("%q is read", bad)
		}
	}
}

// Identifiers are read as they were written, in the usual form, and no other text is exact.
func TestIdentifiersAreReadAsTheyWereWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := anyType.Draw(t, "type") + "--" + rapid.StringMatching(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`).Draw(t, "uuid")
		id, ok := Exact(text)
		if !ok || id.String() != text || id.Record(Version{}).ID != text {
			t.Fatal(text, id, ok)
		}
		if of, ok := Of(record.Version{ID: text, SpecVersion: "2.0"}); !ok || of.SpecName() != "2.0" || of.UUID != id.UUID {
			t.Fatal(of, ok)
		}
	})
	for _, bad := range []string{"", "x", "note--1", "note-00000000-0000-4000-8000-000000000000", "note--00000000-0000-4000-8000-00000000000g", "note--0000000000004000800000000000000000000000"} {
		if id, ok := ParseID([]byte(bad)); ok {
			t.Errorf("%q is read as %s", bad, id)
		}
	}
	if _, ok := Exact("note--00000000-0000-4000-8000-00000000000A"); ok {
		t.Error("an upper-case letter is exact")
	}
}

// Versions sort as their instants do.
func TestVersionsSortAsInstants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(label string) time.Time {
			return time.Unix(rapid.Int64Range(-62135596800, 253402300799).Draw(t, label), rapid.Int64Range(0, 999999999).Draw(t, label+" ns")).UTC()
		}
		a, b := at("a"), at("b")
		if VersionOf(a).After(VersionOf(b)) != a.After(b) || !VersionOf(a).Time().Equal(a) {
			t.Fatal(a, b)
		}
	})
}
