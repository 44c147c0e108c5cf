package record_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Somebody who has the survivors, their nonces, and the leaves of what was erased computes the same root.
func TestWhatStaysOfAListStillVerifies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seed := rapid.SliceOfN(rapid.Byte(), record.SeedSize, record.SeedSize).Draw(t, "seed")
		texts := rapid.SliceOfN(rapid.SliceOf(rapid.Byte()), 0, 20).Draw(t, "texts")
		leaves := record.NewLeaves(seed)
		all := []byte("tocsin leaves 1\n")
		for i, text := range texts {
			leaves.Add(text)
			h := hmac.New(sha256.New, seed)
			h.Write(binary.BigEndian.AppendUint64(nil, uint64(i)))
			leaf := sha256.Sum256(append(h.Sum(nil), text...))
			all = append(all, leaf[:]...)
		}
		root := sha256.Sum256(all)
		if got := leaves.Root(); got != hex.EncodeToString(root[:]) {
			t.Fatalf("%s, want %x", got, root)
		}
	})
}

// What readers of blocks are not to see comes back with the key, for that block alone, and its length tells little.
func TestWhatIsSealedIsForTheBlockAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := record.Seal{Key: []byte("key")}
		b := record.Block{Collection: "a", Number: 3, Intake: record.Head{Sequence: rapid.Uint64().Draw(t, "sequence"), Hash: "hash"}}
		for range rapid.IntRange(0, 20).Draw(t, "feeds") {
			b.Delivered = append(b.Delivered, record.Delivered{Feed: rapid.String().Draw(t, "feed"), Sequence: rapid.Uint64().Draw(t, "at"), Groups: rapid.IntRange(0, 1<<31-1).Draw(t, "groups")})
		}
		s.Close(&b)
		back := record.Block{Collection: "a", Number: 3, Sealed: b.Sealed}
		if err := s.Open(&back); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, back, cmpopts.EquateEmpty()); d != "" {
			t.Fatal(d)
		}
		for name, other := range map[string]struct {
			s record.Seal
			b record.Block
		}{
			"another key":        {record.Seal{Key: []byte("other")}, record.Block{Collection: "a", Number: 3, Sealed: b.Sealed}},
			"another collection": {s, record.Block{Collection: "b", Number: 3, Sealed: b.Sealed}},
			"another block":      {s, record.Block{Collection: "a", Number: 4, Sealed: b.Sealed}},
			"nothing":            {s, record.Block{Collection: "a", Number: 3}},
		} {
			if err := other.s.Open(&other.b); !errors.Is(err, exchange.ErrRecord) || other.b.Delivered != nil {
				t.Fatal(name, err, other.b.Delivered)
			}
		}
	})
	s, lone := record.Seal{Key: []byte("key")}, record.Block{Collection: "a", Number: 1}
	more := lone
	more.Delivered = []record.Delivered{{Feed: "rustock", Sequence: 1 << 40, Groups: 2000}}
	s.Close(&lone)
	s.Close(&more)
	if len(lone.Sealed) != len(more.Sealed) {
		t.Error(len(lone.Sealed), len(more.Sealed))
	}
}

func BenchmarkLeaves(b *testing.B) {
	leaves, text := record.NewLeaves(record.NewSeed()), make([]byte, 500)
	b.ReportAllocs()
	for b.Loop() {
		leaves.Add(text)
	}
}
