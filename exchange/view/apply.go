package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
)

// writer is one batch in the making.
type writer struct {
	v *View
	b *pebble.Batch
	r pebble.Reader // what lookups read: the view, or the view as the batch changes it
	c uint32
	// entries and marks are what the batch has changed already.
	entries map[objectID]entry
	older   map[olderKey]span
	marks   map[markKey]bits
	first   int64   // date_added of the block that is being added, 0 for none
	earlier []again // of its objects
	h       *head
	name    string // of the collection
}

// olderKey names a version that is not the latest.
type olderKey struct {
	id  objectID
	ver version
}

type markKey struct {
	kind  byte
	first int64
}

// begin starts a batch for a collection. indexed makes it read what it writes,
// which is slower.
func (v *View) begin(collection string, indexed bool) (*writer, *head) {
	w := &writer{v: v, r: v.db, name: collection, entries: make(map[objectID]entry), older: make(map[olderKey]span), marks: make(map[markKey]bits)}
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
		v.highest++
		w.c = v.highest
		v.numbers[collection] = w.c
	}
	w.h = new(head)
	if h := v.heads[w.c]; h != nil {
		*w.h = *h
	}
	return w, w.h
}

// set and del fail only when the batch is misused.
func (w *writer) set(key, value []byte) { _ = w.b.Set(key, value, nil) }
func (w *writer) del(key []byte)        { _ = w.b.Delete(key, nil) }

