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
	c uint32
	// entries and marks are what the batch has changed already.
	entries map[objectID]entry
	older   map[olderKey]place
	marks   map[markKey]bits
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

// begin starts a batch for a collection.
func (v *View) begin(collection string) (*writer, *head) {
	w := &writer{v: v, b: v.db.NewBatch(), name: collection, entries: make(map[objectID]entry), older: make(map[olderKey]place), marks: make(map[markKey]bits)}
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
	h := v.heads[w.c]
	if h == nil {
		return w, new(head)
	}
	copied := *h
	return w, &copied
}

// set and del fail only when the batch is misused.
func (w *writer) set(key, value []byte) { _ = w.b.Set(key, value, nil) }
func (w *writer) del(key []byte)        { _ = w.b.Delete(key, nil) }

// add indexes an object at a place: it becomes the current one of its version,
// and where no version is later, the latest.
func (w *writer) add(id objectID, ver version, at place) error {
	old, known := w.entries[id]
	if !known {
		value, closer, err := w.v.db.Get(objectKey('i', w.c, id))
		switch {
		case err == nil:
			old, err = decodeEntry(value)
			if err := errors.Join(err, closer.Close()); err != nil {
				return err
			}
			known = true
		case !errors.Is(err, pebble.ErrNotFound):
			return fmt.Errorf("read view: %w", err)
		}
	}
	now := entry{version: ver, place: at}
	switch {
	case !known:
	case ver == old.version: // added again: it moves here
		if err := w.unmark('v', old.place); err != nil {
			return err
		}
		if err := w.unmark('l', old.place); err != nil {
			return err
		}
	case string(ver[:]) > string(old.version[:]): // a newer version
		if err := w.unmark('l', old.place); err != nil {
			return err
		}
		w.older[olderKey{id, old.version}] = old.place
	default: // an older version comes late
		was, found, err := w.olderPlace(olderKey{id, ver})
		if err != nil {
			return err
		}
		if found {
			if err := w.unmark('v', was); err != nil {
				return err
			}
		}
		w.older[olderKey{id, ver}] = at
		w.entries[id] = old
		return w.unmark('l', at)
	}
	w.entries[id] = now
	return nil
}

// olderPlace returns where a version that is not the latest stands.
func (w *writer) olderPlace(k olderKey) (place, bool, error) {
	if p, ok := w.older[k]; ok {
		return p, true, nil
	}
	value, found, err := w.v.get(k.append(w.c))
	if err != nil || !found {
		return place{}, false, err
	}
	p, err := decodePlace(value)
	return p, true, err
}

func (k olderKey) append(c uint32) []byte { return append(objectKey('o', c, k.id), k.ver[:]...) }

// unmark takes a place out of the current or the latest ones.
func (w *writer) unmark(kind byte, p place) error {
	k := markKey{kind, p.first}
	set, ok := w.marks[k]
	if !ok {
		value, found, err := w.v.get(blockKey(kind, w.c, p.first))
		if err != nil {
			return err
		}
		if !found {
			return nil // none of its block is left
		}
		set = value
		w.marks[k] = set
	}
	set.clear(p.i)
	return nil
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
	w, h := v.begin(b.Collection)
	defer func() { _ = w.b.Close() }()
	err := v.opt.Continues(b, h.number, h.hash, micros(h.added))
	if err == nil {
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

func (w *writer) block(b *exchange.Block) error {
	text, err := w.v.opt.Decompress(b.Payload)
	if errors.Is(err, exchange.ErrRecord) {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	first := b.AddedFirst.UnixMicro()
	value := block{number: b.Number, count: b.Count, payload: b.Payload}
	w.set(blockKey('b', w.c, first), value.append(make([]byte, 0, len(b.Payload)+24)))
	w.set(sequenceKey(w.c, b.Number), binary.BigEndian.AppendUint64(nil, b.Sequence))
	w.marks[markKey{'v', first}], w.marks[markKey{'l', first}] = allBits(b.Count), allBits(b.Count)
	n := 0
	ok := stix.Scan(text, func(_ []byte, brief stix.Brief) {
		if err == nil && n < b.Count {
			err = w.object(brief, place{first, n})
		}
		n++
	})
	if err == nil && (!ok || n != b.Count) {
		err = fmt.Errorf("%w: block %d has %d objects, not %d", errContent, b.Number, n, b.Count)
	}
	return err
}

func (w *writer) object(b stix.Brief, at place) error {
	id, ok := parseID(b.ID)
	if !ok {
		return fmt.Errorf("%w: id %.80q", errContent, b.ID)
	}
	ver, err := scannedVersion(b)
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	if err := w.add(id, ver, at); err != nil {
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
	w, h := v.begin(own)
	defer func() { _ = w.b.Close() }()
	w.intake(in, sequence, record)
	objects, err := v.packaged(ctx, in)
	if err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	if len(objects) == 0 {
		return w.commit("intake", sequence, nil)
	}
	first := max(in.At.UnixMicro(), h.added+1)
	h.number++
	value := block{intake: sequence, number: h.number, count: len(objects)}
	w.set(blockKey('b', w.c, first), value.append(nil))
	w.marks[markKey{'v', first}], w.marks[markKey{'l', first}] = allBits(len(objects)), allBits(len(objects))
	for i := range objects {
		if err := w.object(objects[i].brief, place{first, i}); err != nil {
			return fmt.Errorf("intake %d: %w", sequence, err)
		}
	}
	h.added = first + int64(len(objects)) - 1
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
