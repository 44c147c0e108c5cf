package index

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// minObject is less than what an object takes, in bytes.
const minObject = len("a--00000000-0000-4000-8000-000000000000")

// Add adds a block's objects, which are in its text, decompressed, and calls each with each of them. Its error is an
// ErrContent where the block is at fault.
func (w *Writer) Add(b *record.Block, text []byte, each func(i int, raw []byte, brief stix.Brief) error) error {
	if b.Count > 8*len(b.Removed)+len(text)/minObject {
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
		if !b.Packed {
			leaves.Add(raw)
		}
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
	if err == nil && !b.Packed {
		err = Committed(b, leaves)
	}
	if err == nil {
		err = w.index()
	}
	if err != nil {
		return err
	}
	p.pack(&w.record)
	store.Set(w.b, dataKey(w.c, w.first, itsPayload), p.out)
	w.store()
	return nil
}

// Trimmed adds a block of which nothing but its facts is left.
func (w *Writer) Trimmed(b *record.Block) { w.locate(b.Number, b.Sequence, b.AddedFirst.UnixMicro()) }

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
		if own.objects[i].Erased {
			w.gone(i)
			continue
		}
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
	store.Set(w.b, dataKey(w.c, w.first, itsRecord), w.record.bytes())
	store.Set(w.b, dataKey(w.c, w.first, itsNames), w.naming.b)
	for _, t := range w.types {
		store.Set(w.b, binary.BigEndian.AppendUint64(typeKey(w.c, t.typ), uint64(w.first)), t.bits)
	}
}

// locate writes down where a block is.
func (w *Writer) locate(number, sequence uint64, first int64) {
	store.Set(w.b, sequenceKey(w.c, number), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sequence), uint64(first)))
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
		if err := w.unmark(a.id, was); err != nil {
			return err
		}
		w.other(a.id, was.version, was.place)
		o.entry = entry{version: a.ver, place: at, older: true}
	default: // an older version comes late
		o.older, o.changed = true, o.changed || !o.older
		last, found, err := w.lastPlace(a.id, a.ver)
		if err == nil && found {
			err = w.again(last)
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
	store.Set(w.b, otherKey(w.c, id, ver, p), nil)
	of := versionKey{id, ver}
	w.others[of] = append(w.others[of], p)
}

// again notes that what stands at a place stands at a later one too.
func (w *Writer) again(p place) error { return w.include('r', p) }

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
			if err := w.unmark(other, o.entry); err != nil {
				return err
			}
		}
	}
	return nil
}
