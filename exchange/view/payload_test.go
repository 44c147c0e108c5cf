package view

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
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
		s, err := b.part(payload, from, to)
		if err != nil {
			t.Fatalf("%d to %d: %v", from, to, err)
		}
		p := &Page{parts: []part{{stored: s, set: make(bits, (len(objects)+7)/8)}}}
		var want [][]byte
		for i := from; i < to; i++ {
			if rapid.Bool().Draw(t, "in") {
				p.parts[0].set.set(i)
				p.Count, p.size, want = p.Count+1, p.size+len(objects[i]), append(want, objects[i])
			}
		}
		got, err := p.Objects()
		if err != nil || !slices.EqualFunc(want, got, bytes.Equal) {
			t.Fatalf("%d to %d: %d objects, want %d: %v", from, to, len(got), len(want), err)
		}
		var text bytes.Buffer
		if _, err := p.WriteTo(&text); err != nil || !bytes.Equal(bytes.Join(want, []byte(",")), text.Bytes()) || text.Len() != p.Len() {
			t.Fatalf("%d to %d: %d bytes of %d: %v", from, to, text.Len(), p.Len(), err)
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
		if s, err := b.part(payload, from, to); err == nil {
			_, _ = s.appendTo(nil, allBits(min(b.count, 1000)), nil)
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
			from := 250 * (500 - n) / 500
			set := make(bits, 500/8+1)
			for i := range n {
				set.set(from + i)
			}
			var text []byte
			for b.Loop() {
				s, err := facts.part(payload, from, from+n)
				if err == nil {
					text, err = s.appendTo(text[:0], set, nil)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
