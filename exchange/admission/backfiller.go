package admission

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Backfiller gives members that join, or are responsible for more, what is there already: for all
// versions of the register that came meanwhile at once. How far it is, and which version it is
// about to reach, is in the journal: over a restart no version is forgotten, and nothing is
// given again.
type Backfiller struct {
	*Admission
	// Register returns a version of the register.
	Register func(ctx context.Context, version uint64) (*exchange.Register, error)
	// Journal keeps how far it is. journal.Journal is the one there is.
	Journal interface {
		Backfilled(ctx context.Context) (p record.BackfillPosition, known bool, err error)
		SetBackfilled(ctx context.Context, p record.BackfillPosition) error
	}
	Logger *slog.Logger

	changed chan struct{} // tells of a register; its room is one
}

// NewBackfiller makes what back-fills through an admission.
func NewBackfiller(b Backfiller) *Backfiller {
	b.changed = make(chan struct{}, 1)
	return &b
}

// Changed tells it that there are new rules.
func (b *Backfiller) Changed() {
	select {
	case b.changed <- struct{}{}:
	default: // it is told already
	}
}

// Run back-fills until ctx ends.
func (b *Backfiller) Run(ctx context.Context) error {
	p, known, err := b.Journal.Backfilled(ctx)
	if err == nil && !known { // a new exchange
		p.Done = b.inForce()
		p.Target = p.Done
		err = b.Journal.SetBackfilled(ctx, p)
	}
	for err == nil {
		if p.Done == p.Target {
			p.Target = b.inForce()
		}
		if p.Done < p.Target {
			err = b.to(ctx, p)
			if errors.Is(err, exchange.ErrFull) { // what is done is not done again
				select {
				case <-time.After(fullWait):
					err = nil
					continue
				case <-ctx.Done():
					return nil
				}
			}
			if err == nil {
				p.Done = p.Target
				err = b.Journal.SetBackfilled(ctx, p)
			}
			continue
		}
		select {
		case <-b.changed:
		case <-ctx.Done():
			return nil
		}
	}
	if errors.Is(err, exchange.ErrClosed) {
		err = nil // it goes on at the next start
	}
	return err
}

// fullWait is after how long back-filling looks whether a full disk has room again.
const fullWait = 10 * time.Second

// inForce is the version of the register under which events are decided.
func (b *Backfiller) inForce() uint64 { return b.rules.Load().Register.Version }

// to gives what the versions after one, up to another, give.
func (b *Backfiller) to(ctx context.Context, p record.BackfillPosition) error {
	last, err := b.version(ctx, p.Done)
	if err != nil {
		return err
	}
	var members []string
	for v := p.Done + 1; v <= p.Target; v++ {
		next, err := b.version(ctx, v)
		if err != nil {
			return err
		}
		members = append(members, Gained(last, next)...)
		last = next
	}
	slices.Sort(members)
	jobs := backfills(last, slices.Compact(members))
	if len(jobs) == 0 {
		return nil
	}
	if err := b.Journal.SetBackfilled(ctx, p); err != nil { // what is given now is given for this target
		return err
	}
	for _, job := range jobs {
		given, err := b.Backfill(ctx, job)
		for member, hosts := range given {
			b.Logger.Info("back-fill is done", "feed", job.Feed, "member", member, "hosts", hosts, "register", p.Target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version returns a version of the register; the one before the first is empty.
func (b *Backfiller) version(ctx context.Context, v uint64) (*exchange.Register, error) {
	if v == 0 {
		return new(exchange.Register), nil
	}
	return b.Register(ctx, v)
}

// backfills lists what members are to get of feeds' pasts.
func backfills(r *exchange.Register, members []string) (list []*Backfill) {
	for i := range r.Feeds {
		if f := &r.Feeds[i]; f.Backfill != 0 && len(members) > 0 {
			list = append(list, &Backfill{
				Feed: f.ID, Members: members, Version: r.Version, Since: time.Now().Add(-time.Duration(f.Backfill)),
			})
		}
	}
	return list
}

// Plan counts what a change of the register would give, under the rules that it would make.
func (b *Backfiller) Plan(ctx context.Context, base *exchange.Register, next *Rules) (list []Planned, err error) {
	for _, job := range backfills(next.Register, Gained(base, next.Register)) {
		hosts, err := b.CountBackfill(ctx, job, next)
		if err != nil {
			return nil, err
		}
		for member, count := range hosts {
			list = append(list, Planned{Member: member, Feed: job.Feed, Hosts: count})
		}
	}
	slices.SortFunc(list, func(a, b Planned) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Feed, b.Feed))
	})
	return list, nil
}
