package journal

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// A block that has lost objects is replaced: what stays of it becomes a message of the subject beside, with the block's
// facts, and the message that had it all is deleted for good. A reader of the journal meets the replacement where the
// block was; a member, for whom it is a message like others, meets it where it is.

// sequenceHeader is the header of a replacement that has the block's sequence.
const sequenceHeader = "Tocsin-Sequence"

// countHeader is a header of a replacement beside the block's: how many messages of the collection are gone with it.
const countHeader = "Tocsin-Replaced"

// replacement is where what stays of a block is.
type replacement struct {
	collection string
	at         uint64 // sequence of the message
}

// replacements are those of all collections, as far as they are known here.
type replacements struct {
	making sync.Mutex // held while one is made

	mu      sync.Mutex
	of      map[uint64]replacement // by the block's own sequence
	order   []uint64               // which are replaced, ascending
	last    map[string]uint64      // a collection's last replacement
	gone    map[string]uint64      // how many messages of a collection are gone
	scanned uint64                 // up to which sequence this is known
	// left are messages that something has taken the place of and that are yet to be deleted.
	left map[uint64]bool
}

// lookForReplacements learns of those that it does not know yet, and deletes what any has taken the place of, where that is
// still there.
func (j *Journal) lookForReplacements(ctx context.Context) error {
	r := &j.replaced
	end, err := lastSequence(ctx, j.blocks, replacedPrefix+"*")
	if err != nil {
		return fmt.Errorf("list replacements: %w", err)
	}
	r.mu.Lock()
	from := r.scanned + 1
	r.mu.Unlock()
	if end < from {
		return j.shredLeft(ctx)
	}
	err = follow(ctx, j.js, BlocksStream, []string{replacedPrefix + "*"}, from, true, func(msg jetstream.Msg, seq, _ uint64) error {
		if err := r.add(msg.Headers(), seq); err != nil {
			return fmt.Errorf("replacement at sequence %d: %w: %w", seq, ErrDamaged, err)
		}
		r.mu.Lock()
		r.scanned = max(r.scanned, seq)
		r.mu.Unlock()
		if seq >= end {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		return err
	}
	return j.shredLeft(ctx)
}

// shredLeft deletes what something has taken the place of.
func (j *Journal) shredLeft(ctx context.Context) error {
	r := &j.replaced
	r.mu.Lock()
	left := slices.Sorted(maps.Keys(r.left))
	r.mu.Unlock()
	for _, sequence := range left {
		if err := j.shred(ctx, sequence); err != nil {
			return fmt.Errorf("delete the message at %d, which is replaced: %w", sequence, err)
		}
		r.mu.Lock()
		delete(r.left, sequence)
		r.mu.Unlock()
	}
	return nil
}

// add notes a replacement. What had the block before is to be deleted: the block itself, or what replaced it first.
func (r *replacements) add(h nats.Header, at uint64) error {
	of, err := strconv.ParseUint(h.Get(sequenceHeader), 10, 64)
	gone, e := strconv.ParseUint(h.Get(countHeader), 10, 64)
	if err = errors.Join(err, e); err != nil {
		return err
	}
	c := h.Get("Tocsin-Collection")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of, r.last, r.gone, r.left = make(map[uint64]replacement), make(map[string]uint64), make(map[string]uint64), make(map[uint64]bool)
	}
	have, known := r.of[of]
	switch {
	case !known:
		i, _ := slices.BinarySearch(r.order, of)
		r.order = slices.Insert(r.order, i, of)
		r.left[of] = true
	case have.at >= at:
		return nil
	default:
		r.left[have.at] = true
	}
	r.of[of] = replacement{c, at}
	if at > r.last[c] {
		r.last[c], r.gone[c] = at, gone
	}
	return nil
}

// between lists the blocks that were behind a sequence and before another and are replaced, of some collections or all.
func (r *replacements) between(after, before uint64, collections []string) (list []uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from, _ := slices.BinarySearch(r.order, after+1)
	for _, of := range r.order[from:] {
		if of >= before {
			break
		}
		if len(collections) == 0 || slices.Contains(collections, r.of[of].collection) {
			list = append(list, of)
		}
	}
	return list
}

// where is the message that has a block now.
func (r *replacements) where(of uint64) uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return cmp.Or(r.of[of].at, of)
}

