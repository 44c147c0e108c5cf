package record_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A text stands for one member, and tells nothing without the key.
func TestASealTellsNothingWithoutItsKey(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, other := record.Seal{Key: []byte("one")}, record.Seal{Key: []byte("another")}
		member := rapid.StringMatching("[a-z]{1,20}").Draw(t, "member")
		a, b := s.Pseudonym(member), s.Pseudonym(member)
		if a == b || len(a) != len(b) {
			t.Fatal("two texts can be told apart, or are the same:", a, b)
		}
		if !s.Is(a, member) || s.Is(a, member+"x") || other.Is(a, member) {
			t.Fatal(a, "does not stand for", member)
		}
	})
	for _, text := range []string{"", "x", "00112233445566", record.Seal{}.Pseudonym("a") + "zz"} {
		if (record.Seal{}).Is(text, "a") {
			t.Error(text)
		}
	}
}
