package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A block closes at this many objects or bytes, or when nothing more waits. It
// never cuts a group, so it can be larger by one group.
const (
	maxObjects = 500
	maxRaw     = 512 << 10
)

// packer writes one collection's blocks: one append under way at a time, and a
// block is whatever queued up meanwhile. There is no timer: a lone event goes
// at once. Its goroutine lives while there is something queued.
type packer struct {
	j          *Journal
	collection string

	mu      sync.Mutex
	queue   []*pending
	running bool
	failed  error // sticks: the state of the log is unknown

	// The rest is the goroutine's alone.
	head   head
	loaded bool
	*bundle
}

// bundle is what a block is built in. A packer that has nothing to do has none: there are as many packers
// as collections.
type bundle struct {
	raw    []byte
	in     map[string]bool // ids in it
	leaves *record.Leaves
}

var bundles = sync.Pool{New: func() any { return &bundle{in: make(map[string]bool)} }}

// pending is something on its way into blocks: one share of a feed's intake, or
// what a member adds or changes.
type pending struct {
	share    record.Share
	feed     string // "" for what a member adds
	sequence uint64
	next     int // of the share's groups
	post     *record.Post
	done     func(last uint64, err error)
}

// Deliver brings a collection's share of the intake record at the sequence into
// blocks, or what is still missing of it. done is called once, when it is all
// on disk, with the sequence of the last block that was needed, or with what
// went wrong. Shares of one feed must come in order.
func (j *Journal) Deliver(share record.Share, feed string, sequence uint64, done func(last uint64, err error)) {
	j.enqueue(&pending{share: share, feed: feed, sequence: sequence, done: done})
}

// Post appends what a member adds to a collection, or takes out of it, and
// returns the sequence of the last block once it is on disk. After an error
// that is none of exchange.ErrClosed, ErrFull and ErrDamaged nothing more may be appended.
func (j *Journal) Post(post *record.Post) (last uint64, err error) {
	if err := j.room(post.Control != ""); err != nil {
		return 0, fmt.Errorf("append to collection %s: %w", post.Share.Collection, err)
	}
	wait := make(chan struct{})
	j.enqueue(&pending{share: post.Share, post: post, done: func(sequence uint64, e error) {
		last, err = sequence, e
		close(wait)
	}})
	<-wait // an append under way is always finished
	return last, err
}

func (j *Journal) enqueue(x *pending) {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		x.done(0, exchange.ErrClosed)
		return
	}
	p := j.packers[x.share.Collection]
	if p == nil {
		p = &packer{j: j, collection: x.share.Collection}
		j.packers[x.share.Collection] = p
	}
	defer j.mu.Unlock() // Close counts goroutines after it
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue = append(p.queue, x)
	if !p.running {
		p.running = true
		p.j.wg.Go(p.run)
	}
}

func (p *packer) run() {
	p.bundle = bundles.Get().(*bundle)
	for {
		p.mu.Lock()
		batch, err := p.queue, p.failed
		if len(batch) == 0 {
			if cap(p.raw) <= 4*maxRaw { // what one large post took is no measure
				bundles.Put(p.bundle)
			}
			p.bundle = nil
			p.running = false
			p.mu.Unlock()
			return
		}
		p.mu.Unlock()
		var finished int
		if err == nil {
			finished, err = p.append(batch)
		}
		if err != nil {
			finished = len(batch)
		}
		p.mu.Lock()
		p.failed = err
		p.queue = p.queue[finished:]
		if len(p.queue) == 0 {
			p.queue = nil
		}
		p.mu.Unlock()
		for _, x := range batch[:finished] {
			x.done(p.head.sequence, err)
		}
	}
}

