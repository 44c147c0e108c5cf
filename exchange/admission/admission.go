// Package admission is publishers' way in. The life of an event reads in five files:
//
//	admission.go  Admit: a chunk waits for its turn; one feed has one writer
//	decide.go     each event is routed and held against its label, and joins its host's day (hostday.go)
//	suppress.go   a host that a team was given a while ago is suppressed for it
//	append.go     the chunk becomes one intake record, durable from there
//	deliver.go    the record's objects go into the blocks of each collection
//
// A receipt is answered when all blocks are on disk. A crash in between is finished at the next
// start: Recover opens each feed (open, in append.go), which delivers what intake has and the collections have not.
//
// On the way it asks constituency who is responsible and policy who may have it, and calls back three times: History
// (the view) for what is known of hosts, Log (the journal) to write, and Packagers (packaging) for a record's objects;
// the journal calls done when a collection has its share.
//
// Where a host's label is raised, withdraw.go takes it out of the collections that may not have it any more.
//
// Beside it: back-fill gives members who join what is there already, Clean takes in what members
// report clean, Explain says what would become of an event and what has.
package admission

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MaxEvents and MaxText bound one intake record: its events, and the bytes of
// their texts. A record has to fit one message of the journal, 8 MB: an event
// takes at most 100 bytes beside its texts, and an observation, which keeps
// texts of earlier records too, some 2.7 KB with its contacts and places.
const (
	MaxEvents = 2000
	MaxText   = 256 << 10
)

// History is what admission has to know of the past. view.View is the one
// there is; every answer includes all intake up to Applied.
type History interface {
	// Applied is the sequence of the last intake record that is in.
	Applied() uint64
	// Wait returns once the record of a sequence is in, and a block of another.
	Wait(ctx context.Context, intake, block uint64) error
	// Snapshot looks back at what is known of a feed's hosts; the caller closes it.
	Snapshot(feed string) (record.Snapshot, error)
	// Introduced tells when a topic was last introduced into a collection.
	Introduced(feed string, x record.Introduction) (time.Time, bool, error)
	// Has tells whether a collection has a version of an object.
	Has(collection string, v record.Version) (bool, error)
	// HostRecords lists the records that have events of a host's day, as many as are kept with it; Intake returns one.
	HostRecords(feed string, of exchange.HostDay) ([]uint64, error)
	Intake(sequence uint64) (*record.Intake, error)
	// IntakeByKey returns the record that an idempotency key made.
	IntakeByKey(feed, key string) (in *record.Intake, sequence uint64, found bool, err error)
}

// Log is where admission writes. journal.Journal is the one there is.
type Log interface {
	// LastIntake returns the end of a feed's records, and the number of the last.
	LastIntake(ctx context.Context, feed string) (end record.Head, number uint64, err error)
	// Heads are the ends of the collections' blocks and of the audit as far as they are known here.
	Heads() (blocks, audit record.Head)
	AppendIntake(ctx context.Context, feed string, record []byte, after uint64) (record.Head, error)
	Deliver(share record.Share, feed string, sequence uint64, done func(last uint64, err error))
	DeliveredTo(ctx context.Context, feed string) (uint64, error)
	SetDeliveredTo(ctx context.Context, feed string, sequence uint64) error
	// EachIntake calls each with the decoded records of a feed after a sequence.
	EachIntake(ctx context.Context, feed string, after uint64, each func(in *record.Intake, sequence uint64) error) error
}

// Rules are everything that decides, in one version; they are swapped as a whole.
type Rules struct {
	Register *exchange.Register
	// Router returns the table that routes a feed of the register.
	Router func(f *exchange.Feed) exchange.Tables
	// Networks names the version of the networks table.
	Networks string
}

// Admission takes publishers' chunks in: it decides about every event, writes
// the intake record, and delivers it to the collections. For each feed there is
// one writer at a time; that this process is the only one is enforced by
// the log, which refuses an append that does not follow the last.
//
// After an error that leaves the log's state unknown it takes nothing more and
// calls Fatal: the node stops, and its next start recovers.
type Admission struct {
	Log       Log
	History   History
	Packagers *Packagers
	// Fatal is told of the error after which nothing more is taken.
	Fatal func(error)
	// Gate is held for reading from when the rules are looked at until what they
	// decided is in the log. Who holds it for writing, and has waited for Flush,
	// knows that nothing is on its way under older rules.
	Gate *sync.RWMutex
	// Tell, where it is set, is told for the audit of what is withheld and withdrawn.
	Tell func(exchange.AuditEntry)
	// Removed returns once what control blocks of a collection up to a sequence have taken out is in the journal no more.
	Removed func(ctx context.Context, collection string, sequence uint64) error

	// Now is the time; nil for the machine's.
	Now func() time.Time

	rules  atomic.Pointer[Rules]
	mu     sync.Mutex
	feeds  map[string]*feedWriter
	closed bool
}

