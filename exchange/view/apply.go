package view

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// writer is one batch in the making.
type writer struct {
	v *View
	b *pebble.Batch
	r pebble.Reader // what lookups read: the view, or, where it is indexed, the view as the batch changes it
	// it looks up what is added again; nil until it is needed, and where the batch reads what it writes.
	it    *pebble.Iterator
	c     uint32
	epoch uint16
	// objects are those that the batch has looked at, byID where each is, others the other places that it has added.
	objects []latest
	byID    map[objectID]int
	others  map[versionKey][]place
	marks   map[markKey]bits // that it has changed
	// withdrew is the stamp of a block that takes objects out, removed where they were.
	withdrew int64
	removed  map[int64]bits
	// loose are observables that what was taken out refers to.
	loose  []objectID
	first  int64      // date_added of the block that is being added, 0 for none
	record block      // of it
	added  []addition // to it
	types  []typed
	names  naming
	h      *head
	name   string // of the collection
}

// versionKey names a version.
type versionKey struct {
	id  objectID
	ver version
}

// typed are the objects of a block that are of one type.
type typed struct {
	typ string
	bits
}

// addition is an object of the block that is being added.
type addition struct {
	id    objectID
	ver   version
	isNew bool // no other is in the collection, unless it is in the block
	gone  bool // the journal has it no more
}

type markKey struct {
	kind  byte
	first int64
}

// begin starts a batch for a collection. indexed makes it read what it writes,
// which is slower.
func (v *View) begin(collection string, indexed bool) *writer {
	w := &writer{
		v: v, r: v.db, name: collection, byID: make(map[objectID]int), others: make(map[versionKey][]place),
		marks: make(map[markKey]bits), removed: make(map[int64]bits),
	}
	if indexed {
		w.b = v.db.NewIndexedBatch()
		w.r = w.b
	} else {
		w.b = v.db.NewBatch()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	var ok bool
	if w.c, ok = v.numbers[collection]; !ok {
		// Taken at once: blocks and intake are applied side by side. It is
		// written with the collection's first head.
		w.c = v.highest + 1
		v.enter(collection, w.c)
	}
	w.h = new(head)
	if h := v.heads[w.c]; h != nil {
		*w.h = *h
	}
	w.epoch = v.epochOf(w.h.objects)
	v.epochs[w.c] = w.epoch // before anything is there
	return w
}

// close ends a batch, committed or not.
func (w *writer) close() {
	if w.it != nil {
		_ = w.it.Close() // its errors came with its answers
	}
	_ = w.b.Close()
}

// set and del fail only when the batch is misused.
func (w *writer) set(key, value []byte) { _ = w.b.Set(key, value, nil) }
func (w *writer) del(key []byte)        { _ = w.b.Delete(key, nil) }

// commit writes the batch and publishes the head and the stream's sequence.
func (w *writer) commit(stream string, sequence uint64, h *head) error {
	var key []byte
	for i := range inKeyOrder(len(w.objects), func(i int) objectID { return w.objects[i].id }) {
		switch o := &w.objects[i]; {
		case !o.changed:
		case o.there:
			key = appendEntryKey(key[:0], w.c, w.epoch, o.id)
			w.set(key, o.append(nil))
		default:
			for epoch := range w.epoch + 1 {
				w.del(entryKey(w.c, epoch, o.id))
			}
		}
	}
	for k, set := range w.marks {
		if key := blockKey(k.kind, w.c, k.first); set.empty() {
			w.del(key)
		} else {
			w.set(key, set)
		}
	}
	if h != nil {
		w.set(numberKey(w.name), binary.BigEndian.AppendUint32(nil, w.c))
		w.set(headKey(w.c), h.append(nil))
	}
	w.set(metaKey(stream), binary.BigEndian.AppendUint64(nil, sequence))
	if w.v.opt.Tap != nil {
		w.v.opt.Tap(w.b.Repr())
	}
	w.enliven()
	if err := w.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write view: %w", err)
	}
	w.v.unwritten.Add(int64(w.b.Len()))
	w.v.advance(func() {
		w.bury()
		if h != nil {
			w.v.heads[w.c] = h
			if w.withdrew > 0 {
				w.v.withdrawn[w.c] = w.withdrew
			}
			if c := w.v.changed[w.name]; c != nil {
				c.Wake()
			}
		}
		if stream == "blocks" {
			w.v.blocks = sequence
		} else {
			w.v.intake = sequence
		}
	})
	return nil
}

// ApplyBlock adds a block of the journal. A block that does not continue its
// collection's chain marks the collection as broken: it is served as it was,
// and takes nothing more until the view is built from a journal that is whole.
func (v *View) ApplyBlock(b *record.Block) error {
	if b.Sequence <= v.AppliedBlocks() {
		return nil
	}
	if b.Number == 0 { // a replacement of what is in already
		pass := &writer{v: v, b: v.db.NewBatch()}
		defer func() { _ = pass.b.Close() }()
		return pass.commit("blocks", b.Sequence, nil)
	}
	w := v.begin(b.Collection, b.Control != "")
	defer w.close()
	h := w.h
	err := v.opt.Continues(b, h.number, h.hash, micros(h.added))
	if err == nil && b.Control != "" {
		err = w.control(b)
	} else if err == nil {
		err = w.block(b)
	}
	if errors.Is(err, errStore) {
		return err
	}
	if err != nil { // what the journal holds is wrong, not the view
		v.mu.Lock()
		first := v.broken[b.Collection] == nil
		if first {
			v.broken[b.Collection] = err
		}
		v.mu.Unlock()
		skip := &writer{v: v, b: v.db.NewBatch()}
		defer func() { _ = skip.b.Close() }()
		if first {
			skip.set(brokenKey(b.Collection), []byte(err.Error()))
		}
		return skip.commit("blocks", b.Sequence, nil)
	}
	h.number, h.hash = b.Number, b.Hash()
	h.added = b.Added(b.Count - 1).UnixMicro()
	h.objects += int64(b.Count)
	h.label = max(h.label, b.Label)
	return w.commit("blocks", b.Sequence, h)
}

