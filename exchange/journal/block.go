package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// decodeBlock reads a block, or its replacement, from a message.
func (j *Journal) decodeBlock(subject string, h nats.Header, data []byte, sequence uint64) (*record.Block, error) {
	b, err := record.ParseBlock(h, data)
	if err == nil {
		err = j.seal.Open(b)
	}
	collection, replaced := collectionOf(subject)
	// What stays of a block is on a subject beside, or, where a restore has brought it back, in the block's own place.
	if err == nil && (b.Collection != collection || replaced == (len(b.Removed) == 0) && (replaced || b.Sequence != sequence)) {
		err = errors.New("its headers contradict its subject")
	}
	if err != nil {
		return nil, fmt.Errorf("block at sequence %d on %s: %w: %w", sequence, subject, ErrDamaged, err)
	}
	if !replaced {
		b.Sequence = sequence
	}
	return b, nil
}

// FollowBlocks calls each with every block from the sequence on, in order, until
// ctx ends or each fails. pending is how many more there are. Of a block that was replaced it is what stays. Where a
// replacement is in the stream, each gets a block of the sequence alone, with the number 0.
func (j *Journal) FollowBlocks(ctx context.Context, from uint64, each func(b *record.Block, pending uint64) error) error {
	before := max(from, 1) - 1
	return follow(ctx, j.js, BlocksStream, nil, from, false, func(msg jetstream.Msg, seq, pending uint64) error {
		if seq > before+1 {
			if err := j.lookForReplacements(ctx); err != nil {
				return err
			}
			err := j.replacedBetween(ctx, before, seq, nil, func(b *record.Block) error { return each(b, pending+1) })
			if err != nil {
				return err
			}
		}
		before = seq
		if collection, replaced := collectionOf(msg.Subject()); replaced {
			return each(&record.Block{Collection: collection, Sequence: seq}, pending)
		}
		b, err := j.decodeBlock(msg.Subject(), msg.Headers(), msg.Data(), seq)
		if err != nil {
			return err
		}
		b.Packed = j.packed.take(b)
		return each(b, pending)
	})
}

// BlockAt returns the block of a collection at a sequence of the journal, or what stays of it, false where there is
// none.
func (j *Journal) BlockAt(ctx context.Context, collection string, sequence uint64) (*record.Block, bool, error) {
	msg, err := j.message(ctx, sequence)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("block at %d: %w", sequence, err)
	}
	if of, _ := collectionOf(msg.Subject); of != collection {
		return nil, false, nil
	}
	b, err := j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
	return b, err == nil, err
}

// head is where a collection's chain ends.
type head struct {
	sequence uint64 // of the last block in the stream
	number   uint64
	hash     string
	added    time.Time // date_added of the last object

	delivered []record.Delivered
}

func (j *Journal) head(ctx context.Context, collection string) (head, error) {
	b, err := j.lastBlock(ctx, collection)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return head{}, nil
	}
	if err != nil {
		return head{}, err
	}
	return headOf(b), nil
}

// lastBlock is the last block of a collection; its error is a jetstream.ErrMsgNotFound where there is none.
func (j *Journal) lastBlock(ctx context.Context, collection string) (*record.Block, error) {
	msg, err := j.blocks.GetLastMsgForSubject(ctx, blocksPrefix+collection)
	if err != nil {
		return nil, fmt.Errorf("read the end of collection %s: %w", collection, err)
	}
	return j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
}

// headOf is the end of a chain that a block is the last of. A control block, which has no objects, takes an instant too: no
// two are at one.
func headOf(b *record.Block) head {
	return head{sequence: b.Sequence, number: b.Number, hash: b.Hash(), added: b.Added(max(b.Count-1, 0)), delivered: b.Delivered}
}

