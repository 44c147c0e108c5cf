package admission

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// batch is an intake record in the making.
type batch struct {
	f     *feedWriter
	rules *Rules
	route exchange.Router
	feed  *exchange.Feed
	in    *record.Intake

	seen      map[exchange.EventID]bool // the record's events: whether a collection took it
	recalled  map[exchange.EventID]bool // those that it takes back
	intakes   map[uint64]*record.Intake // records of before, for recalls
	decisions map[string]int            // by what they were made of
	past      record.Snapshot
	hosts     map[exchange.HostDay]*hostDay
	histories map[netip.Addr]*record.AddressHistory // nil on feeds that have none
	order     []*located                            // those with an observation, in its order
	days      []hostDay                             // what hosts points to, some at a time
	located   []located                             // and what those do
	addresses map[netip.Addr]bool                   // of the events: whether collections have them now
	called    map[netip.Addr]bool                   // by hosts that collections have now
	key       []byte
}

// decide makes the intake record of a chunk: which events are new, who gets
// each, under which rule, and what is known of each host afterwards.
func (f *feedWriter) decide(rules *Rules, s *Chunk) (d *batch, err error) {
	past, err := f.a.History.Snapshot(f.feed)
	if err != nil {
		return nil, err
	}
	d = f.batch(rules, past, len(s.Events))
	d.in.Key, d.in.Hash, d.in.Receipt = s.Key, s.Hash, s.Receipt
	defer func() { // the batch is kept for a while
		d.past = nil
		err = errors.Join(err, past.Close())
	}()
	d.in.Receipt.Feed = s.Feed
	if d.in.Receipt.Collections == nil {
		d.in.Receipt.Collections = make(map[string]int64)
	}
	if err := d.lookUp(s.Events); err != nil {
		return d, err
	}
	d.in.Reason = s.Recall
	for i := range s.Events {
		if s.Recall != "" {
			err = d.recall(&s.Events[i])
		} else {
			err = d.event(&s.Events[i], s.Label)
		}
		if err != nil {
			return d, err
		}
	}
	if s.Recall != "" {
		for _, l := range d.order {
			if err := d.finishRecall(l); err != nil {
				return d, err
			}
		}
		return d, nil
	}
	order := d.order
	if d.histories != nil {
		// A host's earlier days first: they are part of its history.
		order = slices.Clone(order)
		slices.SortStableFunc(order, func(a, b *located) int { return cmp.Compare(a.Day, b.Day) })
	}
	for _, l := range order {
		if err := d.finish(l); err != nil {
			return d, err
		}
	}
	d.count()
	return d, d.introduce()
}

// batch begins a record of some n events or observations.
func (f *feedWriter) batch(rules *Rules, past record.Snapshot, n int) *batch {
	feed := rules.Register.Feed(f.feed)
	d := &batch{
		past: past, f: f, rules: rules, feed: feed, route: rules.Router(feed),
		in: &record.Intake{
			Feed: f.feed, Repeats: feed.Repeat > 0, At: f.a.now().UTC().Truncate(time.Microsecond),
			Register: rules.Register.Version, RegisterHash: rules.Register.Hash, Networks: rules.Networks, Packaging: f.a.Packagers.Version,
			Events: make([]record.Accepted, 0, n), Observations: make([]record.Observation, 0, n),
		},
		recalled: make(map[exchange.EventID]bool), seen: make(map[exchange.EventID]bool, n), decisions: make(map[string]int),
		hosts: make(map[exchange.HostDay]*hostDay, n), addresses: make(map[netip.Addr]bool, n), called: make(map[netip.Addr]bool),
	}
	if feed.Repeat > 0 || past.Histories() || slices.ContainsFunc(f.recent, func(r *recent) bool { return r.histories != nil }) {
		d.histories = make(map[netip.Addr]*record.AddressHistory)
	}
	return d
}

// event decides about one event and merges it into its host's day.
func (d *batch) event(e *exchange.Event, submission tlp.Level) error {
	r := &d.in.Receipt
	if why := policy.RefusedEvent(e, d.rules.Register, d.feed); why != "" {
		r.Rejected++
		r.AddProblem(exchange.Problem{Line: e.Line, Column: "ip", Reason: e.Address.String() + " " + why})
		return nil
	}
	if e.Floor != tlp.None {
		e.Label = max(e.Floor, policy.Effective(e.Label, submission, d.feed.DefaultTLP))
		e.Floor = tlp.None
	}
	id := e.ID()
	day, err := d.day(exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)})
	if err != nil {
		return err
	}
	known, delivered, err := d.known(id, day)
	if err != nil {
		return err
	}
	label := policy.Effective(e.Label, submission, d.feed.DefaultTLP)
	if !delivered {
		if delivered, err = d.knownOtherwise(*e, day); err != nil {
			return err
		}
	}
	if delivered {
		r.Duplicates++
		if d.raise(day, e, label) {
			r.Raised++
		}
		return nil
	}
	location, differ := d.route.Locate(e)
	if differ {
		r.Disagreements++
	}
	matches := d.route.Route(e.Address, location, e.Hostname)
	got := record.Accepted{Event: *e, Location: location, Decision: d.decision(label, matches), Observation: -1}
	allowed := d.in.Decisions[got.Decision].Allowed()
	if known && !allowed {
		r.Duplicates++ // withheld before, and so it is now
		return nil
	}
	r.Events++
	d.seen[id] = allowed
	if allowed {
		l := d.observed(day, location, e.Exposed, d.in.Decisions[got.Decision])
		d.change(day, l)
		if e.Dst.IsValid() {
			d.called[e.Dst] = true
		}
		got.Observation = l.observation
		d.in.Observations[l.observation].Merge(e, label, location.Evidence)
	}
	d.in.Events = append(d.in.Events, got)
	return nil
}

