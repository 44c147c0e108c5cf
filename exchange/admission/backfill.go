package admission

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Gained lists the members that a version of the register gives a key that they did not
// have in the one before.
func Gained(base, next *exchange.Register) (list []string) {
	for i := range next.Members {
		m := &next.Members[i]
		had := make(map[exchange.Key]bool)
		if old := base.Member(m.ID); old != nil && old.Kind == m.Kind {
			for k := range old.Constituency.Keys() {
				had[k] = true
			}
		}
		for k := range m.Constituency.Keys() {
			if !had[k] {
				list = append(list, m.ID)
				break
			}
		}
	}
	return list
}

// Backfill is what members are to get of a feed's past because they are responsible for more of
// it: hosts that were seen since an instant, were decided before a version of the register, and
// that they do not have.
type Backfill struct {
	Feed    string
	Members []string
	Version uint64
	Since   time.Time
}

// Planned is how many hosts of a feed's past a change of the register gives a member.
type Planned struct {
	Member string `json:"member"`
	Feed   string `json:"feed"`
	Hosts  int64  `json:"hosts"`
}

// errBehind ends the walk over records at those that the version itself decided.
var errBehind = errors.New("decided under the new register")

// Backfill does it, record by record between what is published meanwhile, and
// returns how many hosts it was for each member. What was done before, in a run that did
// not end, is not done again.
func (a *Admission) Backfill(ctx context.Context, job *Backfill) (map[string]int64, error) {
	f, err := a.feed(ctx, job.Feed)
	if err != nil {
		return nil, err
	}
	// Whoever has the turn may decide under older rules; then all do under these, and what
	// was decided before is in the log.
	if err := f.lock(ctx); err != nil {
		return nil, err
	}
	f.unlock()
	if rules := a.rules.Load(); rules.Register.Version < job.Version {
		return nil, fmt.Errorf("back-fill of register %d: %d is in force", job.Version, rules.Register.Version)
	}
	total := make(map[string]int64)
	var last *Pending
	err = a.Log.EachIntake(ctx, job.Feed, 0, func(old *record.Intake, sequence uint64) error {
		if old.Register >= job.Version {
			return errBehind
		}
		p, given, err := f.backfill(ctx, job, old, sequence)
		if p != nil {
			last = p
		}
		add(total, given)
		return err
	})
	if errors.Is(err, errBehind) {
		err = nil
	}
	if err == nil && last != nil {
		err = last.Wait(ctx)
	}
	if err == nil && last != nil { // the next one looks who has what
		err = a.History.Wait(ctx, last.Intake, last.Blocks)
	}
	return total, err
}

// CountBackfill says how many hosts it would be for each member, under rules that are
// not in force yet.
func (a *Admission) CountBackfill(ctx context.Context, job *Backfill, rules *Rules) (map[string]int64, error) {
	f, err := a.feed(ctx, job.Feed)
	if err != nil {
		return nil, err
	}
	total := make(map[string]int64)
	err = a.Log.EachIntake(ctx, job.Feed, 0, func(old *record.Intake, _ uint64) error {
		if old.Backfill {
			return nil
		}
		if err := f.lock(ctx); err != nil {
			return err
		}
		defer f.unlock()
		d, err := f.entitled(rules, job, old)
		if err == nil {
			add(total, d.hostsByMember())
		}
		return err
	})
	return total, err
}

func add(total, more map[string]int64) {
	for m, n := range more {
		total[m] += n
	}
}

// backfill gives what a record tells of hosts to those who gained.
func (f *feedWriter) backfill(ctx context.Context, job *Backfill, old *record.Intake, sequence uint64) (*Pending, map[string]int64, error) {
	if old.Backfill {
		return nil, nil, nil // what it repeats is in another record
	}
	if err := f.slack(ctx); err != nil {
		return nil, nil, err
	}
	_, rules, leave, err := f.a.acquire(ctx, f.feed, false)
	if errors.Is(err, exchange.ErrNoFeed) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer leave()
	// No publisher's key has a space in it.
	key := fmt.Sprintf("backfill %d %d", job.Version, sequence)
	hash := sha256.Sum256([]byte(key))
	if p, err := f.replay(&Chunk{Feed: f.feed, Key: key, Hash: hash}); p != nil || err != nil {
		return p, nil, err
	}
	d, err := f.entitled(rules, job, old)
	if err != nil || len(d.in.Observations) == 0 {
		return nil, nil, err
	}
	d.in.Key, d.in.Hash = key, hash
	if err := d.introduce(); err != nil {
		return nil, nil, err
	}
	p, err := f.append(ctx, d)
	return p, d.hostsByMember(), err
}

// patience is how long a record's back-filling makes way for what is published.
const patience = time.Second

// slack waits until little of what is published is on its way, or patience ends.
func (f *feedWriter) slack(ctx context.Context) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); len(f.slots) > 0 && time.Now().Before(end); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// entitled makes the record that gives what an earlier one tells of hosts to those who
// gained. The caller holds the turn.
func (f *feedWriter) entitled(rules *Rules, job *Backfill, old *record.Intake) (d *batch, err error) {
	past, err := f.a.History.Snapshot(f.feed)
	if err != nil {
		return nil, err
	}
	d = f.batch(rules, past, len(old.Observations))
	d.in.Backfill = true
	defer func() {
		d.past = nil
		err = errors.Join(err, past.Close())
	}()
	for i := range old.Observations {
		o := &old.Observations[i]
		if o.Last.Before(job.Since) || policy.Refused(o.Address, rules.Register, d.feed) != "" {
			continue
		}
		day, err := d.day(o.HostDay)
		if err != nil {
			return d, err
		}
		l := day.find(o.ObservationKey)
		if l == nil || l.past == nil || !l.past.Modified.Equal(o.Modified) || l.observation >= 0 {
			continue // another record has the host's day as it is now
		}
		now := *l.past
		// What the record gave may be on its way; what back-filling gave before is there.
		had := old.Decisions[o.Decision].Grants
		version := versionOf(rules.Register, d.feed, &now)
		v := exchange.Decision{Label: now.Label}
		for _, g := range policy.Decide(rules.Register, now.Label, responsible(d.route, &now)).Grants {
			if !g.Allow || !slices.Contains(job.Members, g.Collection) || slices.ContainsFunc(had, func(h exchange.Grant) bool {
				return h.Collection == g.Collection && (h.Allow || h.Rule == exchange.RuleRepeat)
			}) {
				continue
			}
			there, err := f.a.History.Has(g.Collection, version)
			if err != nil {
				return d, err
			}
			if !there {
				v.Grants = append(v.Grants, g)
			}
		}
		if len(v.Grants) == 0 {
			continue
		}
		now.New, now.NewAddress = false, false
		now.Decision = d.keep(v)
		if d.feed.Repeat > 0 && o.Exposed == "" {
			h, err := d.history(o.Address)
			if err != nil {
				return d, err
			}
			h.Deliver(v.Grants, now.Last)
		}
		l.observation = len(d.in.Observations)
		d.in.Observations = append(d.in.Observations, now)
	}
	return d, nil
}

// hostsByMember counts the batch's hosts by who is given them.
func (d *batch) hostsByMember() map[string]int64 {
	total := make(map[string]int64)
	for i := range d.in.Observations {
		for _, g := range d.in.Decisions[d.in.Observations[i].Decision].Grants {
			total[g.Collection]++
		}
	}
	return total
}
