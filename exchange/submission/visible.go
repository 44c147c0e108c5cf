package submission

import (
	"context"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// What a member is answered depends on nothing that it may not see: neither on another's object of the
// same id, nor on one that it refers to. Ids of feeds' objects can be computed, so that an answer that
// did would tell whether an address is known as infected.
//
// So of one id there can be several objects: one that is known in all collections together, which is
// that of who came first, and in single collections those of members who may not see it. What a
// member has added itself is one object to it.

// sight is what a member may know of an object.
type sight struct {
	// Standing is what the lines say together; its Apart is the collection where what is added now
	// stands apart, "" where it is of all together.
	record.Standing
	lines []*record.Standing
	all   []*record.Standing // also those that it may not know of
}

// sight returns what who adds to a collection may know of an object, nil for nothing. others says that
// the exchange knows one that it may not.
func (p *Poster) sight(a *Addition, collection, id string) (s *sight, others bool, err error) {
	all, err := p.View.Standings(id)
	if err != nil || len(all) == 0 {
		return nil, false, err
	}
	var seen, own []*record.Standing
	for _, l := range all {
		sees, err := p.sees(a, id, l)
		if err != nil {
			return nil, false, err
		}
		if sees {
			seen = append(seen, l)
		}
		if p.added(a, l) {
			own = append(own, l)
		}
	}
	if len(own) > 0 && !a.Relays {
		seen = own
	}
	if len(seen) == 0 {
		return nil, true, nil
	}
	// The one of this collection speaks for them, else the one of all.
	slices.SortStableFunc(seen, func(x, y *record.Standing) int {
		switch {
		case x.Apart == collection && y.Apart != collection:
			return -1
		case y.Apart == collection && x.Apart != collection:
			return 1
		}
		return 0
	})
	s = &sight{Standing: *seen[0], lines: seen, all: all}
	if s.Apart != "" {
		s.Apart = collection
	}
	s.Collections = slices.Clone(s.Collections)
	for _, l := range seen[1:] {
		s.Label = max(s.Label, l.Label)
		if l.Newest.After(s.Newest) {
			s.Newest = l.Newest
		}
		s.Collections = append(s.Collections, l.Collections...)
	}
	return s, len(all) > len(seen), nil
}

// added reports whether the member has added an object first.
func (p *Poster) added(a *Addition, s *record.Standing) bool {
	return s.By != "" && p.Seal.Is(s.By, a.By)
}

// sees reports whether who adds may know of an object: its member has added it, is its creator, or may
// read a collection that was ever given it.
func (p *Poster) sees(a *Addition, id string, s *record.Standing) (bool, error) {
	if a.Relays || p.added(a, s) || s.Creator != "" && a.Speaks(s.Creator) || slices.ContainsFunc(s.Collections, a.Reads) {
		return true, nil
	}
	if s.By != "" {
		return false, nil
	}
	for _, c := range a.Readable() { // a feed has made it
		versions, err := p.View.Versions(c, id)
		if err != nil || len(versions) > 0 {
			return err == nil, err
		}
	}
	return false, nil
}

// owns reports whether a member may delete an object from a collection that it reads.
func (p *Poster) owns(ctx context.Context, a *Addition, collection, id string) (bool, error) {
	if a.Relays {
		return true, nil
	}
	s, _, err := p.sight(a, collection, id)
	if err != nil {
		return false, err
	}
	if s != nil && s.Creator != "" && a.Speaks(s.Creator) {
		return true, nil
	}
	if s != nil {
		return p.added(a, &s.Standing) && slices.Contains(s.Collections, collection), nil
	}
	// Of what has no versions nothing is known but who wrote the blocks that it came in.
	blocks, err := p.View.PostedIn(collection, id)
	if err != nil {
		return false, err
	}
	for _, sequence := range blocks {
		by, err := p.Log.PostedBy(ctx, collection, sequence)
		if err != nil || !p.Seal.Is(by, a.By) {
			return false, err
		}
	}
	return true, nil
}

// taken reports whether another's object of a candidate's id stands in the collection, which the member may
// only write to: the candidate is dropped then, and the answer is the same.
func (p *Poster) taken(a *Addition, collection string, c *candidate, s *sight) (bool, error) {
	if a.Reads(collection) || s != nil && slices.Contains(s.Collections, collection) {
		return false, nil
	}
	there, err := p.View.Versions(collection, c.head.ID)
	if err != nil || len(there) == 0 {
		return false, err
	}
	p.tell(exchange.AuditEntry{Action: exchange.AuditRefused, Member: a.By, Collection: collection, Count: 1, Detail: c.head.Type + ": another member's object of this id stands there"})
	return true, nil
}