// append builds and appends one block from the appends that wait. It returns how
// many of them are now delivered whole.
func (p *packer) append(batch []*pending) (finished int, err error) {
	if p.j.ctx.Err() != nil {
		return 0, fmt.Errorf("collection %s: %w", p.collection, exchange.ErrClosed)
	}
	if !p.loaded {
		if p.head, err = p.j.head(p.j.ctx, p.collection); err != nil {
			return 0, err
		}
		p.loaded = true
	}
	b := &record.Block{Collection: p.collection, Number: p.head.number + 1, Previous: p.head.hash, Label: tlp.Clear, Seed: record.NewSeed()}
	b.Delivered = slices.Clone(p.head.delivered)
	p.leaves = record.NewLeaves(b.Seed)
	if len(batch[0].share.Groups) > 16 { // a full one, as far as can be told
		p.raw = slices.Grow(p.raw[:0], maxRaw+maxRaw/8)
	}
	p.raw = stix.AppendBundleOpen(p.raw[:0], bundleID(b))
	clear(p.in)
	if batch[0].post != nil {
		if err := p.post(b, batch[0]); err != nil {
			return 0, err
		}
		return 1, nil
	}
	var out record.Removal
	for _, x := range batch {
		if x.post != nil || !p.takes(b, x) {
			break
		}
		for x.next < len(x.share.Groups) && p.hasRoom(b) && len(out.Objects) < maxObjects {
			g := x.share.Groups[x.next]
			if g.Index < deliveredGroups(b.Delivered, x) {
				x.next++
				continue // it is there
			}
			if len(g.Withdraw) > 0 && b.Count > 0 || len(g.Withdraw) == 0 && len(out.Objects) > 0 {
				break // a control block holds nothing else
			}
			x.next++
			b.Feed, b.Packaging = x.feed, x.share.Packaging
			b.Delivered = setDelivered(b.Delivered, record.Delivered{Feed: x.feed, Sequence: x.sequence, Groups: g.Index + 1})
			if len(g.Withdraw) > 0 {
				for _, id := range g.Withdraw {
					out.Objects = append(out.Objects, record.Withdrawn{ID: id})
				}
				continue
			}
			b.Label = max(b.Label, x.share.Label)
			p.add(b, g)
		}
		if x.next < len(x.share.Groups) {
			break
		}
		finished++
	}
	if len(out.Objects) > 0 {
		b.Control = record.ControlWithdraw
		if err := p.removal(b, &out); err != nil {
			return 0, err
		}
	} else if b.Count == 0 {
		return finished, nil // all of it was there already
	}
	if err := p.close(b, time.Time{}); err != nil {
		return 0, err
	}
	return finished, nil
}

// takes tells whether a block is for what is pending as well: a block is of one feed, packaged in one version.
func (p *packer) takes(b *record.Block, x *pending) bool {
	return p.hasRoom(b) && (b.Feed == "" || b.Feed == x.feed && b.Packaging == x.share.Packaging)
}

func (p *packer) hasRoom(b *record.Block) bool { return b.Count < maxObjects && len(p.raw) < maxRaw }

// post makes a block of what a member adds or changes, all of it and nothing
// else.
func (p *packer) post(b *record.Block, x *pending) error {
	b.Control, b.Label = x.post.Control, max(b.Label, x.share.Label)
	b.By, b.Labels = x.post.By, x.post.Labels
	if b.Control != "" {
		if err := p.removal(b, x.post.Removal); err != nil {
			return err
		}
	}
	for _, g := range x.share.Groups {
		p.add(b, g)
	}
	return p.close(b, x.post.Added)
}

// bundleID is the identifier of the bundle that a block is.
func bundleID(b *record.Block) string {
	return stix.DerivedID("bundle", "block", strconv.FormatUint(b.Number, 10), "collection", b.Collection)
}

// removal makes p.raw the payload of a control block.
func (p *packer) removal(b *record.Block, r *record.Removal) error {
	text, err := p.j.seal.CloseRemoval(b, r)
	p.raw = append(p.raw[:0], text...)
	return err
}

// close appends the block that p.raw holds. added is the date_added that its
// first object is to have, zero for now.
func (p *packer) close(b *record.Block, added time.Time) error {
	if b.Control == "" {
		p.raw = stix.AppendBundleClose(p.raw)
	} else {
		p.leaves.Add(p.raw)
	}
	b.Root = p.leaves.Root()
	b.Payload = p.j.enc.EncodeAll(p.raw, make([]byte, 0, len(p.raw)/6))
	b.AddedFirst = added
	if added.IsZero() {
		b.AddedFirst = p.j.now().UTC().Truncate(time.Microsecond)
	}
	if next := p.head.added.Add(time.Microsecond); b.AddedFirst.Before(next) {
		b.AddedFirst = next
	}
	// The last object's is a whole millisecond: clients that cut added_after to milliseconds read nothing again.
	if beyond := b.Added(b.Count-1).Nanosecond() % 1e6; added.IsZero() && b.Count > 0 && beyond != 0 {
		b.AddedFirst = b.AddedFirst.Add(time.Millisecond - time.Duration(beyond))
	}
	b.Intake, b.Audit, b.Register = p.j.ends.intake.get(), p.j.ends.audit.get(), p.j.register()
	p.j.seal.Close(b)
	if err := p.publish(b); err != nil {
		return err
	}
	p.head = headOf(b)
	p.j.ends.blocks.advance(record.Head{Sequence: p.head.sequence, Hash: p.head.hash})
	return nil
}

