// Package submission is members' way in: objects of STIX that they post to collections.
//
//	post.go       Add; batches, the turn of a collection, blocks
//	delete.go     Delete: versions that are taken out, and who may
//	examine.go    each object by itself: size, form, lint
//	announced.go  the label of each, beside what reports say, now or before
//	statement.go  markings that say nothing about who may read
//	visible.go    what the poster may know of objects that are there
//	revise.go     whose object it is, and which versions may follow
//	raise.go      a label that is raised takes an object out of collections that are too low
//	quarantine.go what is marked in a way that nobody here knows
package submission

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What bounds a block of what members add, and one object of it.
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
	// PostedBy returns who added the objects of a block, as Block.By has it.
	PostedBy(ctx context.Context, collection string, sequence uint64) (string, error)
	// SetStatus keeps for two days what reports have said of what comes after them.
	SetStatus(ctx context.Context, id string, text []byte) error
	Status(ctx context.Context, id string) (text []byte, found bool, err error)
	// SetQuarantined keeps what is in quarantine.
	SetQuarantined(ctx context.Context, id string, text []byte) error
	Quarantined(ctx context.Context, id string) (text []byte, found bool, err error)
	ListQuarantined(ctx context.Context) (ids []string, err error)
}

// Known is what has to be known of a collection to write to it. view.View is
// the one there is.
type Known interface {
	Wait(ctx context.Context, intake, block uint64) error
	// Has tells whether a collection has a version of an object.
	Has(collection string, v record.Version) (bool, error)
	// Versions lists the versions of an object that a collection has.
	Versions(collection, id string) ([]record.Version, error)
	// Sound reports why a collection takes nothing more.
	Sound(collection string) error
	// Standings returns what is known of an object that members have added, or a feed has made: of all
	// collections together, and of single ones.
	Standings(id string) ([]*record.Standing, error)
	// PostedIn lists the sequences of the blocks that gave a collection what it has of an object.
	PostedIn(collection, id string) ([]uint64, error)
	// Disclosing lists, in some order, the objects behind after that members have added and
	// that disclose one: stix.Head.Discloses.
	Disclosing(id, after string, limit int) ([]string, error)
}

// Poster takes in what members add to collections and delete from them.
//
// A collection has one poster at a time, and each block is in the view before
// the next is made: so what is there already is known for certain, and what was
// answered can be read.
type Poster struct {
	Log  Log
	View Known
	// Seal hides who added what.
	Seal record.Seal
	// Fatal is told of an error after which nothing more may be written.
	Fatal func(error)
	// Tell, where it is set, is told for the audit of what is withdrawn and quarantined.
	Tell func(exchange.AuditEntry)
	// Gate is Admission's, and held in the same way.
	Gate *sync.RWMutex

	mu     sync.Mutex // guards what is below
	turns  map[string]chan struct{}
	claims map[string]chan struct{} // by object; closed when it is released
}

// Outcome says what became of one object of a submission. Version is as the
// object has it; Problem is "" where the object is in the collection.
type Outcome struct {
	ID, Version string
	Problem     string
	// Already is set where the collection had this version.
	Already bool
}

// Rules are what the register says of who adds. All but Ceiling and Collection are asked of one version of it.
type Rules interface {
	// Relays tells whether who adds may add what says that it is of others: the operator.
	Relays() bool
	// Speaks tells whether the member speaks for an identity, by its STIX id; Others whether other members do, and
	// they alone; hidden ones are in Hidden, who are named to nobody.
	Speaks(identity string) bool
	Others(identity string) bool
	Hidden() []string
	// Identity is what is written into objects as their created_by_ref, where they do not say whose they
	// are; "" to leave them as they are. Sign makes the object that it is the id of, under a label.
	Identity() string
	Sign(label tlp.Level) (record.Object, error)
	// Reads tells whether the member may read a collection; Readable lists those that it may read.
	Reads(collection string) bool
	Readable() []string
	// Ceiling returns the ceiling of any collection as it is now, none of one that is no more.
	Ceiling(collection string) tlp.Level
	// Collection returns the collection while the caller may write to it. It is
	// asked anew whenever something is about to be written.
	Collection() (*exchange.Collection, error)
}

