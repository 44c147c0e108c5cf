package view

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// packed makes a payload of objects.
func packed(objects [][]byte) (*block, []byte) {
	var p packing
	b := &block{number: 1, count: len(objects), starts: allBits(len(objects))}
	for _, o := range objects {
		p.add(b, o)
	}
	p.end(b)
	return b, p.out
}

func TestAnyPartOfAPayloadIsAsItWasPacked(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var objects [][]byte
		for i := range rapid.IntRange(1, 60).Draw(t, "objects") {
			// From much smaller than a chunk to larger than two.
			size := rapid.SampledFrom([]int{0, 10, 700, 5000, chunkSize - 1, chunkSize, 3 * chunkSize}).Draw(t, "size")
			objects = append(objects, bytes.Repeat([]byte{byte('a' + i%26)}, size))
		}
		facts, payload := packed(objects)
		b, err := decodeBlock(facts.bytes())
		if err != nil {
			t.Fatal(err)
		}
		from := rapid.IntRange(0, len(objects)-1).Draw(t, "from")
		to := rapid.IntRange(from+1, len(objects)).Draw(t, "to")
		d, err := b.unpack(payload, from, to)
		if err != nil || !d.has(from, to) {
			t.Fatalf("%d to %d: %v", from, to, err)
		}
		if want, got := bytes.Join(objects[from:to], []byte(",")), d.run(from, to); !bytes.Equal(want, got) {
			t.Fatalf("%d to %d: %d bytes, want %d", from, to, len(got), len(want))
		}
	})
}

// FuzzBlock reads what may be in a damaged view: facts and payload.
func FuzzBlock(f *testing.F) {
	facts, payload := packed([][]byte{[]byte(`{"id":1}`), bytes.Repeat([]byte("x"), 2*chunkSize), []byte(`{}`)})
	facts.earlier = []again{{2, place{100, 3}}}
	f.Add(facts.bytes(), payload, 0, 3)
	f.Add(facts.bytes(), payload[:10], 1, 2)
	f.Fuzz(func(t *testing.T, facts, payload []byte, from, to int) {
		b, err := decodeBlock(facts)
		if err != nil {
			return
		}
		if again, err := decodeBlock(b.bytes()); err != nil || !bytes.Equal(again.bytes(), b.bytes()) {
			t.Fatalf("what was read is written as something else: %v", err)
		}
		for i := range min(b.count, 1000) {
			b.before(i)
		}
		from, to = max(from, 0), min(to, b.count)
		if d, err := b.unpack(payload, from, to); err == nil {
			d.run(from, to)
		}
	})
}

// FuzzHost reads what may be in a damaged view: what is known of a host's day.
func FuzzHost(f *testing.F) {
	f.Add((&hostRecord{events: []hostEvent{{sequence: 7}}}).append(nil))
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeHost(b)
	})
}

// BenchmarkUnpack reads a block of 500 objects of 700 bytes, and one object of it.
func BenchmarkUnpack(b *testing.B) {
	var objects [][]byte
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		objects = append(objects, bytes.Repeat(fmt.Appendf(nil, `{"id":"%032x","created_by_ref":"identity--0"}`, r.Uint64()), 9))
	}
	facts, payload := packed(objects)
	for name, n := range map[string]int{"block": 500, "object": 1} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(n * len(objects[0])))
			for b.Loop() {
				if _, err := facts.unpack(payload, 250*(500-n)/500, 250*(500-n)/500+n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
