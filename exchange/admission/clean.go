package admission

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Clean takes in a member's word that hosts of a feed are clean, and returns which it took:
// those that were seen by then, and that the member was given and would be given now, and the
// sequence of the record, 0 where it made none. Nothing of what the member may not see can be told
// from the answer.
func (a *Admission) Clean(ctx context.Context, feed, member string, hosts []record.Cleaned) (taken []bool, intake uint64, err error) {
	taken, p, err := a.clean(ctx, feed, member, hosts)
	if err != nil || p == nil {
		return taken, 0, err
	}
	return taken, p.Intake, p.Wait(ctx)
}

func (a *Admission) clean(ctx context.Context, feed, member string, hosts []record.Cleaned) (taken []bool, p *Pending, err error) {
	taken = make([]bool, len(hosts))
	f, rules, leave, err := a.acquire(ctx, feed, true)
	if errors.Is(err, exchange.ErrNoFeed) && member != exchange.Admin { // which is no member's to learn
		return taken, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	past, err := a.History.Snapshot(feed)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, past.Close()) }()
	d := f.batch(rules, past, 0)
	d.histories = make(map[netip.Addr]*record.AddressHistory)
	for i, c := range hosts {
		if !c.Address.IsValid() {
			continue
		}
		h, err := d.history(c.Address)
		if err != nil {
			return nil, nil, err
		}
		if taken[i], err = d.delivered(member, &c, h); err != nil {
			return nil, nil, err
		}
		if c.Member, c.At = member, c.At.UTC().Truncate(time.Millisecond); !taken[i] || !c.At.After(h.Cleaned) {
			continue
		}
		h.Clean(c.At)
		d.in.Cleaned = append(d.in.Cleaned, c)
		d.addresses[c.Address] = false
	}
	if len(d.in.Cleaned) == 0 {
		return taken, nil, nil
	}
	d.past, d.in.Receipt.Feed = nil, feed
	p, err = f.append(ctx, d)
	return taken, p, err
}

// delivered tells whether a member was given a host that it reports clean, and still would be, at one of the locations at
// which it was last seen before.
func (d *batch) delivered(member string, c *record.Cleaned, h *record.AddressHistory) (bool, error) {
	list, err := d.past.Seen(c.Address, c.At)
	if err != nil || len(list) == 0 {
		return false, err
	}
	if member == exchange.Admin {
		return true, nil
	}
	for i := range list {
		o := &list[i]
		if o.Exposed != "" {
			continue
		}
		mine := slices.ContainsFunc(policy.Decide(d.rules.Register, o.Label, responsible(d.route, o)).Grants, func(g exchange.Grant) bool {
			return g.Collection == member && g.Allow
		})
		if mine && h.SentTo(member) < 0 {
			if mine, err = d.f.a.History.Has(member, versionOf(d.rules.Register, d.feed, o)); err != nil {
				return false, err
			}
		}
		if mine {
			return true, nil
		}
	}
	return false, nil
}