// change puts an observation into the record, which changes it.
func (d *batch) change(day *hostDay, l *located) *record.Observation {
	if l.observation < 0 {
		l.observation = len(d.in.Observations)
		d.order = append(d.order, l)
		d.in.Observations = append(d.in.Observations, record.Observation{})
		o := &d.in.Observations[l.observation]
		if l.past != nil {
			*o = *l.past
		}
		o.ObservationKey, o.NewAddress = l.ObservationKey, !day.address && !d.addresses[l.Address]
		d.addresses[l.Address] = true
	}
	return &d.in.Observations[l.observation]
}

// raise gives the observation that an event is part of the label with which the event came again, where that is higher
// than it has: the version with the lower label leaves those who may not have this one.
func (d *batch) raise(day *hostDay, e *exchange.Event, label tlp.Level) bool {
	location, _ := d.route.Locate(e)
	of := day.of.At(location)
	of.Exposed = e.Exposed
	there := day.find(of) // nil where the networks table has changed since, or nobody knows where it was
	raised := false
	for _, l := range day.at {
		if l.Exposed != e.Exposed || there != nil && l != there {
			continue
		}
		o := d.current(l)
		if o == nil || o.Label >= label || e.Observed.Before(o.First) || e.Observed.After(o.Last) {
			continue
		}
		d.change(day, l).Label = label
		raised = true
	}
	return raised
}

// knownOtherwise reports whether the event was delivered under another label of its own.
func (d *batch) knownOtherwise(e exchange.Event, day *hostDay) (delivered bool, err error) {
	own := e.Label
	if own == tlp.None || len(day.at) == 0 {
		return false, nil
	}
	for e.Label = tlp.None; e.Label <= tlp.Red && !delivered && err == nil; e.Label++ {
		if e.Label != own {
			_, delivered, err = d.known(e.ID(), day)
		}
	}
	return delivered, err
}

// known reports whether the event is in this record or an earlier one already,
// and whether any collection took it. One that none took may come again, with
// another label.
func (d *batch) known(id exchange.EventID, day *hostDay) (known, delivered bool, err error) {
	if delivered, known := d.seen[id]; known {
		return true, delivered, nil
	}
	if d.f.addresses[day.of.Address] > 0 {
		for _, r := range slices.Backward(d.f.recent) {
			if r.recalled[id] {
				return false, false, nil
			}
			if delivered, known := r.seen[id]; known {
				return true, delivered, nil
			}
		}
	}
	if slices.Contains(day.events, id) {
		return true, true, nil
	}
	return d.past.Event(id)
}

// lookUp finds out what is known of the hosts of events that are not refused, in the order in which the history keeps
// them: that is much faster than in the order of the rows.
func (d *batch) lookUp(events []exchange.Event) error {
	list := make([]exchange.HostDay, 0, len(events))
	for i := range events {
		if e := &events[i]; policy.RefusedEvent(e, d.rules.Register, d.feed) == "" {
			list = append(list, exchange.HostDay{Address: e.Address, Day: exchange.DayOf(e.Observed)})
		}
	}
	slices.SortFunc(list, exchange.HostDay.Compare)
	for _, of := range slices.Compact(list) {
		if _, err := d.day(of); err != nil {
			return err
		}
	}
	return nil
}

// finish gives an observation its version and its decision, once all events of
// the chunk are merged.
func (d *batch) finish(l *located) error {
	o := &d.in.Observations[l.observation]
	o.Modified, o.New = o.Last, l.past == nil
	o.NewAddress = o.NewAddress && !d.called[o.Address]
	if l.past != nil && !o.Modified.After(l.past.Modified) {
		o.Modified = l.past.Modified.Add(time.Millisecond)
	}
	if o.Packaging = d.in.Packaging; o.New {
		o.FirstPackaging = o.Packaging
	}
	matches := responsible(d.route, o)
	o.Decision = d.decision(o.Label, matches) // which counts, not what was decided of each event
	if err := d.suppress(l, o); err != nil {
		return err
	}
	return d.withdraw(l, o, matches)
}