// Addition is a member's request to add objects to a collection.
type Addition struct {
	// By is who adds.
	By string
	Rules
	// SpecVersions are those of STIX that the collection takes.
	SpecVersions []string
	// Objects are JSON texts as they came.
	Objects [][]byte
}

// refuses says why an object is not taken from whoever adds it, "" where it is: because it says that it is
// somebody else's, or names a hidden member, wherever that stands.
func (a *Addition) refuses(c *candidate) string {
	if by := c.head.CreatedByRef; by != "" && !a.Relays() && !a.Speaks(by) {
		return "its created_by_ref is an identity that you do not speak for: leave it out, or have the operator add it to your identities"
	}
	if c.head.Type == "identity" && !a.Relays() && a.Others(c.head.ID) {
		return "it is the identity of another member"
	}
	if hidden := a.Hidden(); len(hidden) > 0 {
		lower := bytes.ToLower(c.raw)
		if slices.ContainsFunc(hidden, func(id string) bool { return bytes.Contains(lower, []byte(id)) }) {
			return "it names somebody who is not to be named here: leave that identity out"
		}
	}
	return ""
}

// Add checks each object alone and stores those that are good, in order. It
// returns one outcome an object, and the sequence of the last block; where it
// returns an error, what the outcomes would have said is unknown, and the same
// request can be made again.
func (p *Poster) Add(ctx context.Context, a *Addition) (outcomes []Outcome, last uint64, err error) {
	col, err := a.Collection()
	if err != nil {
		return nil, 0, err
	}
	outcomes = make([]Outcome, len(a.Objects))
	list := examineAll(a.Objects, a.SpecVersions, outcomes)
	if err := p.ignoreStatements(ctx, a, list, outcomes); err != nil {
		return nil, 0, err
	}
	for i, c := range list {
		if c != nil && outcomes[i].Problem == "" {
			outcomes[i].Problem = a.refuses(c)
		}
	}
	come, err := p.label(ctx, a, col, list)
	if err != nil {
		return nil, 0, err
	}
	for i := range list {
		if outcomes[i].Problem != "" {
			list[i] = nil
		}
	}
	for start := 0; start < len(list); {
		end, size := start, 0
		for end < len(list) && end-start < maxPostObjects && (end == start || size+len(a.Objects[end]) <= maxPostBytes) {
			size += len(a.Objects[end])
			end++
		}
		sequence, err := p.batch(ctx, a, col.ID, list[start:end], outcomes[start:end])
		if err != nil {
			return nil, 0, err
		}
		last = max(last, sequence)
		start = end
	}
	return outcomes, last, p.arrived(ctx, a, col, come, outcomes)
}

// batch decides about the candidates, which may be nil, and stores what is new of them
// as one block.
func (p *Poster) batch(ctx context.Context, a *Addition, id string, list []*candidate, outcomes []Outcome) (uint64, error) {
	var ids []string
	for _, c := range list {
		if c != nil && c.head.Modified != "" {
			ids = append(ids, c.head.ID)
		}
	}
	release, err := p.claim(ctx, ids)
	if err != nil {
		return 0, err
	}
	defer release()
	all := slices.Clone(list)
	for i, c := range list {
		if c == nil {
			continue
		}
		var refused refusal
		err := p.settle(ctx, a, id, c)
		if errors.As(err, &refused) {
			outcomes[i].Problem, list[i] = refused.Error(), nil
		} else if err != nil {
			return 0, err
		}
	}
	last, err := p.store(ctx, a, id, list, outcomes)
	if err != nil {
		return 0, err
	}
	walked := make(map[string]tlp.Level)
	for i, c := range all {
		if c == nil || c.head.Modified == "" || c.dropped {
			continue
		}
		if err := p.liftOwn(ctx, a, id, c, walked); err != nil {
			return 0, err
		}
		if c.head.Discloses() && outcomes[i].Problem == "" {
			if err := p.liftCrossed(ctx, a, id, c); err != nil {
				return 0, err
			}
		}
	}
	return last, nil
}

