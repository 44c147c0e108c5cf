package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// backfill gives members that join, or answer for more, what is there already: for all
// versions of the register that came meanwhile at once. How far it is, and which version it is
// about to reach, is in the journal: over a restart no version is forgotten, and nothing is
// given again.
func (n *Node) backfill(ctx context.Context) error {
	p, known, err := n.Journal.Backfilled(ctx)
	if err == nil && !known { // a new exchange, or one of before there was this
		p.Done = n.inForce()
		p.Target = p.Done
		err = n.Journal.SetBackfilled(ctx, p)
	}
	for err == nil {
		if p.Done == p.Target {
			p.Target = n.inForce()
		}
		if p.Done < p.Target {
			err = n.backfillTo(ctx, p)
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
				err = n.Journal.SetBackfilled(ctx, p)
			}
			continue
		}
		select {
		case <-n.changed:
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

// backfillTo gives what the versions after one, up to another, give.
func (n *Node) backfillTo(ctx context.Context, p record.BackfillPosition) error {
	last, err := n.version(ctx, p.Done)
	if err != nil {
		return err
	}
	var members []string
	for v := p.Done + 1; v <= p.Target; v++ {
		next, err := n.version(ctx, v)
		if err != nil {
			return err
		}
		members = append(members, admission.Gained(last, next)...)
		last = next
	}
	slices.Sort(members)
	jobs := backfills(last, slices.Compact(members))
	if len(jobs) == 0 {
		return nil
	}
	if err := n.Journal.SetBackfilled(ctx, p); err != nil { // what is given now is given for this target
		return err
	}
	for _, job := range jobs {
		given, err := n.admission.Backfill(ctx, job)
		for member, hosts := range given {
			n.log.Info("back-fill is done", "feed", job.Feed, "member", member, "hosts", hosts, "register", p.Target)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// version returns a version of the register; the one before the first is empty.
func (n *Node) version(ctx context.Context, v uint64) (*exchange.Register, error) {
	if v == 0 {
		return new(exchange.Register), nil
	}
	return n.Register.At(ctx, v)
}

// backfills lists what members are to get of feeds' pasts.
func backfills(r *exchange.Register, members []string) (list []*admission.Backfill) {
	for i := range r.Feeds {
		if f := &r.Feeds[i]; f.Backfill != 0 && len(members) > 0 {
			list = append(list, &admission.Backfill{
				Feed: f.ID, Members: members, Version: r.Version, Since: time.Now().Add(-time.Duration(f.Backfill)),
			})
		}
	}
	return list
}

// inForce is the version of the register under which events are decided.
func (n *Node) inForce() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.applied.Version
}

// planBackfill counts what a change of the register would give.
func (n *Node) planBackfill(ctx context.Context, base, next *exchange.Register) (list []admission.Planned, err error) {
	jobs := backfills(next, admission.Gained(base, next))
	if len(jobs) == 0 {
		return nil, nil
	}
	n.mu.Lock()
	networks := n.networks
	n.mu.Unlock()
	rules := newRules(next, networks)
	for _, job := range jobs {
		hosts, err := n.admission.CountBackfill(ctx, job, rules)
		if err != nil {
			return nil, err
		}
		for member, count := range hosts {
			list = append(list, admission.Planned{Member: member, Feed: job.Feed, Hosts: count})
		}
	}
	slices.SortFunc(list, func(a, b admission.Planned) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Feed, b.Feed))
	})
	return list, nil
}

// newRules are everything that decides under a version of the register.
func newRules(r *exchange.Register, networks *constituency.Networks) *admission.Rules {
	return &admission.Rules{Register: r, Router: routers(r, networks), Networks: r.NetworksKey}
}
