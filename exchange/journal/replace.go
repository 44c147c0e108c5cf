package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// A block that has lost objects is replaced: what stays of it becomes a message of the subject beside, with the block's
// facts, and the message that had it all is deleted for good. A reader of the journal meets the replacement where the
// block was; a member, for whom it is a message like others, meets it where it is.

// The headers of a replacement, beside the block's. insteadHeader is the sequence of the message that it takes the place
// of; countHeader is how many messages of the collection are gone with it.
const (
	insteadHeader = "Tocsin-Instead"
	countHeader   = "Tocsin-Replaced"
)

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
}

// lookForReplacements learns of those that it does not know yet, and deletes what one that was cut short has left: what
// a collection's last has taken the place of.
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
		return nil
	}
	instead := make(map[string]uint64)
	err = follow(ctx, j.js, BlocksStream, []string{replacedPrefix + "*"}, from, true, func(msg jetstream.Msg, seq, _ uint64) error {
		h := msg.Headers()
		of, err := strconv.ParseUint(h.Get(insteadHeader), 10, 64)
		isNew, e := r.add(h, seq)
		if err = errors.Join(err, e); err != nil {
			return fmt.Errorf("replacement at sequence %d: %w: %w", seq, ErrDamaged, err)
		}
		if isNew {
			instead[h.Get("Tocsin-Collection")] = of
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
	for c, sequence := range instead {
		if err := j.shred(ctx, sequence); err != nil {
			return fmt.Errorf("delete what the last replacement of collection %s has taken the place of: %w", c, err)
		}
	}
	return nil
}

// add notes a replacement; isNew tells that it was not known.
func (r *replacements) add(h nats.Header, at uint64) (isNew bool, err error) {
	of, err := strconv.ParseUint(h.Get("Tocsin-Sequence"), 10, 64)
	gone, e := strconv.ParseUint(h.Get(countHeader), 10, 64)
	if err = errors.Join(err, e); err != nil {
		return false, err
	}
	c := h.Get("Tocsin-Collection")
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of, r.last, r.gone = make(map[uint64]replacement), make(map[string]uint64), make(map[string]uint64)
	}
	if have, known := r.of[of]; !known {
		i, _ := slices.BinarySearch(r.order, of)
		r.order = slices.Insert(r.order, i, of)
	} else if have.at >= at {
		return false, nil
	}
	r.of[of] = replacement{c, at}
	if at > r.last[c] {
		r.last[c], r.gone[c] = at, gone
	}
	return true, nil
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
	msg.Header.Set(insteadHeader, strconv.FormatUint(old.Sequence, 10))
	msg.Header.Set(countHeader, strconv.FormatUint(count, 10))
	ack, err := j.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(last))
	if err != nil { // whether it was written is unknown: who tries again looks
		return err
	}
	if err := j.shred(ctx, old.Sequence); err != nil {
		return err
	}
	_, err = j.replaced.add(msg.Header, ack.Sequence)
	return err
}

// without makes a block the replacement that has the objects at some positions no more.
func (j *Journal) without(b *record.Block, gone []int) error {
	text, err := j.Decompress(nil, b.Payload)
	if err != nil {
		return err
	}
	objects, i := make(map[int][]byte, b.Count), 0
	rest := stix.AppendBundleOpen(nil, bundleID(b))
	first := true
	err = stix.Objects(text, func(raw []byte) error {
		for i < b.Count && !b.Has(i) {
			i++
		}
		if objects[i] = raw; !slices.Contains(gone, i) {
			if !first {
				rest = append(rest, ',')
			}
			rest, first = append(rest, raw...), false
		}
		i++
		return nil
	})
	if err != nil {
		return err
	}
	b.Without(objects, gone)
	b.Payload = j.enc.EncodeAll(stix.AppendBundleClose(rest), nil)
	return nil
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

// ReplacedTo is up to which of its control blocks, by date_added, all that a collection has lost is out of the journal.
func (j *Journal) ReplacedTo(ctx context.Context, collection string) (time.Time, error) {
	e, err := j.state.Get(ctx, replacedToPrefix+collection)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, nil
	}
	var micros int64
	if err == nil {
		micros, err = strconv.ParseInt(string(e.Value()), 10, 64)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read how far collection %s is replaced: %w", collection, err)
	}
	return time.UnixMicro(micros).UTC(), nil
}

// SetReplacedTo records it.
func (j *Journal) SetReplacedTo(ctx context.Context, collection string, to time.Time) error {
	if _, err := j.state.Put(ctx, replacedToPrefix+collection, strconv.AppendInt(nil, to.UnixMicro(), 10)); err != nil {
		return fmt.Errorf("write how far collection %s is replaced: %w", collection, err)
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