// settle decides about a candidate for a collection beside what is known of it.
func (p *Poster) settle(ctx context.Context, a *Addition, id string, c *candidate) error {
	s, raised, err := p.revise(ctx, a, id, c)
	c.standing = s
	// What a feed has made is raised by what is added, not by what is refused.
	if err == nil && raised && (s.By != "" || len(s.Collections) > 0 || c.label <= a.Ceiling(id)) {
		c.lifted = true
		err = p.lift(ctx, a, s, record.Withdrawn{ID: c.head.ID, Label: uint8(c.label), Version: c.version.Version})
	}
	if err == nil && c.label == tlp.Unknown {
		err = p.quarantine(ctx, a, id, c)
	}
	return err
}

// store stores what is new of the candidates, which may be nil, as one block.
func (p *Poster) store(ctx context.Context, a *Addition, id string, list []*candidate, outcomes []Outcome) (uint64, error) {
	done, err := p.turn(ctx, id)
	if err != nil {
		return 0, err
	}
	defer done()
	// Rights and ceiling may have changed since the request began.
	col, err := a.Collection()
	if err != nil {
		return 0, err
	}
	post := &record.Post{Share: record.Share{Collection: id}}
	var apart []byte
	seen, signed := make(map[record.Version]bool), false
	for i, c := range list {
		if c == nil {
			continue
		}
		if c.label > col.Ceiling {
			outcomes[i].Problem = aboveCeiling(c.label, col.Ceiling)
			continue
		}
		had := c.dropped
		if !had {
			if had, err = p.View.Has(id, c.version); err != nil {
				return 0, err
			}
		}
		if c.dropped {
			if err := p.drop(ctx, a, id, c); err != nil {
				return 0, err
			}
		}
		if had || seen[c.version] {
			outcomes[i].Already = true
			continue
		}
		seen[c.version], signed = true, signed || a.Identity() != "" && c.head.CreatedByRef == a.Identity()
		post.Share.Label = max(post.Share.Label, c.label)
		post.Share.Groups = append(post.Share.Groups, &record.Group{Objects: []record.Object{{ID: c.head.ID, Raw: c.raw}}})
		apart = appendBit(apart, len(post.Labels), c.apart)
		post.Labels = append(post.Labels, c.known)
	}
	if len(post.Share.Groups) == 0 {
		return 0, nil
	}
	if signed {
		if err := p.sign(a, post); err != nil {
			return 0, err
		}
		apart = appendBit(apart, len(post.Labels)-1, false)
	}
	post.By = p.Seal.Pseudonym(a.By, apart)
	return p.write(ctx, post)
}

// appendBit sets the bit of the object at a position, counted from the lowest of the first byte on.
func appendBit(b []byte, i int, set bool) []byte {
	for len(b) <= i/8 {
		b = append(b, 0)
	}
	if set {
		b[i/8] |= 1 << (i % 8)
	}
	return b
}

// write appends a post and returns when it can be read. The caller has the turn.
func (p *Poster) write(ctx context.Context, post *record.Post) (uint64, error) {
	if err := p.View.Sound(post.Share.Collection); err != nil {
		return 0, err
	}
	sequence, err := p.Log.Post(post)
	if err != nil {
		if !errors.Is(err, exchange.ErrClosed) && !errors.Is(err, exchange.ErrFull) {
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

// turn waits until nobody else writes to the collection, nor to the register what
// could stand against it.
func (p *Poster) turn(ctx context.Context, collection string) (done func(), err error) {
	p.mu.Lock()
	turn := p.turns[collection]
	if turn == nil {
		if p.turns == nil {
			p.turns = make(map[string]chan struct{})
		}
		turn = make(chan struct{}, 1)
		p.turns[collection] = turn
	}
	p.mu.Unlock()
	select {
	case turn <- struct{}{}:
		p.Gate.RLock()
		return func() {
			p.Gate.RUnlock()
			<-turn
		}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