// add appends a group to the bundle: what it needs and is not there, then its
// own objects.
func (p *packer) add(b *record.Block, g *record.Group) {
	b.Starts = setBit(b.Starts, b.Count)
	for _, o := range g.Needs {
		if !p.in[o.ID] {
			p.in[o.ID] = true
			p.object(b, o)
		}
	}
	for _, o := range g.Objects {
		p.object(b, o)
	}
}

func (p *packer) object(b *record.Block, o record.Object) {
	if b.Count > 0 {
		p.raw = append(p.raw, ',')
	}
	p.raw = append(p.raw, o.Raw...)
	p.leaves.Add(o.Raw)
	if o.New && (!o.Shared || len(b.Delivered) == 1) { // no other feed ever came here
		b.New = setBit(b.New, b.Count)
	}
	b.Count++
}

// setBit sets a bit, counted from the lowest of the first byte on.
func setBit(b []byte, i int) []byte {
	for len(b) <= i/8 {
		b = append(b, 0)
	}
	b[i/8] |= 1 << (i % 8)
	return b
}

// publish appends the block after the one before it. A failure that leaves the
// outcome open is settled by looking at the log; one append is tried three times.
func (p *packer) publish(b *record.Block) error {
	p.j.packed.note(b)
	msg := &nats.Msg{Subject: blocksPrefix + p.collection, Header: b.Header(), Data: b.Payload}
	var err error
	for try := range 3 {
		// Not the packers' context: an append under way is finished when the
		// journal closes.
		ctx, cancel := context.WithTimeout(p.j.writes, 10*time.Second)
		var ack *jetstream.PubAck
		ack, err = p.j.js.PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(p.head.sequence),
			jetstream.WithMsgID(p.collection+"-"+strconv.FormatUint(b.Number, 10)+"-"+b.Hash()[:16]))
		if err == nil {
			cancel()
			b.Sequence = ack.Sequence
			return nil
		}
		cancel()
		ctx, cancel = context.WithTimeout(context.Background(), 10*time.Second)
		now, lookErr := p.j.head(ctx, p.collection)
		cancel()
		switch {
		case lookErr != nil:
			err = errors.Join(err, lookErr)
		case now.hash == b.Hash():
			b.Sequence = now.sequence
			return nil
		case now.sequence != p.head.sequence:
			return fmt.Errorf("append block %d of collection %s: %w: %w", b.Number, p.collection, exchange.ErrFenced, err)
		}
		if full := p.j.room(b.Control != ""); full != nil {
			err = errors.Join(full, err)
			break
		}
		<-time.After(time.Duration(try) * 100 * time.Millisecond)
	}
	return fmt.Errorf("append block %d of collection %s: %w: %w", b.Number, p.collection, exchange.ErrFenced, err)
}

// deliveredGroups returns up to which group of a record a share is in the chain already.
func deliveredGroups(list []record.Delivered, x *pending) int {
	i, ok := slices.BinarySearchFunc(list, x.feed, byFeed)
	switch {
	case !ok || list[i].Sequence < x.sequence:
		return 0
	case list[i].Sequence > x.sequence:
		return math.MaxInt
	}
	return list[i].Groups
}

func setDelivered(list []record.Delivered, d record.Delivered) []record.Delivered {
	i, ok := slices.BinarySearchFunc(list, d.Feed, byFeed)
	if !ok {
		return slices.Insert(list, i, d)
	}
	list[i] = d
	return list
}

func byFeed(d record.Delivered, feed string) int { return cmp.Compare(d.Feed, feed) }
