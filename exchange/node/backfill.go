package node

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
)

// backfill gives members that join, or answer for more, what is there already: for each
// version of the register in its turn. How far it is, is in the journal, so that a
// version is not forgotten over a restart; and what was given before that, not given
// again.
func (n *Node) backfill(ctx context.Context) error {
	done, known, err := n.Journal.BackfilledTo(ctx)
	if err == nil && !known { // a new exchange, or one of before there was this
		done = n.Register.Current().Version
		err = n.Journal.SetBackfilledTo(ctx, done)
	}
	for err == nil {
		if done < n.Register.Current().Version {
			if err = n.backfillVersion(ctx, done+1); err == nil {
				done++
				err = n.Journal.SetBackfilledTo(ctx, done)
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

func (n *Node) backfillVersion(ctx context.Context, version uint64) error {
	base := new(exchange.Register)
	next, err := n.Register.At(ctx, version)
	if err == nil && version > 1 {
		base, err = n.Register.At(ctx, version-1)
	}
	if err != nil {
		return err
	}
	for _, job := range n.backfills(base, next) {
		given, err := n.admission.Backfill(ctx, job)
		for member, hosts := range given {
			n.log.Info("back-fill is done", "feed", job.Feed, "member", member, "hosts", hosts, "register", version)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// backfills lists what a version of the register gives members of feeds' pasts.
func (n *Node) backfills(base, next *exchange.Register) (list []*exchange.Backfill) {
	members := exchange.Gained(base, next)
	if len(members) == 0 {
		return nil
	}
	n.mu.Lock()
	networks := n.networks
	n.mu.Unlock()
	var rules *exchange.Rules
	for i := range next.Feeds {
		f := &next.Feeds[i]
		if f.Backfill == 0 {
			continue
		}
		if rules == nil {
			rules = newRules(base, networks)
		}
		list = append(list, &exchange.Backfill{
			Feed: f.ID, Members: members, Version: next.Version, Base: rules, Since: time.Now().Add(-time.Duration(f.Backfill)),
		})
	}
	return list
}

// planBackfill counts what a change of the register would give.
func (n *Node) planBackfill(ctx context.Context, base, next *exchange.Register) (list []exchange.Planned, err error) {
	for _, job := range n.backfills(base, next) {
		n.mu.Lock()
		rules := newRules(next, n.networks)
		n.mu.Unlock()
		hosts, err := n.admission.CountBackfill(ctx, job, rules)
		if err != nil {
			return nil, err
		}
		for member, count := range hosts {
			list = append(list, exchange.Planned{Member: member, Feed: job.Feed, Hosts: count})
		}
	}
	slices.SortFunc(list, func(a, b exchange.Planned) int {
		return cmp.Or(cmp.Compare(a.Member, b.Member), cmp.Compare(a.Feed, b.Feed))
	})
	return list, nil
}

// newRules are everything that decides under a version of the register.
func newRules(r *exchange.Register, networks *constituency.Networks) *exchange.Rules {
	return &exchange.Rules{Register: r, Router: routers(r, networks), Networks: r.NetworksKey}
}