// decision returns the index of the decision for a label and matches.
func (d *batch) decision(label tlp.Level, matches []exchange.Match) int {
	d.key = append(d.key[:0], byte(label))
	for _, m := range matches {
		d.key = append(append(d.key, m.Member...), 0)
		d.key = append(append(d.key, m.Key.Kind...), 0)
		d.key = append(append(d.key, m.Key.Value...), 0)
	}
	if i, ok := d.decisions[string(d.key)]; ok {
		return i
	}
	v := policy.Decide(d.rules.Register, label, matches)
	i := len(d.in.Decisions)
	d.in.Decisions = append(d.in.Decisions, v)
	d.decisions[string(d.key)] = i
	return i
}

// keep returns the index of a decision, which is in the record once.
func (d *batch) keep(v exchange.Decision) int {
	i := slices.IndexFunc(d.in.Decisions, func(have exchange.Decision) bool { return have.Label == v.Label && slices.Equal(have.Grants, v.Grants) })
	if i < 0 {
		i = len(d.in.Decisions)
		d.in.Decisions = append(d.in.Decisions, v)
	}
	return i
}

// count fills in the receipt: where each event went. What an event was granted
// may still be withheld, when its host's day carries a higher label by now.
func (d *batch) count() {
	r := &d.in.Receipt
	for i := range d.in.Events {
		e := &d.in.Events[i]
		withheld, suppressed, given := e.Observation < 0, false, false
		if !withheld {
			final := d.in.Decisions[d.in.Observations[e.Observation].Decision].Grants
			for _, g := range d.in.Decisions[e.Decision].Grants {
				j, entered := slices.BinarySearchFunc(final, g.Collection, func(g exchange.Grant, c string) int { return cmp.Compare(g.Collection, c) })
				switch {
				case !entered && g.Collection == exchange.Unclaimed:
					// Another event has a name that somebody is responsible for.
					for _, placed := range final {
						switch {
						case placed.Allow:
							r.Collections[placed.Collection]++
							given = true
						case placed.Rule == exchange.RuleRepeat:
							suppressed = true
						case placed.Rule != exchange.RuleTakenByOwner:
							withheld = true
						}
					}
				case !entered:
					withheld = true // the host has had more names than are kept
				case final[j].Rule == exchange.RuleTakenByOwner:
				case final[j].Rule == exchange.RuleRepeat:
					suppressed = true
				case !final[j].Allow:
					withheld = true
				case g.Collection == exchange.Unclaimed:
					r.Unclaimed++
					given = true
				default:
					r.Collections[g.Collection]++
					given = true
				}
			}
		}
		if withheld {
			r.Withheld++
		}
		if suppressed && !given && !withheld {
			r.Suppressed++
		}
	}
}

// introduce lists the reference objects that collections have not had today, or
// not since they changed.
func (d *batch) introduce() error {
	changed := d.feed.Changed
	if m := d.rules.Register.Member(d.feed.Publisher); m != nil && m.Changed.After(changed) {
		changed = m.Changed
	}
	asked := make(map[record.Introduction]bool)
	ask := func(collection, topic string) error {
		x := record.Introduction{Collection: collection, Topic: topic}
		if asked[x] {
			return nil
		}
		asked[x] = true
		since := changed
		if m := d.rules.Register.Member(collection); m != nil && m.Changed.After(since) {
			since = m.Changed
		}
		at, ok, err := d.f.introduced(x)
		if err != nil {
			return err
		}
		if !ok || exchange.DayOf(at) != exchange.DayOf(d.in.At) || at.Before(since) {
			d.in.Introductions = append(d.in.Introductions, x)
		}
		return nil
	}
	own := exchange.FeedCollection(d.feed.ID)
	for i := range d.in.Observations {
		o := &d.in.Observations[i]
		topics := []string{""}
		if o.Country != "" {
			topics = append(topics, o.Country)
		}
		for _, topic := range topics {
			if !d.in.Backfill { // which adds nothing to it
				if err := ask(own, topic); err != nil {
					return err
				}
			}
			for _, g := range d.in.Decisions[o.Decision].Grants {
				if !g.Allow {
					continue
				}
				if err := ask(g.Collection, topic); err != nil {
					return err
				}
			}
		}
	}
	slices.SortFunc(d.in.Introductions, func(a, b record.Introduction) int {
		return cmp.Or(cmp.Compare(a.Collection, b.Collection), cmp.Compare(a.Topic, b.Topic))
	})
	return nil
}

func (f *feedWriter) introduced(x record.Introduction) (time.Time, bool, error) {
	for _, r := range slices.Backward(f.recent) {
		if slices.Contains(r.in.Introductions, x) {
			return r.in.At, true, nil
		}
	}
	return f.a.History.Introduced(f.feed, x)
}

// union merges two lists of matches, each sorted by member.
func union(a, b []exchange.Match) []exchange.Match {
	if len(a) == 0 || slices.Equal(a, b) {
		return b
	}
	all := slices.Concat(a, b)
	slices.SortStableFunc(all, func(x, y exchange.Match) int { return cmp.Compare(x.Member, y.Member) })
	return slices.CompactFunc(all, func(x, y exchange.Match) bool { return x.Member == y.Member })
}
