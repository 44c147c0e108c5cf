package record_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A text stands for one member, gives its bits back, and tells neither without the key.
func TestASealTellsNothingWithoutItsKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, other := record.Seal{Key: []byte("one")}, record.Seal{Key: []byte("another")}
		member, bits := rapid.StringMatching("[a-z]{1,20}").Draw(t, "member"), rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "bits")
		a, b := s.Pseudonym(member, bits), s.Pseudonym(member, make([]byte, len(bits)))
		if a == b || len(a) != len(b) {
			t.Fatal("two texts can be told apart, or are the same:", a, b)
		}
		for _, text := range []string{a, record.PseudonymOf(a)} {
			if !s.Is(text, member) || s.Is(text, member+"x") || other.Is(text, member) {
				t.Fatal(text, "does not stand for", member)
			}
		}
		if !bytes.Equal(s.Apart(a), bits) || len(s.Apart(record.PseudonymOf(a))) != 0 {
			t.Fatalf("%x, want %x", s.Apart(a), bits)
		}
		if len(bits) > 7 && bytes.Equal(other.Apart(a), bits) {
			t.Fatal("another key reads the bits")
		}
	})
	for _, text := range []string{"", "x", "00112233445566", record.PseudonymOf(record.Seal{}.Pseudonym("a", nil)) + "zz"} {
		if s := (record.Seal{}); len(s.Apart(text)) != 0 || s.Is(text, "b") {
			t.Error(text)
		}
	}
}
