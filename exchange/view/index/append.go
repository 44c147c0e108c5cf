package index

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
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
	marks   map[markKey]bits // that it has changed

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

// minObject is less than what an object takes, in bytes.
const minObject = len("a--00000000-0000-4000-8000-000000000000")

// Add adds a block's objects, which are in its text, decompressed, and calls each with each of them. Its error is an
// ErrContent where the block is at fault.
func (w *Writer) Add(b *record.Block, text []byte, each func(i int, raw []byte, brief stix.Brief) error) error {
	if len(b.Removed) == 0 && b.Count > len(text)/minObject {
		return fmt.Errorf("%w: block %d does not have %d objects", ErrContent, b.Number, b.Count)
	}
	w.open(b.AddedFirst.UnixMicro(), block{feed: b.Feed, number: b.Number, count: b.Count, starts: b.Starts})
	w.locate(b.Number, b.Sequence, w.first)
	p := &w.x.packing
	p.reset()
	var err error
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
			p.add(key.TypeName(brief.Type), raw)
			if err = w.object(brief, n, bits(b.New).has(n)); err == nil {
				err = each(n, raw, brief)
			}
		}
		n++
	})
	pass()
	if err == nil && (!ok || n != b.Count) {
		err = fmt.Errorf("%w: block %d has %d objects, not %d", ErrContent, b.Number, n, b.Count)
	}
	if err == nil {
		err = Committed(b, leaves)
	}
	if err == nil {
		err = w.index()
	}
	if err != nil {
		return err
	}
	p.pack(&w.record)
	set(w.b, dataKey(w.c, w.first, itsPayload), p.out)
	w.store()
	return nil
}

// Committed reports whether a block commits to what was found in it.
func Committed(b *record.Block, leaves *record.Leaves) error {
	if b.Root != "" && leaves.Root() != b.Root { // there is one in every block of the journal
		return fmt.Errorf("%w: block %d does not hold what it commits to", ErrContent, b.Number)
	}
	return nil
}

// AddOwn adds the objects that an intake record stands for in its feed's own collection, and reports whether there are any.
func (w *Writer) AddOwn(in *record.Intake, sequence uint64, shares []record.Share) (bool, error) {
	own := ownOf(shares)
	n := len(own.objects)
	if n == 0 {
		return false, nil
	}
	w.head.number++
	w.open(max(in.At.UnixMicro(), w.head.added+1), block{intake: sequence, feed: in.Feed, number: w.head.number, count: n, starts: own.starts})
	w.locate(w.head.number, sequence, w.first)
	for i := range own.objects {
		brief, ok := stix.ScanBrief(own.objects[i].Raw)
		if !ok {
			return false, fmt.Errorf("package object %d: %w", i, store.ErrDamaged) // the id itself can tell an address
		}
		if err := w.object(brief, i, own.news.has(i)); err != nil {
			return false, err
		}
	}
	if err := w.index(); err != nil {
		return false, err
	}
	w.store()
	w.grow(w.first+int64(n)-1, n)
	w.head.label = max(w.head.label, own.label)
	return true, nil
}

func (w *Writer) grow(last int64, objects int) {
	w.head.added, w.head.objects = last, w.head.objects+int64(objects)
}

// End makes a block the last of the chain.
func (w *Writer) End(b *record.Block) {
	w.head.number, w.head.hash, w.head.label = b.Number, b.Hash(), max(w.head.label, b.Label)
	w.grow(b.Added(b.Count-1).UnixMicro(), b.Count)
}

// Write puts into the batch what has changed, and the chain's end. Done is to be called once the batch is in.
func (w *Writer) Write() {
	var k []byte
	for i := range inKeyOrder(len(w.objects), func(i int) key.ID { return w.objects[i].id }) {
		switch o := &w.objects[i]; {
		case !o.changed:
		case o.there:
			k = appendEntryKey(k[:0], w.c, w.epoch, o.id)
			set(w.b, k, o.append(nil))
		default:
			for epoch := range w.epoch + 1 {
				del(w.b, appendEntryKey(nil, w.c, epoch, o.id))
			}
		}
	}
	for m, marked := range w.marks {
		if k := blockKey(m.kind, w.c, m.first); marked.empty() {
			del(w.b, k)
		} else {
			set(w.b, k, marked)
		}
	}
	set(w.b, numberKey(w.name), binary.BigEndian.AppendUint32(nil, w.c))
	set(w.b, headKey(w.c), w.head.append(nil))
	w.enliven()
}

// Done publishes what is in.
func (w *Writer) Done() {
	w.x.mu.Lock()
	defer w.x.mu.Unlock()
	w.bury()
	w.x.heads[w.c] = &w.head
	if w.withdrew > 0 {
		w.x.withdrawn[w.c] = w.withdrew
	}
	if c := w.x.changed[w.name]; c != nil {
		c.Wake()
	}
}

// open starts the block whose objects are added next.
func (w *Writer) open(first int64, record block) {
	n := record.count
	w.first, w.record, w.added = first, record, make([]addition, 0, n)
	w.objects, w.byID = make([]latest, 0, n), make(map[key.ID]int, n)
	w.naming.reset(n)
	w.marks[markKey{'v', first}], w.marks[markKey{'l', first}] = allBits(n), allBits(n)
}

