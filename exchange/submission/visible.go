package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What a member is answered depends on nothing that it may not see: neither on another's object of the
// same id, nor on one that it refers to. Ids of feeds' objects can be computed, so that an answer that
// did would tell whether an address is known as infected.
//
// So of one id there can be several objects. Who comes first has the one of all collections. Who may not see
// that one has an object that stands apart, in each collection where it is added. In one collection there
// is one of them at most: what another adds there is refused, or, where that one may not see it,
// dropped.

// sight is what a member may know of an object.
type sight struct {
	// Standing is of the object that is meant.
	record.Standing
	// parts are what it is put together from: what a member has added apart, in several collections, is one
	// object to it.
	parts []*record.Standing
}

// A verdict on what is added under an id.
type verdict int

const (
	isShared  verdict = iota // it is the object of all collections
	isApart                  // it stands apart in the collection
	isDropped                // another's object stands there, which the member may not see
)

// sight returns what who adds to a collection may know of an object, nil for nothing, and where what it adds
// under that id belongs. relayed is the candidate that is added, nil where one is only looked at.
func (p *Poster) sight(ctx context.Context, a *Addition, collection, id string, relayed *candidate) (*sight, verdict, error) {
	all, err := p.View.Standings(id)
	if err != nil || len(all) == 0 {
		return nil, isShared, err
	}
	mine, err := p.mine(ctx, a, id, all)
	if err != nil {
		return nil, 0, err
	}
	if here := standsIn(all, collection); here != nil {
		sees, err := p.sees(a, id, here)
		switch {
		case err != nil || !sees:
			return mine, isDropped, err
		case !p.added(a, here):
			mine = &sight{*here, []*record.Standing{here}}
		}
		return mine, verdictOf(here), nil
	}
	if mine != nil {
		return mine, verdictOf(&mine.Standing), nil
	}
	var seen *record.Standing
	for _, s := range all {
		if a.Relays() && relayed != nil && s.Creator != relayed.head.CreatedByRef {
			continue // the operator relays another one
		}
		sees, err := p.sees(a, id, s)
		if err != nil {
			return nil, 0, err
		}
		if sees && (seen == nil || s.Label > seen.Label) {
			seen = s
		}
	}
	if seen == nil {
		return nil, isApart, nil
	}
	return &sight{*seen, []*record.Standing{seen}}, verdictOf(seen), nil
}

// standsIn returns the object that stands in a collection, or did, nil for none.
func standsIn(all []*record.Standing, collection string) *record.Standing {
	for _, s := range all {
		if s.Apart == collection {
			return s
		}
	}
	if s := all[0]; s.Apart == "" && slices.Contains(s.Collections, collection) {
		return s
	}
	return nil
}

// verdictOf says where what is added to an object belongs.
func verdictOf(s *record.Standing) verdict {
	if s.Apart == "" {
		return isShared
	}
	return isApart
}

// mine puts together what a member has added under an id, nil for nothing.
func (p *Poster) mine(ctx context.Context, a *Addition, id string, all []*record.Standing) (*sight, error) {
	var s *sight
	add := func(part *record.Standing) {
		if s == nil {
			s = &sight{Standing: *part}
			s.Collections = nil
		}
		s.Label, s.Newest = max(s.Label, part.Label), later(s.Newest, part.Newest)
		s.Collections = append(s.Collections, part.Collections...)
	}
	for _, part := range all {
		if p.added(a, part) {
			add(part)
			s.parts = append(s.parts, part)
		}
	}
	if s == nil || len(s.parts) < len(all) { // else nothing was ever dropped
		was, err := p.droppedBefore(ctx, a, id)
		if err != nil {
			return nil, err
		}
		if was != nil {
			add(was)
		}
	}
	return s, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// added reports whether the member has added an object first.
func (p *Poster) added(a *Addition, s *record.Standing) bool {
	return s.By != "" && p.Seal.Is(s.By, a.By)
}

// sees reports whether who adds may know of an object: its member has added it, is its creator, or may
// read a collection that was ever given it.
func (p *Poster) sees(a *Addition, id string, s *record.Standing) (bool, error) {
	if a.Relays() || p.added(a, s) || s.Creator != "" && a.Speaks(s.Creator) || slices.ContainsFunc(s.Collections, a.Reads) {
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

// dropped is what is kept of an object that was dropped, so that its member is answered as if it were there.
type dropped struct {
	Creator string    `json:"creator,omitempty"`
	Label   tlp.Level `json:"label"`
	Newest  time.Time `json:"newest"`
}

// droppedKey names what a member's objects of an id were that were dropped. It is kept for two days.
func droppedKey(a *Addition, id string) string {
	sum := sha256.Sum256([]byte("dropped\n" + a.By + "\n" + id))
	return "dropped-" + hex.EncodeToString(sum[:16])
}

// droppedBefore returns what is known of an object that was dropped, nil for nothing.
func (p *Poster) droppedBefore(ctx context.Context, a *Addition, id string) (*record.Standing, error) {
	text, found, err := p.Log.Status(ctx, droppedKey(a, id))
	var d dropped
	if err != nil || !found || json.Unmarshal(text, &d) != nil {
		return nil, err
	}
	return &record.Standing{Apart: "dropped", By: p.Seal.Pseudonym(a.By, nil), Creator: d.Creator, Label: d.Label, Newest: d.Newest}, nil
}

// drop notes that a candidate is dropped, and says so to the audit.
func (p *Poster) drop(ctx context.Context, a *Addition, collection string, c *candidate) error {
	d := dropped{Creator: c.head.CreatedByRef, Label: c.label, Newest: c.version.Version}
	if s := c.standing; s != nil {
		d.Newest = later(d.Newest, s.Newest)
	}
	p.tell(exchange.AuditEntry{Action: exchange.AuditRefused, Member: a.By, Collection: collection, Count: 1, Detail: c.head.Type + ": another member's object of this id stands there"})
	text, err := json.Marshal(&d)
	if err != nil {
		return err
	}
	return p.Log.SetStatus(ctx, droppedKey(a, c.head.ID), text)
}
