// Package submission is members' way in: objects of STIX that they post to collections.
//
//	post.go       Add: a request under the turn of its collection, block by block
//	examine.go    each object by itself: size, form, lint, definitions of TLP, time
//	marking.go    markings that are no TLP labels: what they mean, and what nobody knows
//	context.go    what reports say of the labels of what they refer to, now and before
//	label.go      the label of each: policy.Labels, with what the poster may know of what stands
//	owner.go      whose object it is, and what becomes of it: policy.Admit
//	raise.go      what a higher label takes out
//	again.go      what has a higher label and stays: it is added again, newly marked
//	orphans.go    observables that nothing refers to any more
//	delete.go     Delete, and who may
//	takeout.go    how something leaves: a control block, and whose objects stand no more
//	quarantine.go what waits for somebody to say what its marking means
//
// Of what stands, a rule is told what the poster's member may know: all of a collection that it reads, and what it has
// posted itself. So no answer tells of anything else.
package submission

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What bounds a block of what members post, and one object of it.
const (
	maxPostObjects = 500
	maxPostBytes   = 512 << 10
	maxPostObject  = 4 << 20
)

// postWait is how long the view may take to show what was written. Where it
// takes longer it has stopped.
const postWait = time.Minute

// Log is where members' objects are written, and what is to be known of them on all nodes. journal.Journal is the one
// there is.
type Log interface {
	// Post returns the sequence of the block once it is on disk.
	Post(p *record.Post) (sequence uint64, err error)
	// SetKept keeps what later requests have to know of earlier ones, and what a stop has cut short; nil drops it.
	SetKept(ctx context.Context, id string, text []byte) error
	Kept(ctx context.Context, id string) (text []byte, found bool, err error)
	// SetQuarantined keeps what is in quarantine.
	SetQuarantined(ctx context.Context, id string, text []byte) error
	Quarantined(ctx context.Context, id string) (text []byte, found bool, err error)
	ListQuarantined(ctx context.Context) (ids []string, err error)
}

// Known is what has to be known of what stands. view.View is the one there is.
type Known interface {
	Wait(ctx context.Context, intake, block uint64) error
	// Sound reports why a collection takes nothing more.
	Sound(collection string) error
	// Posted calls each with every version that members have posted of the objects, in any collection, with the
	// object's index; those of a collection in the order of their versions.
	Posted(ids []string, each func(i int, p *record.Posted) error) error
	// Referring lists versions that refer to an object in a collection: all contexts, and all that refer to an
	// observable. They may stand there no more.
	Referring(collection, id string) ([]record.Version, error)
	// Object returns a version as a collection has it, nil for none.
	Object(ctx context.Context, collection string, v record.Version) ([]byte, error)
	// Made returns the newest version of what a feed has made, nil for none, and the lowest label of what is beside it.
	Made(ctx context.Context, collection, id string) (raw []byte, beside tlp.Level, err error)
}

// Poster takes in what members post to collections and delete from them.
//
// A collection has one request at a time, and each block is in the view before
// the next is made: so what is there already is known for certain, and what was
// answered can be read.
type Poster struct {
	Log  Log
	View Known
	// Seal hides who posted what.
	Seal record.Seal
	// Fatal is told of an error after which nothing more may be written.
	Fatal func(error)
	// Tell, where it is set, is told for the audit of what is withdrawn and quarantined.
	Tell func(exchange.AuditEntry)
	// Stands, where it is set, is told of how many bytes of a member's objects more stand, or fewer.
	Stands func(member string, bytes int64)
	// Gate is Admission's, and held in the same way.
	Gate *sync.RWMutex
	// Removed returns once what control blocks of a collection up to a sequence have taken out is in the journal no more.
	Removed func(ctx context.Context, collection string, sequence uint64) error

	turns   wait.Turns
	waiting waiting
}

// Result says what became of one object of a request. Version is as the
// object has it; Problem is "" where the object is in the collection.
type Result struct {
	ID, Version string
	Problem     string
	// Already is set where the collection had this version.
	Already bool
	// Held says that it is in quarantine, and Problem why; Waits names it there while it waits for a definition.
	Held  bool
	Waits string
	// Defines says that it defines a marking, so that what waits for that can go its way (Reconsider).
	Defines bool
}

