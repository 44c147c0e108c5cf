package journal

import (
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// A block is known as this process's where each byte is the same, and once.
func TestWhatIsOfThisProcess(t *testing.T) {
	block := func(change func(b *record.Block)) *record.Block {
		b := &record.Block{Collection: "a", Number: 7, Root: "root", Seed: []byte("seed"), Payload: []byte("payload")}
		if change != nil {
			change(b)
		}
		return b
	}
	for name, change := range map[string]func(b *record.Block){
		"another collection": func(b *record.Block) { b.Collection = "b" },
		"another number":     func(b *record.Block) { b.Number = 8 },
		"another root":       func(b *record.Block) { b.Root = "other" },
		"another seed":       func(b *record.Block) { b.Seed = nil },
		"another payload":    func(b *record.Block) { b.Payload = []byte("paylaod") },
		"what stays of it":   func(b *record.Block) { b.Removed = []byte{1} },
	} {
		var p packed
		p.note(block(nil))
		if p.take(block(change)) {
			t.Error(name)
		}
	}
	var p packed
	p.note(block(nil))
	if !p.take(block(nil)) || p.take(block(nil)) || p.take(new(record.Block)) {
		t.Error("not known, or twice")
	}
	p.note(block(nil))
	for n := range maxPacked {
		p.note(block(func(b *record.Block) { b.Number = uint64(100 + n) }))
	}
	if p.take(block(nil)) {
		t.Error("known behind many others")
	}
	large := func(b *record.Block) { b.Payload = make([]byte, maxPackedSize+1) }
	if p.note(block(large)); p.take(block(large)) {
		t.Error("a large one is kept")
	}
}