// store writes what is known of the block whose objects have been added.
func (w *Writer) store() {
	set(w.b, dataKey(w.c, w.first, itsRecord), w.record.bytes())
	set(w.b, dataKey(w.c, w.first, itsNames), w.naming.b)
	for _, t := range w.types {
		set(w.b, binary.BigEndian.AppendUint64(typeKey(w.c, t.typ), uint64(w.first)), t.bits)
	}
}

// locate writes down where a block is.
func (w *Writer) locate(number, sequence uint64, first int64) {
	set(w.b, sequenceKey(w.c, number), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sequence), uint64(first)))
}

// object takes the next object of the block that is being added, at position i.
func (w *Writer) object(b stix.Brief, i int, isNew bool) error {
	id, ok := key.Scanned(b)
	if !ok {
		return fmt.Errorf("%w: object %d has no id", ErrContent, i) // the id itself can tell an address
	}
	ver, err := key.ParseVersion(b.Version)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrContent, err)
	}
	at := slices.IndexFunc(w.types, func(t typed) bool { return t.typ == id.Type })
	if at < 0 {
		at = len(w.types)
		w.types = append(w.types, typed{id.Type, make(bits, (w.record.count+7)/8)})
	}
	w.types[at].set(i)
	w.naming.add(id, b.ID, b.Version)
	w.added = append(w.added, addition{id: id, ver: ver, isNew: isNew})
	return nil
}

// gone takes a position whose object the journal has no more.
func (w *Writer) gone(i int) {
	w.naming.add(key.ID{Type: goneType}, nil, nil)
	w.added = append(w.added, addition{gone: true})
	w.marks[markKey{'v', w.first}].clear(i)
	w.marks[markKey{'l', w.first}].clear(i)
}

// goneType stands for the type of an object that the journal has no more.
const goneType = "x-gone"

// latest is what the batch knows of an object: its latest version, as it will be.
type latest struct {
	id key.ID
	entry
	there   bool // there is one
	changed bool // by the batch
}

// index adds the objects of a block once all have been taken.
func (w *Writer) index() error {
	look := make([]key.ID, 0, len(w.added))
	for i := range w.added {
		if a := &w.added[i]; !a.isNew && !a.gone {
			look = append(look, a.id)
		}
	}
	err := w.lookUp(look...)
	for i := 0; i < len(w.added) && err == nil; i++ {
		if a := &w.added[i]; !a.gone {
			err = w.add(a, place{w.first, i})
		}
	}
	return err
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

// add indexes an object at a place, which is behind all others.
func (w *Writer) add(a *addition, at place) error {
	if _, twice := w.byID[a.id]; a.isNew && !twice { // nothing is to be looked up
		w.enter(a.id)
	}
	o, err := w.latest(a.id)
	if err != nil {
		return err
	}
	was := o.entry
	switch {
	case !o.there:
		o.entry = entry{version: a.ver, place: at}
	case a.ver == was.version:
		if err := w.again(was.place); err != nil {
			return err
		}
		w.other(a.id, a.ver, was.place)
		o.place, o.again = at, true
	case a.ver.After(was.version):
		if err := w.unmark('l', a.id, was); err != nil {
			return err
		}
		w.other(a.id, was.version, was.place)
		o.entry = entry{version: a.ver, place: at, older: true}
	default: // an older version comes late
		o.older, o.changed = true, true
		places, err := w.places(a.id, a.ver)
		if err == nil && len(places) > 0 {
			err = w.again(places[len(places)-1])
		}
		w.other(a.id, a.ver, at)
		w.marks[markKey{'l', at.first}].clear(at.i)
		return err
	}
	o.there, o.changed = true, true
	return w.onlyNewest(a.id, at)
}

// other notes a place that is not the newest of the latest version.
func (w *Writer) other(id key.ID, ver key.Version, p place) {
	set(w.b, otherKey(w.c, id, ver, p), nil)
	of := versionKey{id, ver}
	w.others[of] = append(w.others[of], p)
}

// places lists where a version stands, oldest place first, but for the newest of the latest version.
func (w *Writer) places(id key.ID, ver key.Version) (list []place, err error) {
	err = eachOther(w.r, w.c, id, ver[:], func(_ key.Version, p place) { list = append(list, p) })
	return append(list, w.others[versionKey{id, ver}]...), err
}

// again notes that what stands at a place stands at a later one too.
func (w *Writer) again(p place) error { return w.include('r', p) }

// include puts a place into a set.
func (w *Writer) include(kind byte, p place) error {
	set, err := w.mark(kind, p.first)
	set = set.grown(p.i)
	set.set(p.i)
	w.marks[markKey{kind, p.first}] = set
	return err
}

// onlyNewest sees to it that only the newest STIX version of an object counts as its
// latest: id is now the latest of its own, at a place.
func (w *Writer) onlyNewest(id key.ID, at place) error {
	if id.Spec == "" && !w.head.mixed {
		return nil
	}
	w.head.mixed = true
	own := slices.Index(key.Specs, id.Spec)
	for i, spec := range key.Specs {
		other := id
		other.Spec = spec
		o, err := w.latest(other)
		switch {
		case err != nil:
			return err
		case !o.there || i == own:
		case i < own: // there is one of a newer STIX
			w.marks[markKey{'l', at.first}].clear(at.i)
			return nil
		default:
			if err := w.unmark('l', other, o.entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// unmark takes a version, everywhere that it stands, out of what is there or out of the latest.
func (w *Writer) unmark(kind byte, id key.ID, e entry) error {
	return w.everywhere(id, e, func(p place) error {
		set, err := w.mark(kind, p.first)
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