// Verify walks the chains of the collections, or of all where none is named,
// from their first block to the last there is now: numbers without a gap,
// hashes that fit, stamps that grow, payloads that hold as many objects as they
// say. Chains come back sorted by collection, each that has blocks.
func (j *Journal) Verify(ctx context.Context, collections ...string) ([]record.Chain, error) {
	var subjects []string
	last := uint64(0)
	for _, c := range collections {
		sequence, err := lastSequence(ctx, j.blocks, blocksPrefix+c)
		if err != nil {
			return nil, fmt.Errorf("verify %s: %w", c, err)
		}
		subjects, last = append(subjects, blocksPrefix+c), max(last, sequence)
	}
	if len(collections) == 0 {
		var err error
		if last, err = lastSequence(ctx, j.blocks, blocksPrefix+"*"); err != nil {
			return nil, fmt.Errorf("verify: %w", err)
		}
	}
	if last == 0 {
		return nil, nil
	}
	if len(subjects) == 0 {
		subjects = []string{blocksPrefix + "*"}
	}
	if err := j.lookForReplacements(ctx); err != nil {
		return nil, err
	}
	chains, before := make(map[string]*record.Chain), uint64(0)
	add := func(collection string, b *record.Block, err error) {
		c := chains[collection]
		if c == nil {
			c = &record.Chain{Collection: collection}
			chains[collection] = c
		}
		if c.Problem != "" {
			return
		}
		if err == nil {
			err = j.link(c, b)
		}
		if err != nil {
			c.Problem = err.Error()
		}
	}
	err := follow(ctx, j.js, BlocksStream, subjects, 1, false, func(msg jetstream.Msg, seq, _ uint64) error {
		err := j.replacedBetween(ctx, before, seq, collections, func(b *record.Block) error { add(b.Collection, b, nil); return nil })
		if err != nil {
			return err
		}
		before = seq
		b, err := j.decodeBlock(msg.Subject(), msg.Headers(), msg.Data(), seq)
		collection, _ := collectionOf(msg.Subject())
		add(collection, b, err)
		if seq >= last {
			return errDone
		}
		return nil
	})
	if !errors.Is(err, errDone) {
		return nil, err
	}
	return sortedChains(chains), nil
}

// link checks that b continues the chain, and adds it.
func (j *Journal) link(c *record.Chain, b *record.Block) error {
	if err := Continues(b, c.Blocks, c.Head, c.Last); err != nil {
		return err
	}
	if c.Objects == 0 && !b.Trimmed {
		c.First = b.AddedFirst
	}
	if b.Trimmed {
		c.Blocks, c.Head, c.Last = b.Number, b.Hash(), b.Added(b.Count-1)
		return nil
	}
	text, err := j.Decompress(nil, b.Payload)
	if err != nil {
		return fmt.Errorf("block %d: %w", b.Number, err)
	}
	n, leaves := 0, record.LeavesOf(b)
	for i := range b.Count {
		if !b.Has(i) {
			n++
		}
	}
	if b.Control != "" {
		leaves.Add(text)
		if _, err := j.seal.OpenRemoval(b, text); err != nil {
			return err
		}
	} else if err := stix.Objects(text, func(raw []byte) error {
		n++
		leaves.Add(raw)
		_, err := stix.ParseHead(raw)
		return err
	}); err != nil {
		return fmt.Errorf("block %d: %w", b.Number, err)
	}
	switch {
	case n != b.Count:
		return fmt.Errorf("block %d says that it holds %d objects and holds %d", b.Number, b.Count, n)
	case leaves.Root() != b.Root:
		return fmt.Errorf("block %d does not hold the objects that it commits to: %w", b.Number, ErrDamaged)
	}
	c.Blocks, c.Head, c.Last = b.Number, b.Hash(), b.Added(b.Count-1)
	c.Objects += int64(n)
	return nil
}

// Continues reports why a block does not continue a chain that ends with the
// block of the number and hash, and the date_added of its last object.
func Continues(b *record.Block, number uint64, hash string, added time.Time) error {
	switch {
	case b.Number != number+1:
		return fmt.Errorf("block %d follows block %d: %w", b.Number, number, ErrDamaged)
	case b.Previous != hash:
		return fmt.Errorf("block %d does not continue from the block before (its hash is another): %w", b.Number, ErrDamaged)
	case !b.AddedFirst.After(added):
		return fmt.Errorf("block %d was added before the one before: %w", b.Number, ErrDamaged)
	}
	return nil
}

func sortedChains(m map[string]*record.Chain) []record.Chain {
	list := make([]record.Chain, 0, len(m))
	for _, c := range m {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b record.Chain) int { return cmp.Compare(a.Collection, b.Collection) })
	return list
}
