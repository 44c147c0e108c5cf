package misp

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
)

// objectTypes are those that attributes are made of, and those that tell the addresses.
var objectTypes = []string{"observed-data", "indicator", "ipv4-addr", "ipv6-addr", "email-addr"}

// How much of a collection is read at a time.
const (
	perPage  = 5000
	removals = 100
)

// run brings the events of a collection up to date, a page at a time.
type run struct {
	*Feeds
	maker
	right   policy.Read
	look    *view.DerivedSnapshot
	state   state
	changes map[string][]byte
	events  map[string]*event   // by key, of this page
	least   map[string]int64    // by key, of the run: the timestamp that a changed event has at least
	ends    map[string]int      // by day, of the run: its last event's part
	slots   map[string]string   // by object, of this page: what is not in the store yet
	hosts   map[string][]string // the same of hosts: their objects, by the start of their keys
}

// catchUp reads what a collection has got and lost since it was read last.
func (f *Feeds) catchUp(ctx context.Context, r *exchange.Register, right policy.Read) error {
	x := &run{Feeds: f, right: right, maker: maker{r, right.Collection()}, least: make(map[string]int64), ends: make(map[string]int)}
	for first := true; ; first = false {
		more, err := x.page(ctx, first)
		if err != nil || !more {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
}

// page takes the next page in and writes what came of it, in one.
func (x *run) page(ctx context.Context, first bool) (more bool, err error) {
	x.look, x.changes, x.events = x.store.Snapshot(), make(map[string][]byte), make(map[string]*event)
	x.slots, x.hosts = make(map[string]string), make(map[string][]string)
	defer func() { err = errors.Join(err, x.look.Close()) }()
	if first {
		if _, err := get(x.look, stateKey(x.collection), &x.state); err != nil {
			return false, err
		}
	}
	was := x.state
	if x.state.Since == 0 {
		x.state.Since = time.Now().Unix()
	}
	at := micros(x.state.Objects)
	p, err := x.View.Page(ctx, x.right, view.Query{After: at, Limit: perPage, Types: objectTypes})
	if err != nil {
		return false, err
	}
	if err := x.take(ctx, p); err != nil {
		return false, err
	}
	if !p.Last.IsZero() {
		x.state.Objects = p.Last.UnixMicro()
	}
	if p.More { // it may be far ahead of the last that was selected
		x.state.Objects = max(x.state.Objects, p.Reached.UnixMicro())
	} else if err := x.takeOut(ctx); err != nil {
		return false, err
	} else if p.More, err = x.takeClean(ctx); err != nil {
		return false, err
	}
	for key, e := range x.events {
		e.Had |= 1 << e.label()
		if err := x.set(key, e); err != nil {
			return false, err
		}
	}
	if x.state != was {
		if err := x.set(stateKey(x.collection), &x.state); err != nil {
			return false, err
		}
	}
	return p.More, x.store.Write(x.changes)
}

func (x *run) set(key string, value any) error {
	text, err := json.Marshal(value)
	x.changes[key] = text
	return err
}

// take puts a page's objects into their events.
func (x *run) take(ctx context.Context, p *view.Page) error {
	raws, err := p.Objects()
	if err != nil {
		return err
	}
	list, added, feeds := make([]*object, 0, p.Count), p.Added(), p.Feeds()
	for i, raw := range raws {
		o, err := parse(raw)
		if err != nil {
			// Of members, who may add what no attribute can be made of; an older version goes.
			b, _ := stix.ScanBrief(raw)
			o = &object{ID: string(b.ID), Type: string(b.Type)}
		}
		o.added, o.feed = added[i], feeds[i]
		list = append(list, o)
	}
	if err := x.resolve(ctx, list); err != nil {
		return err
	}
	for _, o := range list {
		if err := x.put(o); err != nil {
			return err
		}
	}
	return nil
}

// resolve finds the addresses that objects are about.
func (x *run) resolve(ctx context.Context, list []*object) error {
	values := make(map[string]string)
	for _, o := range list {
		if o.Value != "" {
			values[o.ID] = o.Value
		}
	}
	var missing []string
	for _, o := range list {
		if ref := o.about(); ref != "" && values[ref] == "" {
			values[ref] = "?"
			missing = append(missing, ref)
		}
	}
	for len(missing) > 0 {
		part := missing[:min(500, len(missing))]
		missing = missing[len(part):]
		p, err := x.View.Page(ctx, x.right, view.Query{IDs: part, Limit: len(part)})
		if err != nil {
			return err
		}
		raws, err := p.Objects()
		if err != nil {
			return err
		}
		for _, raw := range raws {
			if o, err := parse(raw); err == nil && o.Value != "" {
				values[o.ID] = o.Value
			}
		}
	}
	for _, o := range list {
		if ref := o.about(); ref != "" {
			o.Value = values[ref]
		}
	}
	return nil
}

// takeOut takes what was removed from the collection out of its events.
func (x *run) takeOut(ctx context.Context) error {
	for {
		list, err := x.View.Removed(x.right, micros(x.state.Removed), removals)
		if err != nil || len(list) == 0 {
			return err
		}
		for i := range list {
			if err := x.gone(ctx, &list[i]); err != nil {
				return err
			}
			x.state.Removed = list[i].At.UnixMicro()
		}
	}
}

// gone looks at each of some objects again: another version of it may be left.
func (x *run) gone(ctx context.Context, w *view.Withdrawal) error {
	for _, id := range w.IDs {
		key, known, err := x.slotOf(id)
		if err != nil {
			return err
		}
		if !known {
			continue
		}
		left, err := x.again(ctx, id)
		if err == nil && !left {
			err = x.fill(key, new(slot), w.At, true)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// again makes the attributes of an object anew, and tells whether it is there.
func (x *run) again(ctx context.Context, id string) (there bool, err error) {
	p, err := x.View.Page(ctx, x.right, view.Query{IDs: []string{id}, Limit: 1})
	if err != nil || p.Count == 0 {
		return false, err
	}
	return true, x.take(ctx, p)
}

// slotOf returns the key of an object's slot, where it has one.
func (x *run) slotOf(id string) (key string, known bool, err error) {
	if key, known = x.slots[id]; known {
		return key, true, nil
	}
	value, known, err := x.look.Get(objectKey(x.collection, id))
	return string(value), known, err
}

// put puts an object into its slot, or into a new one at the end of its day's events.
func (x *run) put(o *object) error {
	s, feed, day, err := x.attributes(o)
	if err != nil {
		return err
	}
	key, known, err := x.slotOf(o.ID)
	if err != nil {
		return err
	}
	if known {
		fits, err := x.fits(key, s)
		if err != nil {
			return err
		}
		if s == nil || !fits {
			err = x.fill(key, new(slot), o.added, fits)
		}
		if s == nil || err != nil {
			return err
		}
		if fits {
			return x.fill(key, s, o.added, true)
		}
	}
	if s == nil {
		return nil
	}
	e, err := x.last(feed, day)
	if err != nil {
		return err
	}
	if e.Attributes+len(s.Attributes) > MaxAttributes-fixed || e.Slots >= MaxAttributes {
		e = newEvent(x.collection, feed, day, e.Part+1)
	}
	part := partKey(x.collection, e)
	x.events[part] = e
	key = slotKey(part, e.Slots)
	e.Slots++
	x.slots[o.ID] = key
	x.changes[objectKey(x.collection, o.ID)] = []byte(key)
	if o.address.IsValid() {
		host := hostKey(x.collection, feed, o.address)
		x.changes[host+o.ID] = nil
		x.hosts[host] = append(x.hosts[host], o.ID)
	}
	x.changes[uuidKey(x.collection, e.UUID)] = []byte(part)
	return x.fill(key, s, o.added, true)
}

// fits tells whether an event still has no more than it may have with what a slot is to be.
func (x *run) fits(key string, s *slot) (bool, error) {
	if s == nil {
		return true, nil
	}
	e, err := x.event(partOf(key))
	if err != nil || e == nil {
		return true, err
	}
	was, err := x.slot(key)
	return len(s.Attributes) <= len(was.Attributes) || e.Attributes+len(s.Attributes)-len(was.Attributes) <= MaxAttributes-fixed, err
}

// slot returns what a slot is by now.
func (x *run) slot(key string) (s slot, err error) {
	if text, known := x.changes[key]; known {
		return s, json.Unmarshal(text, &s)
	}
	_, err = get(x.look, key, &s)
	return s, err
}

// last returns the last event of a day, or a first one where there is none yet.
func (x *run) last(feed, day string) (*event, error) {
	key := dayKey(x.collection, feed, day)
	last := newEvent(x.collection, feed, day, x.ends[key])
	for {
		e, err := x.event(partKey(x.collection, last))
		if err != nil {
			return nil, err
		}
		if e == nil {
			return last, nil
		}
		next, err := x.event(partKey(x.collection, newEvent(x.collection, feed, day, e.Part+1)))
		if err != nil || next == nil {
			x.ends[key] = e.Part
			return e, err
		}
		last = next
	}
}

// event returns the event of a key, nil where there is none.
func (x *run) event(key string) (*event, error) {
	if e := x.events[key]; e != nil {
		return e, nil
	}
	e := new(event)
	found, err := get(x.look, key, e)
	if err != nil || !found {
		return nil, err
	}
	return e, nil
}

// fill writes a slot and what changes in its event. What it loses is told of, but where it moves to another event.
func (x *run) fill(key string, s *slot, at time.Time, tell bool) error {
	part := partOf(key)
	e, err := x.event(part)
	if err != nil {
		return err
	}
	if e == nil {
		return view.ErrDamaged
	}
	was, err := x.slot(key)
	if err != nil {
		return err
	}
	if s.equal(&was) {
		return nil
	}
	if tell {
		if err := s.follows(&was); err != nil {
			return err
		}
	}
	if s.Withheld != was.Withheld {
		e.Withheld += map[bool]int{true: 1, false: -1}[s.Withheld]
		e.Told = true
	}
	x.events[part] = e
	if x.least[part] == 0 {
		x.least[part] = e.Timestamp + 1
	}
	e.Timestamp = max(e.Timestamp, x.least[part], at.Unix(), x.state.Since)
	e.Attributes += len(s.Attributes) - len(was.Attributes)
	e.Labels[was.Label] -= len(was.Attributes)
	e.Labels[s.Label] += len(s.Attributes)
	if e.First == 0 {
		e.First = at.UnixMicro()
	}
	e.First, e.Last = min(e.First, at.UnixMicro()), max(e.Last, at.UnixMicro())
	s.Timestamp = e.Timestamp
	return x.set(key, s)
}
