package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A label that is raised takes an object out of the collections that are too low for it. And what
// tells that the object is there, as a relationship or a sighting does of its ends, goes with it.

// lift raises an object's label, and those of what discloses it: before it, since whoever is stopped
// between the two is asked again, and after it, for what has come meanwhile.
func (p *Poster) lift(ctx context.Context, a *Addition, o Withdrawn) error {
	if err := p.liftDisclosing(ctx, a, o.ID, tlp.Level(o.Label), nil, nil); err != nil {
		return err
	}
	if err := p.raise(ctx, a, o); err != nil {
		return err
	}
	return p.liftDisclosing(ctx, a, o.ID, tlp.Level(o.Label), nil, nil)
}

// raise keeps the label that objects have from now on, all the same one, and takes them out of the
// collections whose ceiling is below.
//
// Of the blocks about an object, the last alone keeps its label: whoever is stopped before that is
// asked to do it all again, and finds the label that it had.
func (p *Poster) raise(ctx context.Context, a *Addition, list ...Withdrawn) error {
	blocks := make(map[string]*Removal)
	in := func(collection string) *Removal {
		if blocks[collection] == nil {
			blocks[collection] = new(Removal)
		}
		return blocks[collection]
	}
	for _, o := range list {
		s, err := p.View.Standing(o.ID)
		if err != nil {
			return err
		}
		if s == nil || len(s.Collections) == 0 {
			continue // nobody has added it
		}
		low, high, err := p.where(a, o, s.Collections)
		if err != nil {
			return err
		}
		for i, c := range low {
			one := o
			if i+1 < len(low) {
				one = Withdrawn{ID: o.ID}
			}
			in(c).Objects = append(in(c).Objects, one)
		}
		if len(low) == 0 && tlp.Level(o.Label) > s.Label {
			in(high).Raised = append(in(high).Raised, o)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(blocks)) {
		if err := p.remove(ctx, a, c, blocks[c], tlp.Level(list[0].Label)); err != nil {
			return err
		}
	}
	return nil
}

// where tells which of its collections an object has to leave, in their order; and one to keep its
// label in where there are none, which has it if any does.
func (p *Poster) where(a *Addition, o Withdrawn, collections []string) (low []string, high string, err error) {
	high = collections[0]
	for _, c := range slices.Sorted(slices.Values(collections)) {
		versions, err := p.View.Versions(c, o.ID)
		switch {
		case err != nil:
			return nil, "", err
		case len(versions) == 0:
		case c == Quarantine || a.Ceiling(c) >= tlp.Level(o.Label):
			high = c
		default:
			low = append(low, c)
		}
	}
	return low, high, nil
}

// remove writes a control block of what was raised to a label, and tells of it.
func (p *Poster) remove(ctx context.Context, a *Addition, collection string, r *Removal, label tlp.Level) error {
	done, err := p.turn(ctx, collection)
	if err != nil {
		return err
	}
	defer done()
	payload, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err = p.write(ctx, &Post{Share: Share{Collection: collection, Label: tlp.Clear}, Control: ControlWithdraw, Payload: payload}); err != nil {
		return err
	}
	if n := len(r.Objects); n > 0 {
		typ, _, _ := strings.Cut(r.Objects[0].ID, "--") // an id can tell an address
		p.tell(AuditEntry{Action: AuditWithdrawn, Member: a.By, Collection: collection, Count: int64(n), Detail: fmt.Sprintf("%s is TLP:%s now", typ, strings.ToUpper(label.String()))})
	}
	return nil
}

// liftOwn raises what the member has added that discloses a candidate, which may be new: others have
// not said it of what this one was to be. Where the candidate was raised, it raises all that does so once more: some
// of it may have come beside it, in a version whose label was to be lower.
func (p *Poster) liftOwn(ctx context.Context, a *Addition, c *candidate, walked map[string]tlp.Level) error {
	if some, err := p.View.Disclosing(c.head.ID, "", 1); err != nil || len(some) == 0 {
		return err
	}
	s, err := p.View.Standing(c.head.ID)
	if err != nil || s == nil {
		return err
	}
	if c.lifted {
		return p.liftDisclosing(ctx, a, c.head.ID, s.Label, nil, walked)
	}
	mine := func(s *Standing) bool { return p.Seal.Is(s.By, a.By) }
	if !mine(s) || c.standing != nil && s.Label == tlp.Unknown { // nothing is new
		return nil
	}
	return p.liftDisclosing(ctx, a, c.head.ID, s.Label, mine, walked)
}

// liftCrossed raises a candidate that was stored, where what it discloses was raised meanwhile: of two
// that cross, one sees the other.
func (p *Poster) liftCrossed(ctx context.Context, a *Addition, c *candidate) error {
	label := c.label
	for _, end := range c.head.Refs {
		l, err := p.labelOf(end)
		if err != nil {
			return err
		}
		label = max(label, l)
	}
	if label == c.label {
		return nil
	}
	return p.lift(ctx, a, Withdrawn{ID: c.head.ID, Label: uint8(label)})
}

// maxDisclosing is how many objects are raised at a time.
const maxDisclosing = 500

// liftDisclosing raises what discloses an object to its label, what discloses that, and so on. Where
// which is set, it tells of which of the first this holds. What was walked before, with the label that it
// was walked with, is not walked again.
func (p *Poster) liftDisclosing(ctx context.Context, a *Addition, id string, label tlp.Level, which func(*Standing) bool, walked map[string]tlp.Level) error {
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
			var those []Withdrawn
			for _, next := range list {
				s, err := p.View.Standing(next)
				if err != nil {
					return err
				}
				if s == nil || next == id || which != nil && !which(s) {
					continue
				}
				those = append(those, Withdrawn{ID: next, Label: uint8(label)})
				if walked[next] < label {
					walked[next], queue = label, append(queue, next)
				}
			}
			if err := p.raise(ctx, a, those...); err != nil {
				return err
			}
		}
	}
	return nil
}