// errContent is in the chain of errors about a block's content, errStore in
// those about the view's own files.
var (
	errContent = errors.New("the block's content is not what its facts say")
	errStore   = errors.New("view")
)

// text decompresses a block's payload; it is good until the next block.
func (w *writer) text(b *record.Block) ([]byte, error) {
	text, err := w.v.opt.Decompress(w.v.text[:0], b.Payload)
	w.v.text = text[:0]
	switch {
	case errors.Is(err, exchange.ErrRecord):
		return nil, fmt.Errorf("%w: %w", errContent, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	return text, nil
}

// minObject is less than what an object takes, in bytes.
const minObject = len("a--00000000-0000-4000-8000-000000000000")

func (w *writer) block(b *record.Block) error {
	text, err := w.text(b)
	if err != nil {
		return err
	}
	if len(b.Removed) == 0 && b.Count > len(text)/minObject {
		return fmt.Errorf("%w: block %d does not have %d objects", errContent, b.Number, b.Count)
	}
	w.open(b.AddedFirst.UnixMicro(), block{feed: b.Feed, number: b.Number, count: b.Count, starts: b.Starts})
	w.locate(b.Number, b.Sequence, w.first)
	news := bits(b.New)
	p := &w.v.packing
	p.reset()
	n, leaves := 0, record.LeavesOf(b)
	pass := func() {
		for ; n < b.Count && !b.Has(n); n++ {
			p.add("", nil)
			w.gone(n)
		}
	}
	ok := stix.Scan(text, func(raw []byte, brief stix.Brief) {
		pass()
		leaves.Add(raw)
		if err == nil && n < b.Count {
			p.add(typeName(brief.Type), raw)
			err = w.object(brief, n, news.has(n))
			if err == nil && b.By != "" && n < len(b.Labels) && b.Labels[n] != 0 {
				err = w.posted(brief, raw, b.By, b.Labels[n])
			}
		}
		n++
	})
	pass()
	p.pack(&w.record)
	if err == nil && (!ok || n != b.Count) {
		err = fmt.Errorf("%w: block %d has %d objects, not %d", errContent, b.Number, n, b.Count)
	}
	if err == nil {
		err = committed(b, leaves)
	}
	if err == nil {
		err = w.index()
	}
	w.store()
	w.set(dataKey(w.c, w.first, itsPayload), p.out)
	return err
}

// committed reports whether a block commits to what was found in it.
func committed(b *record.Block, leaves *record.Leaves) error {
	if b.Root != "" && leaves.Root() != b.Root { // there is one in every block of the journal
		return fmt.Errorf("%w: block %d does not hold what it commits to", errContent, b.Number)
	}
	return nil
}

// open starts the block whose objects are added next.
func (w *writer) open(first int64, record block) {
	w.first, w.record, w.types, w.added = first, record, nil, make([]addition, 0, record.count)
	w.objects, w.byID = make([]latest, 0, record.count), make(map[objectID]int, record.count)
	w.names.reset(record.count)
	w.marks[markKey{'v', first}], w.marks[markKey{'l', first}] = allBits(record.count), allBits(record.count)
}

// store writes what is known of the block whose objects have been added.
func (w *writer) store() {
	w.set(dataKey(w.c, w.first, itsRecord), w.record.bytes())
	w.set(dataKey(w.c, w.first, itsNames), w.names.b)
	for _, t := range w.types {
		w.set(binary.BigEndian.AppendUint64(typeKey(w.c, t.typ), uint64(w.first)), t.bits)
	}
}

// ofType notes the type of an object of the block that is being added.
func (w *writer) ofType(typ string, i int) {
	at := slices.IndexFunc(w.types, func(t typed) bool { return t.typ == typ })
	if at < 0 {
		at = len(w.types)
		w.types = append(w.types, typed{typ, make(bits, (w.record.count+7)/8)})
	}
	w.types[at].set(i)
}

// locate writes down where a block is.
func (w *writer) locate(number, sequence uint64, first int64) {
	w.set(sequenceKey(w.c, number), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sequence), uint64(first)))
}

// object takes the next object of the block that is being added, at position i.
func (w *writer) object(b stix.Brief, i int, isNew bool) error {
	id, ok := scannedID(b)
	if !ok {
		return fmt.Errorf("%w: object %d has no id", errContent, i) // the id itself can tell an address
	}
	ver, err := scannedVersion(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	w.ofType(id.typ, i)
	w.names.add(id, b.ID, b.Version)
	w.added = append(w.added, addition{id: id, ver: ver, isNew: isNew})
	return nil
}

// gone takes a position whose object the journal has no more.
func (w *writer) gone(i int) {
	w.names.add(objectID{typ: goneType}, nil, nil)
	w.added = append(w.added, addition{gone: true})
	w.marks[markKey{'v', w.first}].clear(i)
	w.marks[markKey{'l', w.first}].clear(i)
}

// goneType stands for the type of an object that the journal has no more.
const goneType = "x-gone"
