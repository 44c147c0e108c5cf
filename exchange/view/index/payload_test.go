package index

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// packed makes a payload of objects of some types.
func packed(objects [][]byte, types ...string) (*block, []byte) {
	var p packing
	p.reset()
	b := &block{number: 1, count: len(objects), starts: allBits(len(objects))}
	for i, o := range objects {
		p.add(types[i%len(types)], o)
	}
	p.pack(b)
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
		facts, payload := packed(objects, rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", ""}), 1, 9).Draw(t, "types")...)
		b, err := decodeBlock(facts.bytes())
		if err != nil {
			t.Fatal(err)
		}
		asked := make(bits, (len(objects)+7)/8)
		for i := range objects {
			if rapid.Bool().Draw(t, "asked") {
				asked.set(i)
			}
		}
		s, err := b.part(payload, asked)
		if err != nil {
			t.Fatal(err)
		}
		p := &Page{parts: []part{{block: b, objects: s, set: make(bits, len(asked))}}}
		var want [][]byte
		for i := range objects {
			if asked.has(i) && rapid.Bool().Draw(t, "in") {
				p.parts[0].set.set(i)
				p.Count, p.size, want = p.Count+1, p.size+len(objects[i]), append(want, objects[i])
			}
		}
		got, err := p.Objects()
		if err != nil || !slices.EqualFunc(want, got, bytes.Equal) {
			t.Fatalf("%d objects, want %d: %v", len(got), len(want), err)
		}
		var text bytes.Buffer
		if _, err := p.WriteTo(&text); err != nil || !bytes.Equal(bytes.Join(want, []byte(",")), text.Bytes()) || text.Len() != p.Len() {
			t.Fatalf("%d bytes of %d: %v", text.Len(), p.Len(), err)
		}
	})
}

// FuzzBlock reads what may be in a damaged view: facts and payload.
func FuzzBlock(f *testing.F) {
	facts, payload := packed([][]byte{[]byte(`{"id":1}`), bytes.Repeat([]byte("x"), 2*chunkSize), []byte(`{}`)}, "a", "b")
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
		set := make(bits, min(b.count, 1000)/8+1)
		for i := max(from, 0); i < min(to, b.count, 1000); i++ {
			set.set(i)
		}
		if s, err := b.part(payload, set); err == nil {
			_, _ = s.appendTo(nil, allBits(min(b.count, 1000)))
		}
	})
}

// FuzzNames reads what may be in a damaged view: what tells a block's objects apart.
func FuzzNames(f *testing.F) {
	var n naming
	for _, text := range []string{"ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4", "x-own--28BB3599-77CD-5A82-A950-B5BC3CAF07C4", "malware--28bb3599-77cd-5a82-a950-b5bc3caf07c4"} {
		id, _ := key.ParseID([]byte(text))
		id.Spec = "2.0"
		n.add(id, []byte(text), []byte("2026-01-01T00:00:00Z"))
	}
	f.Add(n.b)
	f.Fuzz(func(_ *testing.T, b []byte) {
		for n := (names{Reads: store.Reads{B: b}}); !n.Bad; {
			n.next()
		}
	})
}

func TestNamesAreReadAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var n naming
		var want, got []string
		for range rapid.IntRange(0, 30).Draw(t, "objects") {
			text := rapid.SampledFrom([]string{"indicator", "ipv4-addr", "x-own"}).Draw(t, "type") + "--" +
				rapid.SampledFrom([]string{"28bb3599-77cd-5a82-a950-b5bc3caf07c4", "28BB3599-77cd-5a82-a950-b5bc3caf07c4"}).Draw(t, "uuid")
			version := rapid.SampledFrom([]string{"", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000Z"}).Draw(t, "version")
			id, ok := key.ParseID([]byte(text))
			if id.Spec = rapid.SampledFrom([]string{"", "2.0"}).Draw(t, "spec"); !ok {
				t.Fatal(text)
			}
			n.add(id, []byte(text), []byte(version))
			want = append(want, text+id.SpecName()+version)
		}
		all := names{Reads: store.Reads{B: n.b}}
		for range want {
			x := all.next()
			if len(x.text) == 0 {
				x.text = []byte(x.id.String())
			}
			got = append(got, string(x.text)+x.id.SpecName()+string(x.version))
		}
		if all.Bad || len(all.B) > 0 || !slices.Equal(want, got) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

// BenchmarkUnpack reads a block of 500 objects of 700 bytes, and one object of it.
func BenchmarkUnpack(b *testing.B) {
	var objects [][]byte
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		objects = append(objects, bytes.Repeat(fmt.Appendf(nil, `{"id":"%032x","created_by_ref":"identity--0"}`, r.Uint64()), 9))
	}
	facts, payload := packed(objects, "a", "b", "c")
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
				s, err := facts.part(payload, set)
				if err == nil {
					text, err = s.appendTo(text[:0], set)
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Damaged facts of a block, and a damaged payload, are an error.
func TestWhatIsDamagedIsAnError(t *testing.T) {
	b, payload := packed([][]byte{[]byte(`{"id":1}`), []byte(`{"id":2}`)}, "a")
	s, err := b.part(payload, allBits(2))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.object(2); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("an object behind the end: %v", err)
	}
	if _, err := b.part(payload[1:], allBits(2)); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("a payload that is too short: %v", err)
	}
	b.pieces[1].size = maxText
	if _, err := decodeBlock(b.bytes()); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("an object that is larger than any: %v", err)
	}
}

// What is kept of a block is what its objects are in.
func TestFewObjectsKeepFewChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var objects [][]byte
	for range 400 {
		objects = append(objects, fmt.Appendf(nil, `{"id":"%0256x"}`, r.Uint64()))
	}
	b, payload := packed(objects, "a", "b", "c", "d")
	s, err := b.part(payload, allBits(b.count))
	if err != nil {
		t.Fatal(err)
	}
	few := s.only(oneBit(201))
	got, err := few.object(201)
	if err != nil || !bytes.Equal(got, objects[201]) || 3*len(few.payload) > len(payload) {
		t.Errorf("%d of %d bytes: %s, %v", len(few.payload), len(payload), got, err)
	}
	if _, err := few.object(200); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("an object that is not there: %v", err)
	}
}
