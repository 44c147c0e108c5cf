package exchange

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// holdBack withdraws what was granted of a host, last seen then, to those who were given it
// less than a window before or after.
func holdBack(h *History, v *Decision, last time.Time, window time.Duration) (held bool) {
	for i := range v.Grants {
		g := &v.Grants[i]
		if j := h.SentTo(g.Collection); g.Allow && j >= 0 && last.Sub(h.Sent[j].Last).Abs() < window {
			g.Verdict, held = Verdict{Rule: RuleRepeat}, true
		}
	}
	return held
}

// history returns what is known of an address after all earlier records, and what this
// one has added.
func (d *draft) history(a netip.Addr) (*History, error) {
	if h := d.histories[a]; h != nil {
		return h, nil
	}
	h := new(History)
	known := false
	if d.f.addresses[a] > 0 {
		for _, r := range slices.Backward(d.f.recent) {
			if r.histories[a] != nil {
				*h, known = *r.histories[a], true
				h.Sent = slices.Clone(h.Sent)
				break
			}
		}
	}
	if !known {
		var err error
		if *h, err = d.past.History(a); err != nil {
			return nil, err
		}
	}
	d.histories[a] = h
	return h, nil
}

// repeated decides about an observation: it marks a relapse, and keeps a host back from
// those who were given it within the feed's time.
func (d *draft) repeated(day *hostDay, o *Observation, matches []Match) error {
	o.Decision = d.decision(o.Label, matches)
	if d.histories == nil {
		return nil
	}
	h, err := d.history(o.Address)
	if err != nil {
		return err
	}
	window := time.Duration(d.feed.Repeat)
	if !h.Cleaned.IsZero() && !h.Relapsed && o.Last.After(h.Cleaned) {
		o.Relapse, h.Relapsed = true, true
		window = 0 // everybody is told at once
	}
	if day.past.Known && o.Label > day.past.Observation.Label {
		window = 0 // nobody may go on with the lower label
	}
	if d.feed.Repeat == 0 {
		return nil
	}
	v := d.in.Decisions[o.Decision]
	v.Grants = slices.Clone(v.Grants)
	if holdBack(h, &v, o.Last, window) {
		o.Decision = d.keep(v)
	}
	h.Give(v.Grants, o.Last)
	return nil
}

// Clean takes in a member's word that hosts of a feed are clean, and returns which it took:
// those that were seen by then, and that the member was given and would be given now, and the
// sequence of the record, 0 where it made none. Nothing of what the member may not see can be told
// from the answer.
func (a *Admission) Clean(ctx context.Context, feed, member string, hosts []Cleaned) (taken []bool, intake uint64, err error) {
	taken, p, err := a.clean(ctx, feed, member, hosts)
	if err != nil || p == nil {
		return taken, 0, err
	}
	return taken, p.Intake, p.Wait(ctx)
}

func (a *Admission) clean(ctx context.Context, feed, member string, hosts []Cleaned) (taken []bool, p *Pending, err error) {
	taken = make([]bool, len(hosts))
	f, rules, leave, err := a.enter(ctx, feed, true)
	if errors.Is(err, ErrNoFeed) && member != Admin { // which is no member's to learn
		return taken, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	past, err := a.Sightings.Past(feed)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, past.Close()) }()
	d := f.draft(rules, past, 0)
	d.histories = make(map[netip.Addr]*History)
	for i, c := range hosts {
		if !c.Address.IsValid() {
			continue
		}
		h, err := d.history(c.Address)
		if err != nil {
			return nil, nil, err
		}
		if taken[i], err = d.has(member, &c, h); err != nil {
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

// has tells whether a member was given a host that it reports clean, and still would be, as
// the host was last seen before.
func (d *draft) has(member string, c *Cleaned, h *History) (bool, error) {
	o, known, err := d.past.Seen(c.Address, c.At)
	if err != nil || !known {
		return false, err
	}
	if member == Admin {
		return true, nil
	}
	mine := slices.ContainsFunc(d.f.a.Policy.Decide(d.rules.Register, o.Label, placed(d.route, &o)).Grants, func(g Grant) bool {
		return g.Collection == member && g.Allow
	})
	if !mine || h.SentTo(member) >= 0 {
		return mine, nil
	}
	return d.f.a.Sightings.Has(member, versionOf(d.feed, &o))
}

// version is that of the objects that an observation is packaged as.
func versionOf(f *Feed, o *Observation) Version {
	return Version{ID: f.ObjectID(f.HostObject(), o.HostDay), SpecVersion: "2.1", Version: o.Modified}
}