// Rules are what the register says of who posts. All but Ceiling and Collection are asked of one version of it.
type Rules interface {
	// Relays tells whether who posts may post what is others': the operator.
	Relays() bool
	// Speaks tells whether the member speaks for an identity, by its STIX id; Others whether another one does that
	// is not hidden.
	Speaks(identity string) bool
	Others(identity string) bool
	// Derived tells whether an id is one that the exchange makes.
	Derived(id string) bool
	// Marking returns what a marking that is no TLP label means, by its id: a label, or None for nothing.
	Marking(id string) (means tlp.Level, known bool)
	// Reads tells whether the member may read a collection; Readable lists those that it may read.
	Reads(collection string) bool
	Readable() []string
	// Members lists all members, the operator among them, the poster first.
	Members() []string
	// Ceiling returns the ceiling of any collection as it is now, none of one that is no more.
	Ceiling(collection string) tlp.Level
	// Collection returns the collection while the caller may write to it. It is
	// asked anew whenever something is about to be written.
	Collection() (*exchange.Collection, error)
}

// Request is what a member posts to a collection.
type Request struct {
	// By is who posts.
	By string
	Rules
	// SpecVersions are those of STIX that the collection takes.
	SpecVersions []string
	// Objects are JSON texts as they came.
	Objects [][]byte
}

// posting is a request on its way.
type posting struct {
	*Poster
	*Request
	collection string
	floor      tlp.Level
	reads      bool
	objects    []*object // nil of what could not be read
	results    []Result
	contexts   contexts
	// release is the label that the operator has given what was in quarantine; None for none.
	release tlp.Level
	// harmlessNow are the markings that the member has defined and that say nothing about who may read; nil until they
	// are asked for.
	harmlessNow map[string]bool
	last        uint64 // the sequence of the last block
	// tookOut are the collections that something was taken out of, with the sequence of the last control block.
	tookOut map[string]uint64
	// fresh are the words of what is going to be stored in the block that is being made.
	fresh map[record.Version][]byte
	// bySaid are the contexts that do not stand, by what they refer to.
	bySaid map[string][]saidBy
}

// Add stores those objects of a request that are good, in order. It returns a result for each, and the sequence of the
// last block; where it returns an error, what the results would have said is unknown, and the same request can be made
// again.
func (p *Poster) Add(ctx context.Context, r *Request) (results []Result, last uint64, err error) {
	return p.add(ctx, r, tlp.None)
}

func (p *Poster) add(ctx context.Context, r *Request, said tlp.Level) (results []Result, last uint64, err error) {
	c, err := r.Collection()
	if err != nil {
		return nil, 0, err
	}
	x := &posting{Poster: p, Request: r, collection: c.ID, floor: c.Floor, reads: r.Relays() || r.Reads(c.ID), results: make([]Result, len(r.Objects)), release: said, tookOut: make(map[string]uint64)}
	x.objects = examineAll(r.Objects, r.SpecVersions, x.results)
	if err := x.readMarkings(ctx); err != nil {
		return nil, 0, err
	}
	if err := x.inTurn(ctx); err != nil {
		return nil, 0, err
	}
	// What the request changes elsewhere follows when its own turn has ended: two turns at a time could wait for each
	// other. A request that is stopped before is made again, and does it then.
	if err := x.raiseElsewhere(ctx); err != nil {
		return nil, 0, err
	}
	for c, sequence := range x.tookOut {
		if err := x.Removed(ctx, c, sequence); err != nil {
			return nil, 0, err
		}
	}
	return x.results, x.last, nil
}

// inTurn does what needs the collection's turn.
func (x *posting) inTurn(ctx context.Context) error {
	done, err := x.turns.Take(ctx, x.collection)
	if err != nil {
		return err
	}
	defer done()
	if err := x.readContexts(ctx); err != nil {
		return err
	}
	if err := x.label(ctx); err != nil {
		return err
	}
	for start := 0; start < len(x.objects); {
		end, size := start, 0
		for end < len(x.objects) && end-start < maxPostObjects && (end == start || size+len(x.Objects[end]) <= maxPostBytes) {
			size += len(x.Objects[end])
			end++
		}
		if err := x.batch(ctx, start, end); err != nil {
			return err
		}
		start = end
	}
	if err := x.raiseHere(ctx); err != nil {
		return err
	}
	return x.keepContexts(ctx)
}

