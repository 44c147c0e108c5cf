package exchange

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// RuleRepeat keeps a host back from a collection that was given it a while ago.
const RuleRepeat = "repeat"

// Sent says up to which sighting of an address a collection was given it.
type Sent struct {
	Collection string
	Last       time.Time
}

// Cleaned is a member's word that a host is clean: what is seen of it after At is a
// relapse.
type Cleaned struct {
	Address netip.Addr `json:"address"`
	Member  string     `json:"-"`
	At      time.Time  `json:"at"`
}

// Trail is what is known of an address besides a day: the last observation of an
// earlier one, and when the host was last reported clean. Known says that there is one.
type Trail struct {
	Earlier Observation
	Known   bool
	Cleaned time.Time
}

// lookBack is how many days before a host's day its trail is looked for in records that
// Sightings may lack.
const lookBack = 32

// MaxRepeat is the longest time that repeats are held back.
const MaxRepeat = Window(30 * 24 * time.Hour)

// trail completes what Sightings knows of an address by what is in records that it
// may lack, and in this one, of which the earlier days are settled.
func (d *draft) trail(of HostDay, repeats bool) (Trail, error) {
	t, err := d.past.Trail(of, repeats)
	if err != nil {
		return t, err
	}
	var drafts []*draft
	if d.f.addresses[of.Address] > 0 {
		for _, r := range d.f.recent {
			drafts = append(drafts, r.draft)
			for _, c := range r.in.Cleaned {
				if c.Address == of.Address && c.At.After(t.Cleaned) {
					t.Cleaned = c.At
				}
			}
		}
	}
	if !repeats && t.Cleaned.IsZero() {
		return Trail{}, nil
	}
	for _, from := range append(drafts, d) {
		for day := of.Day - 1; day >= of.Day-lookBack && (!t.Known || day >= t.Earlier.Day); day-- {
			if i, ok := from.hosts[HostDay{of.Address, day}]; ok && from.days[i].observation >= 0 {
				t.Earlier, t.Known = from.in.Observations[from.days[i].observation], true
				break
			}
		}
	}
	return t, nil
}

// repeated marks an observation that is a relapse, and keeps it back from those who were
// given the host within the feed's time: it returns what is decided then.
func (d *draft) repeated(day *hostDay, o *Observation, matches []Match) (v Decision, held bool, err error) {
	t, err := d.trail(o.HostDay, d.feed.Repeat > 0)
	if err != nil {
		return v, false, err
	}
	if !t.Cleaned.IsZero() && o.Last.After(t.Cleaned) && (!t.Known || !t.Earlier.Last.After(t.Cleaned)) {
		o.Relapse = true
	}
	window := time.Duration(d.feed.Repeat)
	if window == 0 {
		o.Sent = nil
		return v, false, nil
	}
	before := t.Earlier.Sent
	if day.past.Known {
		before = day.past.Observation.Sent
	}
	v = d.f.a.Policy.Decide(d.rules.Register, o.Label, matches)
	if day.past.Known && o.Label > day.past.Observation.Label {
		window = 0 // nobody may go on with the lower label
	}
	o.Sent, held = v.holdBack(before, t.Cleaned, o.Last, window)
	return v, held, nil
}

// holdBack withdraws what was granted of a host, last seen then, to those who were given it
// less than a window before, and since it was last reported clean. It returns who was given
// the host when, afterwards.
func (v *Decision) holdBack(before []Sent, cleaned, last time.Time, window time.Duration) (after []Sent, held bool) {
	for i := range v.Grants {
		g := &v.Grants[i]
		if !g.Allow {
			continue
		}
		s := Sent{g.Collection, last}
		if j := slices.IndexFunc(before, func(s Sent) bool { return s.Collection == g.Collection }); j >= 0 {
			if last.Sub(before[j].Last) < window && before[j].Last.After(cleaned) {
				g.Verdict, held, s = Verdict{Rule: RuleRepeat}, true, before[j]
			} else if before[j].Last.After(last) {
				s = before[j]
			}
		}
		after = append(after, s)
	}
	return after, held
}

// Clean takes in a member's word that hosts of a feed are clean. Each is one that the
// member would be given now, and was seen; what is wrong with others is a problem, with its number
// from 1 as line. Nothing of what the member may not see can be told from the answer.
func (a *Admission) Clean(ctx context.Context, feed, member string, hosts []Cleaned) (problems []Problem, err error) {
	f, rules, leave, err := a.enter(ctx, feed)
	if errors.Is(err, ErrNoFeed) && member != Admin { // which is no member's to learn
		for i := range hosts {
			problems = append(problems, notYours(i, &hosts[i]))
		}
		return problems, nil
	}
	if err != nil {
		return nil, err
	}
	defer leave()
	past, err := a.Sightings.Past(feed)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, past.Close()) }()
	d := f.draft(rules, past, 0)
	named := make(map[netip.Addr]bool)
	for i, h := range hosts {
		mine, err := d.answersFor(member, &h)
		if err != nil {
			return nil, err
		}
		switch {
		case named[h.Address]:
			problems = append(problems, Problem{Line: i + 1, Column: "address", Reason: h.Address.String() + " is there twice"})
		case h.At.After(d.in.At.Add(time.Minute)):
			problems = append(problems, Problem{Line: i + 1, Column: "at", Reason: h.At.Format(time.RFC3339) + " is in the future"})
		case !mine:
			problems = append(problems, notYours(i, &h))
		default:
			h.Member, h.At = member, h.At.UTC().Truncate(time.Millisecond)
			d.in.Cleaned = append(d.in.Cleaned, h)
			d.addresses[h.Address], named[h.Address] = false, true
		}
	}
	if len(d.in.Cleaned) == 0 {
		return problems, nil
	}
	d.past, d.in.Receipt.Feed = nil, feed
	p, err := f.append(ctx, d)
	if err == nil {
		err = p.Wait(ctx)
	}
	return problems, err
}

func notYours(i int, h *Cleaned) Problem {
	return Problem{Line: i + 1, Column: "address", Reason: h.Address.String() + " was not seen by then, or is not yours"}
}

// answersFor tells whether a member would be given a host where it was last seen before
// it was clean.
func (d *draft) answersFor(member string, h *Cleaned) (bool, error) {
	t, err := d.trail(HostDay{h.Address, DayOf(h.At) + 1}, true)
	o := &t.Earlier
	if err != nil || !t.Known || o.First.After(h.At) {
		return false, err
	}
	return member == Admin || slices.ContainsFunc(d.f.a.Policy.Decide(d.rules.Register, o.Label, placed(d.route, o)).Grants, func(g Grant) bool {
		return g.Collection == member && g.Allow
	}), nil
}
