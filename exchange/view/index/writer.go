package index

import (
	"encoding/binary"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// Writer puts one block of a collection, or what one takes out, into a batch.
type Writer struct {
	x      *Index
	b      *pebble.Batch
	r      pebble.Reader   // the view, or, where the batch is indexed, the view as the batch changes it
	before *store.Filtered // the view before the batch
	name   string          // of the collection
	c      uint32
	epoch  uint16
	head   head
	// objects are those that the batch has looked at, byID where each is, others the other places that it has added.
	objects []latest
	byID    map[key.ID]int
	others  map[versionKey][]place
	marks   map[markKey]bits // sets of blocks that it has looked at, as they will be

	// What is added.
	first  int64 // date_added of the block
	record block
	added  []addition
	types  []typed
	naming naming

	// What is taken out: when, from where, and the observables that it refers to.
	withdrew int64
	removed  map[int64]bits
	loose    []key.ID
}

// versionKey names a version.
type versionKey struct {
	id  key.ID
	ver key.Version
}

// typed are the objects of a block that are of one type.
type typed struct {
	typ string
	bits
}

// addition is an object of the block that is being added.
type addition struct {
	id    key.ID
	ver   key.Version
	isNew bool // no other is in the collection, unless it is in the block
	gone  bool // the journal has it no more
}

type markKey struct {
	kind  byte
	first int64
}

// Begin starts to write to a collection. The batch is indexed where something is to be taken out.
func (x *Index) Begin(b *pebble.Batch, before *store.Filtered, collection string) *Writer {
	w := &Writer{
		x: x, b: b, r: x.db, before: before, name: collection, byID: make(map[key.ID]int), others: make(map[versionKey][]place),
		marks: make(map[markKey]bits), removed: make(map[int64]bits),
	}
	if b.Indexed() {
		w.r = b
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	var ok bool
	if w.c, ok = x.numbers[collection]; !ok {
		// Taken at once: blocks and intake are applied side by side. It is
		// written with the collection's first head.
		w.c = x.highest + 1
		x.enter(collection, w.c)
	}
	if h := x.heads[w.c]; h != nil {
		w.head = *h
	}
	w.epoch = x.epochOf(w.head.objects)
	x.epochs[w.c] = w.epoch // before anything is there
	return w
}

// Collection is the number of the collection.
func (w *Writer) Collection() uint32 { return w.c }

// Continues asks check whether what comes next continues the collection's chain: it ends with a block of that number
// and hash, whose last object was added then.
func (w *Writer) Continues(check func(number uint64, hash string, added time.Time) error) error {
	return check(w.head.number, w.head.hash, micros(w.head.added))
}

func (w *Writer) grow(last int64, objects int) {
	w.head.added, w.head.objects = last, w.head.objects+int64(objects)
}

// End makes a block the last of the chain.
func (w *Writer) End(b *record.Block) {
	w.head.number, w.head.hash, w.head.label = b.Number, b.Hash(), max(w.head.label, b.Label)
	objects := b.Count
	if b.Trimmed {
		objects = 0
	}
	w.grow(b.Added(b.Count-1).UnixMicro(), objects)
}

// Write puts into the batch what has changed, and the chain's end, and publishes what readers have to know before it is in.
// Done is to be called once it is.
func (w *Writer) Write() {
	var k []byte
	for i := range inKeyOrder(len(w.objects), func(i int) key.ID { return w.objects[i].id }) {
		switch o := &w.objects[i]; {
		case !o.changed:
		case o.there:
			k = appendEntryKey(k[:0], w.c, w.epoch, o.id)
			store.Set(w.b, k, o.append(nil))
		default:
			for epoch := range w.epoch + 1 {
				store.Delete(w.b, appendEntryKey(nil, w.c, epoch, o.id))
			}
		}
	}
	for m, marked := range w.marks {
		if k := blockKey(m.kind, w.c, m.first); marked.empty() {
			store.Delete(w.b, k)
		} else {
			store.Set(w.b, k, marked)
		}
	}
	store.Set(w.b, numberKey(w.name), binary.BigEndian.AppendUint32(nil, w.c))
	store.Set(w.b, headKey(w.c), w.head.append(nil))
	w.enliven()
}

// Done publishes what is in.
func (w *Writer) Done() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.bury()
	h := w.head
	w.x.heads[w.c] = &h
	if w.withdrew > 0 {
		w.x.withdrawn[w.c] = w.withdrew
	}
	if c := w.x.changed[w.name]; c != nil {
		c.Wake()
	}
}

// latest is what the batch knows of an object: its latest version, as it will be.
type latest struct {
	id key.ID
	entry
	there   bool // there is one
	changed bool // by the batch
}

// latest returns what the batch knows of an object; it is good until the next call.
func (w *Writer) latest(id key.ID) (*latest, error) {
	i, ok := w.byID[id]
	if !ok {
		if err := w.lookUp(id); err != nil {
			return nil, err
		}
		i = w.byID[id]
	}
	return &w.objects[i], nil
}

// lookUp reads the latest versions of objects, in the order of their keys: a look that begins where the last one was is
// faster.
func (w *Writer) lookUp(ids ...key.ID) error {
	rest := make([]int, 0, len(ids))
	for i := range inKeyOrder(len(ids), func(i int) key.ID { return ids[i] }) {
		if _, ok := w.byID[ids[i]]; !ok {
			rest = append(rest, w.enter(ids[i]))
		}
	}
	var k []byte
	for epoch := int(w.epoch); epoch >= 0 && len(rest) > 0; epoch-- {
		left := rest[:0]
		for _, i := range rest {
			o := &w.objects[i]
			k = appendEntryKey(k[:0], w.c, uint16(epoch), o.id)
			value, found, err := w.before.Get(k)
			if found && err == nil {
				o.there = true
				o.entry, err = decodeEntry(value)
			}
			if err != nil {
				return err
			}
			if !found {
				left = append(left, i)
			}
		}
		rest = left
	}
	return nil
}

// enter makes an object known to the batch.
func (w *Writer) enter(id key.ID) int {
	w.byID[id] = len(w.objects)
	w.objects = append(w.objects, latest{id: id})
	return len(w.objects) - 1
}

// places lists where a version stands, oldest place first, but for the newest of the latest version.
func (w *Writer) places(id key.ID, ver key.Version) (list []place, err error) {
	err = eachOther(w.r, w.c, id, ver[:], func(_ key.Version, p place) { list = append(list, p) })
	return append(list, w.others[versionKey{id, ver}]...), err
}

// lastPlace is the newest of these.
func (w *Writer) lastPlace(id key.ID, ver key.Version) (last place, found bool, err error) {
	if list := w.others[versionKey{id, ver}]; len(list) > 0 {
		return list[len(list)-1], true, nil
	}
	err = lastOthers(w.r, w.c, id, ver[:], func(_ key.Version, p place) bool {
		last, found = p, true
		return false
	})
	return last, found, err
}

// include puts a place into a set.
func (w *Writer) include(kind byte, p place) error {
	set, err := w.mark(kind, p.first)
	set = set.grown(p.i)
	set.set(p.i)
	w.marks[markKey{kind, p.first}] = set
	return err
}

// unmark takes a version, everywhere that it stands, out of the latest.
func (w *Writer) unmark(id key.ID, e entry) error {
	return w.everywhere(id, e, func(p place) error {
		set, err := w.mark('l', p.first)
		set.clear(p.i)
		return err
	})
}

// everywhere calls each with all places of a version.
func (w *Writer) everywhere(id key.ID, e entry, each func(place) error) error {
	list := []place{e.place}
	if e.again { // most stand once
		others, err := w.places(id, e.version)
		if err != nil {
			return err
		}
		list = append(list, others...)
	}
	for _, p := range list {
		if err := each(p); err != nil {
			return err
		}
	}
	return nil
}

// mark returns a block's set to change, nil where there is none.
func (w *Writer) mark(kind byte, first int64) (bits, error) {
	k := markKey{kind, first}
	if set, ok := w.marks[k]; ok {
		return set, nil
	}
	set, found, err := store.Get(w.x.db, blockKey(kind, w.c, first))
	if err != nil || !found {
		return nil, err
	}
	w.marks[k] = set
	return set, nil
}
