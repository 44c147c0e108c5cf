package journal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MediaType is the Content-Type of a block, once decompressed.
const MediaType = "application/stix+json;version=2.1"

// encodeHeader writes a block's facts as message headers.
func encodeHeader(b *record.Block) nats.Header {
	h := nats.Header{}
	h.Set("Content-Type", MediaType)
	if b.Control != "" {
		h.Set("Content-Type", "application/json")
		h.Set("Tocsin-Control", string(b.Control))
	}
	for name, bits := range map[string][]byte{"Tocsin-Starts": b.Starts, "Tocsin-New": b.New, "Tocsin-Seed": b.Seed} {
		if len(bits) > 0 {
			h.Set(name, base64.StdEncoding.EncodeToString(bits))
		}
	}
	if b.By != "" {
		h.Set("Tocsin-By", b.By)
		h.Set("Tocsin-Labels", base64.StdEncoding.EncodeToString(b.Labels))
	}
	h.Set("Content-Encoding", "zstd")
	h.Set("Tocsin-Collection", b.Collection)
	h.Set("Tocsin-Feeds", b.Feed)
	h.Set("Tocsin-Packaging", strconv.Itoa(int(b.Packaging)))
	h.Set("Tocsin-Block", strconv.FormatUint(b.Number, 10))
	h.Set("Tocsin-Previous", b.Previous)
	h.Set("Tocsin-Count", strconv.Itoa(b.Count))
	h.Set("Tocsin-Added-First", b.AddedFirst.UTC().Format("2006-01-02T15:04:05.000000Z"))
	h.Set("Tocsin-Label", b.Label.String())
	h.Set("Tocsin-Root", b.Root)
	h.Set("Tocsin-Sealed", b.Sealed)
	return h
}

// decodeBlock reads a block from a message.
func (j *Journal) decodeBlock(subject string, h nats.Header, data []byte, sequence uint64) (*record.Block, error) {
	b := &record.Block{
		Collection: h.Get("Tocsin-Collection"), Feed: h.Get("Tocsin-Feeds"), Previous: h.Get("Tocsin-Previous"), Payload: data, Sequence: sequence,
		By: h.Get("Tocsin-By"), Control: record.ControlKind(h.Get("Tocsin-Control")), Root: h.Get("Tocsin-Root"), Sealed: h.Get("Tocsin-Sealed"),
	}
	var errs [10]error
	var packaging uint64
	b.Number, errs[0] = strconv.ParseUint(h.Get("Tocsin-Block"), 10, 64)
	b.Count, errs[1] = strconv.Atoi(h.Get("Tocsin-Count"))
	b.AddedFirst, errs[2] = time.Parse(time.RFC3339Nano, h.Get("Tocsin-Added-First"))
	b.Label, errs[3] = tlp.Parse(h.Get("Tocsin-Label"))
	packaging, errs[4] = strconv.ParseUint(h.Get("Tocsin-Packaging"), 10, 8)
	b.Starts, errs[5] = base64.StdEncoding.DecodeString(h.Get("Tocsin-Starts"))
	b.New, errs[6] = base64.StdEncoding.DecodeString(h.Get("Tocsin-New"))
	b.Labels, errs[7] = base64.StdEncoding.DecodeString(h.Get("Tocsin-Labels"))
	b.Seed, errs[8] = base64.StdEncoding.DecodeString(h.Get("Tocsin-Seed"))
	b.Packaging = uint8(packaging)
	errs[9] = j.seal.Open(b)
	err := errors.Join(errs[:]...)
	if err == nil && (blocksPrefix+b.Collection != subject || b.Number == 0 || b.Count < 0 || (b.Count == 0) != (b.Control != "") || b.By != "" && len(b.Labels) != b.Count || len(b.Root) != 2*sha256.Size) {
		err = errors.New("its headers contradict each other")
	}
	if err != nil {
		return nil, fmt.Errorf("block at sequence %d on %s: %w: %w", sequence, subject, ErrDamaged, err)
	}
	return b, nil
}

// FollowBlocks calls each with every block from the sequence on, in order, until
// ctx ends or each fails. pending is how many more there are.
func (j *Journal) FollowBlocks(ctx context.Context, from uint64, each func(b *record.Block, pending uint64) error) error {
	return follow(ctx, j.js, BlocksStream, nil, from, func(msg jetstream.Msg, seq, pending uint64) error {
		b, err := j.decodeBlock(msg.Subject(), msg.Headers(), msg.Data(), seq)
		if err != nil {
			return err
		}
		return each(b, pending)
	})
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
	msg, err := j.blocks.GetLastMsgForSubject(ctx, blocksPrefix+collection)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return head{}, nil
	}
	if err != nil {
		return head{}, fmt.Errorf("read the end of collection %s: %w", collection, err)
	}
	b, err := j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
	if err != nil {
		return head{}, err
	}
	return headOf(b), nil
}

func headOf(b *record.Block) head {
	return head{sequence: b.Sequence, number: b.Number, hash: b.Hash(), added: b.Added(b.Count - 1), delivered: b.Delivered}
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
	chains := make(map[string]*record.Chain)
	err := follow(ctx, j.js, BlocksStream, subjects, 1, func(msg jetstream.Msg, seq, _ uint64) error {
		name := strings.TrimPrefix(msg.Subject(), blocksPrefix)
		c := chains[name]
		if c == nil {
			c = &record.Chain{Collection: name}
			chains[name] = c
		}
		if c.Problem == "" {
			b, err := j.decodeBlock(msg.Subject(), msg.Headers(), msg.Data(), seq)
			if err == nil {
				err = j.link(c, b)
			}
			if err != nil {
				c.Problem = err.Error()
			}
		}
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
	text, err := j.Decompress(nil, b.Payload)
	if err != nil {
		return fmt.Errorf("block %d: %w", b.Number, err)
	}
	n, leaves := 0, record.NewLeaves(b.Seed)
	if b.Control != "" {
		leaves.Add(text)
		if _, err := b.Removal(text); err != nil {
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
	if c.Objects == 0 {
		c.First = b.AddedFirst
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