func (a *Admission) now() time.Time {
	if a.Now == nil {
		return time.Now()
	}
	return a.Now()
}

// SetRules puts a version of the rules in force, for every chunk that comes
// after.
func (a *Admission) SetRules(r *Rules) { a.rules.Store(r) }

// Chunk is what a publisher sends at a time: events of one feed, and the receipt so far, with the
// rows that were rejected before they became events.
type Chunk struct {
	Feed string
	// Key makes the chunk safe to repeat; "" where the publisher gave none.
	Key  string
	Hash [32]byte
	// Label is that of the submission, for rows without their own.
	Label   tlp.Level
	Events  []exchange.Event
	Receipt exchange.Receipt
	// Recall takes the events back, for the reason that it is; "" for not at all.
	Recall string
	// DryRun asks for the receipt and writes nothing. What an earlier chunk of
	// the same dry run has is not known to it.
	DryRun bool
}

// Pending is a chunk that is durable and on its way into the collections.
type Pending struct {
	// Receipt is good once Wait has returned without error.
	Receipt exchange.Receipt
	// Replayed is set where the key was known and the answer is the first one.
	Replayed bool
	// Intake is the sequence of the record, 0 where the chunk made none; Blocks
	// that of the last block it is in, once Wait has returned.
	Intake, Blocks uint64

	done chan struct{}
	late error // what is yet to be done, when all is in blocks
	err  error
}

// Wait returns once every block of the chunk is acknowledged.
func (p *Pending) Wait(ctx context.Context) error {
	select {
	case <-p.done:
		return p.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answered is a chunk that made no record: there is nothing to wait for.
func answered(r exchange.Receipt) *Pending {
	p := &Pending{Receipt: r, done: make(chan struct{})}
	close(p.done)
	return p
}

// feed returns the writer of a feed, and brings in first what a crash has left
// between intake and blocks.
func (a *Admission) feed(ctx context.Context, id string) (*feedWriter, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.feeds[id]; f != nil {
		return f, nil
	}
	if a.closed {
		return nil, exchange.ErrClosed
	}
	f, err := a.open(ctx, id)
	if err != nil {
		return nil, err
	}
	if a.feeds == nil {
		a.feeds = make(map[string]*feedWriter)
	}
	a.feeds[id] = f
	return f, nil
}

// Close stops taking chunks and waits until those under way are delivered or have
// failed.
func (a *Admission) Close(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	var errs []error
	for _, f := range a.feeds {
		errs = append(errs, f.close(ctx))
	}
	return errors.Join(errs...)
}

// acquire waits for the turn to write to a feed, with the rules that are in force then; where
// the history has to have everything, for that as well.
func (a *Admission) acquire(ctx context.Context, feed string, everything bool) (f *feedWriter, rules *Rules, leave func(), err error) {
	missing := fmt.Errorf("%w: %.60q", exchange.ErrNoFeed, feed)
	if r := a.rules.Load(); r == nil || r.Register.Feed(feed) == nil {
		return nil, nil, nil, missing
	}
	if f, err = a.feed(ctx, feed); err != nil {
		return nil, nil, nil, err
	}
	if err := f.lock(ctx); err != nil {
		return nil, nil, nil, err
	}
	err = f.prune(ctx)
	if err == nil && everything {
		err = a.History.Wait(ctx, f.last.Sequence, 0)
	}
	if err != nil {
		f.unlock()
		return nil, nil, nil, err
	}
	a.Gate.RLock()
	leave = func() {
		a.Gate.RUnlock()
		f.unlock()
	}
	// Only now: while it waited the register may have changed.
	if rules = a.rules.Load(); rules.Register.Feed(feed) == nil {
		leave()
		return nil, nil, nil, missing
	}
	return f, rules, leave, nil
}

// Admit decides about a chunk and makes it durable. What it returns is still to
// be waited for. Chunks of a feed are taken in the order of the calls.
func (a *Admission) Admit(ctx context.Context, s *Chunk) (*Pending, error) {
	f, rules, leave, err := a.acquire(ctx, s.Feed, false)
	if err != nil {
		return nil, err
	}
	defer leave()
	if p, err := f.replay(s); p != nil || err != nil {
		return p, err
	}
	d, err := f.decide(rules, s)
	if err != nil {
		return nil, err
	}
	if len(d.in.Events)+len(d.in.Observations)+len(d.in.Recalled) == 0 || s.DryRun {
		return answered(d.in.Receipt), nil
	}
	return f.append(ctx, d)
}
