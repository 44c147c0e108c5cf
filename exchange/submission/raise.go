package submission

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A label that is raised takes an object out of the collections that are too low for it. And what
// tells that the object is there, as a relationship or a sighting does of its ends, goes with it.

// lift raises an object's label, and those of what discloses it: before it, since a
// request that is stopped between the two is made again, and after it, for what has come meanwhile. Of an object that stands
// apart, only what its own member has added discloses it.
func (p *Poster) lift(ctx context.Context, a *Addition, s *sight, o record.Withdrawn) error {
	which := p.ofWhoAdds(a, s)
	if err := p.liftDisclosing(ctx, a, o.ID, tlp.Level(o.Label), which, nil); err != nil {
		return err
	}
	blocks := make(removals)
	for _, part := range s.parts {
		if err := p.raise(a, blocks, part, o); err != nil {
			return err
		}
	}
	if err := p.removeAll(ctx, a, blocks, tlp.Level(o.Label)); err != nil {
		return err
	}
	return p.liftDisclosing(ctx, a, o.ID, tlp.Level(o.Label), which, nil)
}

// ofWhoAdds tells what the member has added itself; nil, for everything, of an object that does not
// stand apart.
func (p *Poster) ofWhoAdds(a *Addition, s *sight) func(*record.Standing) bool {
	if slices.ContainsFunc(s.parts, func(part *record.Standing) bool { return part.Apart == "" }) {
		return nil
	}
	return func(l *record.Standing) bool { return p.added(a, l) }
}

// removals are what control blocks are to say, by collection.
type removals map[string]*record.Removal

func (r removals) in(collection string) *record.Removal {
	if r[collection] == nil {
		r[collection] = new(record.Removal)
	}
	return r[collection]
}

// raise has the label kept that an object, one of all of its id, has from now on, and the object taken
// out of the collections whose ceiling is below.
//
// Of the blocks about an object, the last alone keeps its label: a request that is stopped
// before that is made again, and finds the label that it had.
func (p *Poster) raise(a *Addition, blocks removals, s *record.Standing, o record.Withdrawn) error {
	if len(s.Collections) == 0 {
		return nil // nobody has added it
	}
	low, high, err := p.where(a, s, o)
	if err != nil {
		return err
	}
	for i, c := range low {
		one := o
		if i+1 < len(low) {
			one = record.Withdrawn{ID: o.ID}
		}
		blocks.in(c).Objects = append(blocks.in(c).Objects, one)
	}
	if len(low) == 0 && high != "" && tlp.Level(o.Label) > s.Label {
		blocks.in(high).Raised = append(blocks.in(high).Raised, o)
	}
	return nil
}

// removeAll writes the control blocks of what was raised to a label.
func (p *Poster) removeAll(ctx context.Context, a *Addition, blocks removals, label tlp.Level) error {
	for _, c := range slices.Sorted(maps.Keys(blocks)) {
		if err := p.remove(ctx, a, c, blocks[c], label); err != nil {
			return err
		}
	}
	return nil
}

// where tells which of its collections an object has to leave, in their order; and one to keep its
// label in where there are none, which has it if any does; quarantine, where several can stand, last.
func (p *Poster) where(a *Addition, s *record.Standing, o record.Withdrawn) (low []string, high string, err error) {
	for _, c := range slices.Sorted(slices.Values(s.Collections)) {
		versions, err := p.View.Versions(c, o.ID)
		switch {
		case err != nil:
			return nil, "", err
		case c == exchange.Quarantine, len(versions) == 0:
			high = cmp.Or(high, c)
		case a.Ceiling(c) >= tlp.Level(o.Label):
			high = c
		default:
			low = append(low, c)
		}
	}
	return low, high, nil
}

// remove writes a control block of what was raised to a label, and tells of it.
func (p *Poster) remove(ctx context.Context, a *Addition, collection string, r *record.Removal, label tlp.Level) error {
	done, err := p.turn(ctx, collection)
	if err != nil {
		return err
	}
	defer done()
	payload, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err = p.write(ctx, &record.Post{Share: record.Share{Collection: collection, Label: tlp.Clear}, Control: record.ControlWithdraw, Payload: payload}); err != nil {
		return err
	}
	if n := len(r.Objects); n > 0 {
		typ, _, _ := strings.Cut(r.Objects[0].ID, "--") // an id can tell an address
		p.tell(exchange.AuditEntry{Action: exchange.AuditWithdrawn, Member: a.By, Collection: collection, Count: int64(n), Detail: fmt.Sprintf("%s is TLP:%s now", typ, strings.ToUpper(label.String()))})
	}
	return nil
}

// liftOwn raises what the member has added that discloses a candidate, which may be new: others have
// not said it of what this one was to be. Where the candidate was raised, it raises all that does so once more: some
// of it may have come beside it, in a version whose label was to be lower.
func (p *Poster) liftOwn(ctx context.Context, a *Addition, collection string, c *candidate, walked map[string]tlp.Level) error {
	if some, err := p.View.Disclosing(c.head.ID, "", 1); err != nil || len(some) == 0 {
		return err
	}
	s, _, err := p.sight(ctx, a, collection, c.head.ID, nil)
	if err != nil || s == nil {
		return err
	}
	if c.lifted {
		return p.liftDisclosing(ctx, a, c.head.ID, s.Label, p.ofWhoAdds(a, s), walked)
	}
	mine := func(l *record.Standing) bool { return p.added(a, l) }
	if !mine(&s.Standing) || c.standing != nil && s.Label == tlp.Unknown { // nothing is new
		return nil
	}
	return p.liftDisclosing(ctx, a, c.head.ID, s.Label, mine, walked)
}

// liftCrossed raises a candidate that was stored, where what it discloses was raised meanwhile: of two
// that cross, one sees the other.
func (p *Poster) liftCrossed(ctx context.Context, a *Addition, collection string, c *candidate) error {
	label := c.label
	for _, end := range c.head.Refs {
		l, err := p.labelOf(ctx, a, collection, end)
		if err != nil {
			return err
		}
		label = max(label, l)
	}
	if label == c.label {
		return nil
	}
	s, _, err := p.sight(ctx, a, collection, c.head.ID, nil)
	if err != nil || s == nil {
		return err
	}
	return p.lift(ctx, a, s, record.Withdrawn{ID: c.head.ID, Label: uint8(label)})
}

// maxDisclosing is how many objects are raised at a time.
const maxDisclosing = 500

// liftDisclosing raises what discloses an object to its label, what discloses that, and so on. Where
// which is set, it tells of which of the first this holds. What was walked before, with the label that it
// was walked with, is not walked again.
func (p *Poster) liftDisclosing(ctx context.Context, a *Addition, id string, label tlp.Level, which func(*record.Standing) bool, walked map[string]tlp.Level) error {
	if walked == nil {
		walked = make(map[string]tlp.Level)
	}
	for queue := []string{id}; len(queue) > 0; queue, which = queue[1:], nil {
		for list := []string{""}; ; {
			var err error
			if list, err = p.View.Disclosing(queue[0], list[len(list)-1], maxDisclosing); err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			blocks := make(removals)
			for _, next := range list {
				all, err := p.View.Standings(next)
				if err != nil {
					return err
				}
				for _, s := range all {
					if next == id || which != nil && !which(s) {
						continue
					}
					if err := p.raise(a, blocks, s, record.Withdrawn{ID: next, Label: uint8(label)}); err != nil {
						return err
					}
					if walked[next] < label {
						walked[next], queue = label, append(queue, next)
					}
				}
			}
			if err := p.removeAll(ctx, a, blocks, label); err != nil {
				return err
			}
		}
	}
	return nil
}