// latest returns the entry of an object's latest version.
func (w *writer) latest(id objectID) (entry, bool, error) {
	if e, ok := w.entries[id]; ok {
		return e, true, nil
	}
	value, closer, err := w.r.Get(objectKey('i', w.c, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return entry{}, false, nil
	}
	if err != nil {
		return entry{}, false, fmt.Errorf("read view: %w", err)
	}
	e, err := decodeEntry(value)
	return e, true, errors.Join(err, closer.Close())
}

// add indexes an object at a place: one more place of its version, and where no
// version is later, of the latest. isNew says that there is no other, which saves
// the look.
func (w *writer) add(id objectID, ver version, at place, isNew bool) error {
	if isNew {
		w.entries[id] = entry{ver, once(at)}
		return w.specs(id, at)
	}
	now := once(at)
	old, known, err := w.latest(id)
	if err != nil {
		return err
	}
	switch {
	case !known:
	case ver == old.version: // added again
		w.earlier = append(w.earlier, again{at.i, old.last})
		now.first = old.first
	case string(ver[:]) > string(old.version[:]): // a newer version
		if err := w.unmark('l', old.last); err != nil {
			return err
		}
		w.older[olderKey{id, old.version}] = old.span
	default: // an older version comes late
		was, found, err := w.olderSpan(olderKey{id, ver})
		if err != nil {
			return err
		}
		if found {
			w.earlier = append(w.earlier, again{at.i, was.last})
			now.first = was.first
		}
		w.older[olderKey{id, ver}] = now
		w.marks[markKey{'l', at.first}].clear(at.i)
		return nil
	}
	w.entries[id] = entry{ver, now}
	return w.specs(id, at)
}

// specs sees to it that only the newest STIX version of an object counts as its
// latest: id is now the latest of its own, at a place.
func (w *writer) specs(id objectID, at place) error {
	if id.spec == "" && !w.h.mixed {
		return nil
	}
	w.h.mixed = true
	newer := true
	for _, spec := range append([]string{""}, otherSpecs...) {
		if spec == id.spec {
			newer = false
			continue
		}
		other := id
		other.spec = spec
		e, known, err := w.latest(other)
		switch {
		case err != nil:
			return err
		case known && newer: // there is one of a newer STIX
			w.marks[markKey{'l', at.first}].clear(at.i)
			return nil
		case known:
			if err := w.unmark('l', e.last); err != nil {
				return err
			}
		}
	}
	return nil
}

// olderSpan returns where a version that is not the latest stands.
func (w *writer) olderSpan(k olderKey) (span, bool, error) {
	if s, ok := w.older[k]; ok {
		return s, true, nil
	}
	value, found, err := get(w.r, k.append(w.c))
	if err != nil || !found {
		return span{}, false, err
	}
	s, err := decodeSpan(value)
	return s, true, err
}

func (k olderKey) append(c uint32) []byte { return append(objectKey('o', c, k.id), k.ver[:]...) }

// unmark takes a version that stands last at a place, and everywhere else that
// it stands, out of what is there or out of the latest.
func (w *writer) unmark(kind byte, last place) error {
	return w.places(last, func(p place) error {
		set, err := w.mark(kind, p.first)
		if err == nil && set != nil {
			set.clear(p.i)
		}
		return err
	})
}

// mark returns a block's set to change, nil where nothing of it is left.
func (w *writer) mark(kind byte, first int64) (bits, error) {
	k := markKey{kind, first}
	set, ok := w.marks[k]
	if ok {
		return set, nil
	}
	set, found, err := w.v.get(blockKey(kind, w.c, first))
	if err != nil || !found {
		return nil, err
	}
	w.marks[k] = set
	return set, nil
}

// places calls each with every place of a version, from the last back to the
// first. Blocks that the batch is adding are the end of no such walk but its
// start.
func (w *writer) places(last place, each func(place) error) error {
	for p, ok := last, true; ok; {
		if err := each(p); err != nil {
			return err
		}
		var err error
		if p, ok, err = w.before(p); err != nil {
			return err
		}
	}
	return nil
}

// before returns the place at which an object stood before it was added at p.
func (w *writer) before(p place) (place, bool, error) {
	b := &block{earlier: w.earlier}
	if p.first != w.first {
		var err error
		if b, err = w.v.readBlock(w.c, p.first); err != nil {
			return place{}, false, err
		}
	}
	was, ok := b.before(p.i)
	return was, ok, nil
}

// commit writes the batch and publishes the head and the stream's sequence.
func (w *writer) commit(stream string, sequence uint64, h *head) error {
	for id, e := range w.entries {
		w.set(objectKey('i', w.c, id), e.append(nil))
	}
	for k, p := range w.older {
		w.set(k.append(w.c), p.append(nil))
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
	if err := w.b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write view: %w", err)
	}
	w.v.advance(func() {
		if h != nil {
			w.v.heads[w.c] = h
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
func (v *View) ApplyBlock(b *exchange.Block) error {
	if b.Sequence <= v.AppliedBlocks() {
		return nil
	}
	w, h := v.begin(b.Collection, b.Control != "")
	defer func() { _ = w.b.Close() }()
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

// text decompresses a block's payload.
func (w *writer) text(b *exchange.Block) ([]byte, error) {
	text, err := w.v.opt.Decompress(b.Payload)
	switch {
	case errors.Is(err, exchange.ErrRecord):
		return nil, fmt.Errorf("%w: %w", errContent, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errStore, err)
	}
	return text, nil
}

func (w *writer) block(b *exchange.Block) error {
	text, err := w.text(b)
	if err != nil {
		return err
	}
	w.open(b.AddedFirst.UnixMicro(), b.Count)
	w.locate(b.Number, b.Sequence, w.first)
	news := bits(b.New)
	if w.h.posted {
		news = nil // a member may have added anything
	}
	w.h.posted = w.h.posted || len(b.Feeds) == 0
	n := 0
	ok := stix.Scan(text, func(_ []byte, brief stix.Brief) {
		if err == nil && n < b.Count {
			err = w.object(brief, place{w.first, n}, news.has(n))
		}
		n++
	})
	if err == nil && (!ok || n != b.Count) {
		err = fmt.Errorf("%w: block %d has %d objects, not %d", errContent, b.Number, n, b.Count)
	}
	w.store(&block{number: b.Number, count: b.Count, starts: b.Starts, payload: b.Payload})
	return err
}

// open starts the block whose objects are added next.
func (w *writer) open(first int64, count int) {
	w.first, w.earlier = first, nil
	w.marks[markKey{'v', first}], w.marks[markKey{'l', first}] = allBits(count), allBits(count)
}

// store writes the block whose objects have been added.
func (w *writer) store(b *block) {
	b.earlier = w.earlier
	w.set(blockKey('b', w.c, w.first), b.append(make([]byte, 0, len(b.payload)+64+12*len(b.earlier))))
}

// locate writes down where a block is.
func (w *writer) locate(number, sequence uint64, first int64) {
	w.set(sequenceKey(w.c, number), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, sequence), uint64(first)))
}

// control does what a control block says.
func (w *writer) control(b *exchange.Block) error {
	text, err := w.text(b)
	if err != nil {
		return err
	}
	d, err := b.Deletion(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	w.locate(b.Number, b.Sequence, b.AddedFirst.UnixMicro())
	for _, o := range d.Objects {
		id, ok := versionID(o)
		if !ok {
			return fmt.Errorf("%w: id %.80q", errContent, o.ID)
		}
		if err := w.remove(id, versionOf(o.Version)); err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	return nil
}

// remove takes a version of an object out. Where it was the latest, the one
// before takes its place.
func (w *writer) remove(id objectID, ver version) error {
	e, known, err := w.latest(id)
	if err != nil || !known {
		return err
	}
	if e.version != ver {
		key := olderKey{id, ver}
		s, found, err := w.olderSpan(key)
		if err != nil || !found {
			return err
		}
		w.del(key.append(w.c))
		return w.unmark('v', s.last)
	}
	if err := errors.Join(w.unmark('v', e.last), w.unmark('l', e.last)); err != nil {
		return err
	}
	next, found, err := olderVersion(w.r, w.c, id, (*pebble.Iterator).Last)
	if err != nil {
		return err
	}
	if found {
		w.set(objectKey('i', w.c, id), next.append(nil))
		w.del(olderKey{id, next.version}.append(w.c))
	} else {
		w.del(objectKey('i', w.c, id))
	}
	return w.promote(id)
}

// promote marks what is now the latest version of an object, in the newest
// version of STIX that is left of it.
func (w *writer) promote(id objectID) error {
	for _, id.spec = range append([]string{""}, otherSpecs...) {
		e, known, err := w.latest(id)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		return w.places(e.last, func(p place) error {
			set, err := w.mark('l', p.first)
			if err != nil {
				return err
			}
			if set == nil {
				b, err := w.v.readBlock(w.c, p.first)
				if err != nil {
					return err
				}
				set = make(bits, len(allBits(b.count)))
				w.marks[markKey{'l', p.first}] = set
			}
			set.set(p.i)
			return nil
		})
	}
	return nil
}

func (w *writer) object(b stix.Brief, at place, isNew bool) error {
	id, ok := scannedID(b)
	if !ok {
		return fmt.Errorf("%w: id %.80q", errContent, b.ID)
	}
	ver, err := scannedVersion(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	if err := w.add(id, ver, at, isNew); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return nil
}

// ApplyIntake adds an intake record: what admission asks of the past, and the
// feed's own collection, which refers to the record.
func (v *View) ApplyIntake(ctx context.Context, sequence uint64, record []byte) error {
	if sequence <= v.Applied() {
		return nil
	}
	text, err := v.opt.Decompress(record)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	in, err := exchange.DecodeIntake(text)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	own := exchange.FeedCollection(in.Feed)
	w, h := v.begin(own, false)
	defer func() { _ = w.b.Close() }()
	w.intake(in, sequence, record)
	objects, starts, news, err := v.packaged(ctx, in)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	if len(objects) == 0 {
		return w.commit("intake", sequence, nil)
	}
	h.number++
	w.open(max(in.At.UnixMicro(), h.added+1), len(objects))
	for i := range objects {
		if err := w.object(objects[i].brief, place{w.first, i}, news.has(i)); err != nil {
			return fmt.Errorf("intake %d: %w", sequence, err)
		}
	}
	w.locate(h.number, sequence, w.first)
	w.store(&block{intake: sequence, number: h.number, count: len(objects), starts: starts})
	h.added = w.first + int64(len(objects)) - 1
	h.objects += int64(len(objects))
	for i := range in.Observations {
		h.label = max(h.label, in.Observations[i].Label)
	}
	return w.commit("intake", sequence, h)
}

// intake stores the record and what is looked up of it.
func (w *writer) intake(in *exchange.Intake, sequence uint64, record []byte) {
	w.set(intakeKey(sequence), record)
	at := binary.BigEndian.AppendUint64(nil, sequence)
	for i := range in.Events {
		value := append(binary.BigEndian.AppendUint32(at[:8:8], uint32(i)), 0)
		if in.Events[i].Observation >= 0 {
			value[12] = 1
		}
		w.set(eventKey(in.Feed, in.Events[i].ID()), value)
	}
	for i := range in.Observations {
		o := &in.Observations[i]
		w.set(hostKey(in.Feed, o.HostDay), o.Append(nil))
	}
	if in.Key != "" {
		w.set(keyKey(in.Feed, in.Key), at)
	}
	for _, x := range in.Introductions {
		w.set(topicKey(in.Feed, x), binary.BigEndian.AppendUint64(nil, uint64(in.At.UnixMicro())))
	}
}

// Event implements exchange.Sightings, as do the methods below.
func (v *View) Event(feed string, id exchange.EventID) (known, delivered bool, err error) {
	value, closer, err := v.db.Get(eventKey(feed, id))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("read view: %w", err)
	}
	delivered = len(value) == 13 && value[12] == 1
	return true, delivered, closer.Close()
}

// Observation returns what is known of a host's day.
func (v *View) Observation(feed string, of exchange.HostDay) (exchange.Observation, bool, error) {
	value, closer, err := v.db.Get(hostKey(feed, of))
	if errors.Is(err, pebble.ErrNotFound) {
		return exchange.Observation{}, false, nil
	}
	if err != nil {
		return exchange.Observation{}, false, fmt.Errorf("read view: %w", err)
	}
	o, err := exchange.DecodeObservation(value)
	return o, true, errors.Join(err, closer.Close())
}

// Introduced tells when a topic was last introduced into a collection.
func (v *View) Introduced(feed string, x exchange.Introduction) (time.Time, bool, error) {
	value, found, err := v.get(topicKey(feed, x))
	if err != nil || !found || len(value) != 8 {
		return time.Time{}, false, err
	}
	return micros(int64(binary.BigEndian.Uint64(value))), true, nil
}

// IntakeByKey returns the record that an idempotency key made.
func (v *View) IntakeByKey(feed, key string) (*exchange.Intake, uint64, bool, error) {
	value, found, err := v.get(keyKey(feed, key))
	if err != nil || !found || len(value) != 8 {
		return nil, 0, false, err
	}
	sequence := binary.BigEndian.Uint64(value)
	in, err := v.Intake(sequence)
	return in, sequence, err == nil, err
}

// Intake returns an intake record.
func (v *View) Intake(sequence uint64) (*exchange.Intake, error) {
	record, found, err := v.get(intakeKey(sequence))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("intake %d is not there: %w", sequence, ErrDamaged)
	}
	text, err := v.opt.Decompress(record)
	if err != nil {
		return nil, err
	}
	return exchange.DecodeIntake(text)
}