// count is how many messages are gone in all.
func (r *replacements) count() (n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.gone {
		n += k
	}
	return n
}

// Replaced is how many messages are gone, as what stays of them has taken their place.
func (j *Journal) Replaced() uint64 { return j.replaced.count() }

// message returns the message that has what there is now of the block that was appended at a sequence.
func (j *Journal) message(ctx context.Context, of uint64) (*jetstream.RawStreamMsg, error) {
	for tries := 0; ; tries++ {
		msg, err := j.blocks.GetMsg(ctx, j.replaced.where(of))
		if !errors.Is(err, jetstream.ErrMsgNotFound) || tries > 2 {
			return msg, err
		}
		if err := j.lookForReplacements(ctx); err != nil { // it has been replaced meanwhile
			return nil, err
		}
	}
}

// replacedBetween calls each with what stays of the replaced blocks between two sequences.
func (j *Journal) replacedBetween(ctx context.Context, after, before uint64, collections []string, each func(b *record.Block) error) error {
	for _, of := range j.replaced.between(after, before, collections) {
		msg, err := j.message(ctx, of)
		if err != nil {
			return fmt.Errorf("what stays of the block at %d: %w", of, err)
		}
		b, err := j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
		if err == nil {
			err = each(b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Replace takes the objects at some positions of a block out of the journal: once it returns no message has them. A
// second time it does nothing. A block stands behind it, the one that took them out: what ends a collection's chain is
// never replaced.
func (j *Journal) Replace(ctx context.Context, collection string, h record.Holes) error {
	j.replaced.making.Lock()
	defer j.replaced.making.Unlock()
	if err := j.replace(ctx, collection, h); err != nil {
		return fmt.Errorf("replace block %d of collection %s: %w", h.Block, collection, err)
	}
	return nil
}

func (j *Journal) replace(ctx context.Context, collection string, h record.Holes) error {
	if err := j.lookForReplacements(ctx); err != nil {
		return err
	}
	if err := j.room(true); err != nil { // a full disk is no place to write what stays
		return err
	}
	old, err := j.message(ctx, h.Sequence)
	if err != nil {
		return err
	}
	b, err := j.decodeBlock(old.Subject, old.Header, old.Data, old.Sequence)
	if err != nil {
		return err
	}
	if b.Collection != collection || b.Number != h.Block || b.Control != "" {
		return fmt.Errorf("%w: at %d is block %d of collection %s", ErrDamaged, h.Sequence, b.Number, b.Collection)
	}
	if b.Trimmed {
		return nil
	}
	gone := slices.DeleteFunc(slices.Clone(h.Positions), func(i int) bool { return i < 0 || i >= b.Count || !b.Has(i) })
	if len(gone) == 0 {
		return nil
	}
	if err := j.without(b, gone); err != nil {
		return err
	}
	b.Sequence = h.Sequence
	msg := &nats.Msg{Subject: replacedPrefix + collection, Header: b.Header(), Data: b.Payload}
	j.replaced.mu.Lock()
	last, count := j.replaced.last[collection], j.replaced.gone[collection]+1
	j.replaced.mu.Unlock()
	msg.Header.Set(countHeader, strconv.FormatUint(count, 10))
	ack, err := j.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
	if err != nil { // whether it was written is unknown: who tries again looks
		return err
	}
	return errors.Join(j.replaced.add(msg.Header, ack.Sequence), j.shredLeft(ctx))
}

// without makes a block the replacement that has the objects at some positions no more.
func (j *Journal) without(b *record.Block, gone []int) error {
	text, err := j.Decompress(nil, b.Payload)
	if err != nil {
		return err
	}
	objects, i := make(map[int][]byte, b.Count), 0
	err = stix.Objects(text, func(raw []byte) error {
		for i < b.Count && !b.Has(i) {
			i++
		}
		objects[i] = raw
		i++
		return nil
	})
	if err != nil {
		return err
	}
	rest, err := without(b, objects, gone)
	if err == nil {
		b.Payload = j.enc.EncodeAll(rest, nil)
	}
	return err
}

// without makes a block, which has objects at their positions, the replacement that has some of them no more, and returns its text.
func without(b *record.Block, objects map[int][]byte, gone []int) ([]byte, error) {
	b.Without(objects, gone)
	rest, first := stix.AppendBundleOpen(nil, bundleID(b)), true
	leaves := record.LeavesOf(b)
	for i := range b.Count {
		if !b.Has(i) {
			continue
		}
		leaves.Add(objects[i])
		if !first {
			rest = append(rest, ',')
		}
		rest, first = append(rest, objects[i]...), false
	}
	if leaves.Root() != b.Root { // nothing is deleted for what does not hold
		return nil, fmt.Errorf("%w: it does not hold the objects that it commits to", ErrDamaged)
	}
	return stix.AppendBundleClose(rest), nil
}

// shred deletes a message so that its bytes are not on the disk any more, as far as the disk itself forgets.
func (j *Journal) shred(ctx context.Context, sequence uint64) error {
	err := j.blocks.SecureDeleteMsg(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		if _, look := j.blocks.GetMsg(ctx, sequence); errors.Is(look, jetstream.ErrMsgNotFound) {
			return nil
		}
	}
	return err
}

// Replacing is how far it is that what a collection has lost leaves the journal.
func (j *Journal) Replacing(ctx context.Context, collection string) (r record.Replacing, err error) {
	e, err := j.state.Get(ctx, replacingPrefix+collection)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &r)
	}
	if err == nil {
		var text []byte
		var found bool
		if text, found, err = j.kept.get(ctx, "replacing-"+collection); found && err == nil && len(text) > 0 { // else they are lost
			err = json.Unmarshal(text, &r.Holes)
		}
	}
	if err != nil {
		return r, fmt.Errorf("read how far collection %s is replaced: %w", collection, err)
	}
	return r, nil
}

// SetReplacing records it. Holes that are recorded are made when the journal is opened, at the latest: before anybody
// reads what is left of the blocks.
func (j *Journal) SetReplacing(ctx context.Context, collection string, r record.Replacing) error {
	var holes []byte // there can be more than one value holds
	var err error
	if len(r.Holes) > 0 {
		holes, err = json.Marshal(r.Holes)
	}
	text, e := json.Marshal(record.Replacing{To: r.To})
	if err = errors.Join(err, e); err == nil && holes != nil {
		err = j.kept.set(ctx, "replacing-"+collection, holes)
	}
	if err == nil {
		_, err = j.state.Put(ctx, replacingPrefix+collection, text)
	}
	if err == nil && holes == nil {
		err = j.kept.set(ctx, "replacing-"+collection, nil)
	}
	if err != nil {
		return fmt.Errorf("write how far collection %s is replaced: %w", collection, err)
	}
	return nil
}

// finishReplacing makes the holes that were recorded and may not all have been made.
func (j *Journal) finishReplacing(ctx context.Context) error {
	keys, err := j.state.ListKeysFiltered(ctx, replacingPrefix+"*")
	if err != nil {
		return fmt.Errorf("list what is being replaced: %w", err)
	}
	var collections []string
	for key := range keys.Keys() {
		collections = append(collections, strings.TrimPrefix(key, replacingPrefix))
	}
	for _, c := range collections {
		r, err := j.Replacing(ctx, c)
		for _, h := range r.Holes {
			if err == nil {
				err = j.Replace(ctx, c, h)
			}
		}
		if err == nil && len(r.Holes) > 0 {
			err = j.SetReplacing(ctx, c, record.Replacing{To: r.To})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// collectionOf is the collection that a message of the stream of blocks is of, and whether it is a replacement.
func collectionOf(subject string) (collection string, replaced bool) {
	if c, ok := strings.CutPrefix(subject, replacedPrefix); ok {
		return c, true
	}
	return strings.TrimPrefix(subject, blocksPrefix), false
}