// batch decides about some objects of the request, and stores what is new of them as one block.
func (x *posting) batch(ctx context.Context, start, end int) error {
	if err := x.admit(ctx, start, end); err != nil {
		return err
	}
	x.Gate.RLock()
	defer x.Gate.RUnlock()
	// Rights and ceiling may have changed since the request began.
	c, err := x.Collection()
	if err != nil {
		return err
	}
	b := &block{Poster: x.Poster, post: record.Post{Share: record.Share{Collection: x.collection}}}
	for i := start; i < end; i++ {
		o := x.objects[i]
		if o == nil || x.results[i].Problem != "" {
			continue
		}
		if o.label > c.Ceiling && !(o.there && x.reads) { // what the poster does not read, it is told nothing of
			x.results[i].Problem = aboveCeiling(o.label, c.Ceiling)
			continue
		}
		if o.there || o.dropped {
			x.results[i].Already = true
			continue
		}
		o.stored = true
		if err := b.add(ctx, record.Object{ID: o.version.ID, Raw: o.raw, New: o.isNew}, o.label, o.own, o.head.KnownLabel()); err != nil {
			return err
		}
	}
	sequence, err := b.write(ctx, x.By)
	x.last = max(x.last, sequence)
	return err
}

// block is a block of members' objects in the making.
type block struct {
	*Poster
	post    record.Post
	defined bool // the marking of AMBER+STRICT, there or in the block
}

// add adds an object under a label, with the marking of that where its TLP says less. Its own label is more than its TLP
// where another marking means it, or the operator has said it.
func (b *block) add(ctx context.Context, o record.Object, label, own, carries tlp.Level) error {
	labels := record.PackLabels(label, own)
	if label > max(carries, tlp.Clear) {
		if err := b.define(ctx, label); err != nil {
			return err
		}
		o.Raw, labels = stix.Mark(o.Raw, label), labels|record.Marked
	}
	b.post.Share.Label = max(b.post.Share.Label, label)
	b.post.Share.Groups = append(b.post.Share.Groups, &record.Group{Objects: []record.Object{o}})
	b.post.Labels = append(b.post.Labels, labels)
	return nil
}

// define adds the definition of a label's marking where the standard has none and the collection does not have it.
func (b *block) define(ctx context.Context, label tlp.Level) error {
	if label != tlp.AmberStrict || b.defined {
		return nil
	}
	raw := label.Definition()
	v, err := versionOf(raw)
	if err != nil {
		return err
	}
	have, err := b.View.Object(ctx, b.post.Share.Collection, v)
	if err != nil {
		return err
	}
	b.defined = true
	if have != nil {
		return nil
	}
	b.post.Share.Groups = append(b.post.Share.Groups, &record.Group{Objects: []record.Object{{ID: v.ID, Raw: raw}}})
	b.post.Labels = append(b.post.Labels, 0) // the exchange's own
	return nil
}

// write appends what was added, where there is anything, by a member.
func (b *block) write(ctx context.Context, by string) (uint64, error) {
	if len(b.post.Share.Groups) == 0 {
		return 0, nil
	}
	b.post.By = b.Seal.Pseudonym(by)
	sequence, err := b.Poster.write(ctx, &b.post)
	if err == nil && b.Stands != nil {
		size := 0
		for _, g := range b.post.Share.Groups {
			for _, o := range g.Objects {
				size += len(o.Raw)
			}
		}
		b.Stands(by, int64(size))
	}
	return sequence, err
}

// write appends a post and returns when it can be read. The caller has the collection's turn.
func (p *Poster) write(ctx context.Context, post *record.Post) (uint64, error) {
	if err := p.View.Sound(post.Share.Collection); err != nil {
		return 0, err
	}
	sequence, err := p.Log.Post(post)
	if err != nil {
		if !errors.Is(err, exchange.ErrClosed) && !errors.Is(err, exchange.ErrFull) && !errors.Is(err, exchange.ErrDamaged) {
			p.Fatal(err)
		}
		return 0, err
	}
	// What is on disk must be known before the next one has its turn, even when
	// the caller has gone.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), postWait)
	defer cancel()
	if err := p.View.Wait(ctx, 0, sequence); err != nil {
		return 0, err
	}
	return sequence, p.View.Sound(post.Share.Collection)
}

// in does something in the turn of a collection.
func (p *Poster) in(ctx context.Context, collection string, f func() error) error {
	done, err := p.turns.Take(ctx, collection)
	if err != nil {
		return err
	}
	defer done()
	return f()
}

func (p *Poster) tell(e exchange.AuditEntry) {
	if p.Tell != nil {
		p.Tell(e)
	}
}

// mine tells whether a member has posted a version.
func (p *Poster) mine(v *record.Posted, member string) bool { return p.Seal.Is(v.By, member) }

// idsOf lists the ids of some objects, each once.
func idsOf(list []*object) (ids []string) {
	for _, o := range list {
		if o != nil {
			ids = append(ids, o.head.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}
