package submission

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// ErrNoVersion means that a collection has none of the versions that were to be
// deleted.
var ErrNoVersion = errors.New("no such object or version")

// maxDeleted is how many versions one control block takes out.
const maxDeleted = 5000

// ErrNotOwn means that somebody deletes what others have added.
var ErrNotOwn = errors.New("another member has added it")

// Delete takes the versions of an object that wants names, of all that there
// are, out of a's collection: for the member that has added it or is its creator, and for the operator.
func (p *Poster) Delete(ctx context.Context, a *Addition, id string, wants func(all []record.Version) []record.Version) (last uint64, err error) {
	c, err := a.Collection()
	if err != nil {
		return 0, err
	}
	done, err := p.turn(ctx, c.ID)
	if err != nil {
		return 0, err
	}
	defer done()
	if c, err = a.Collection(); err != nil {
		return 0, err
	}
	all, err := p.View.Versions(c.ID, id)
	if err != nil {
		return 0, err
	}
	list := wants(all)
	if len(list) == 0 {
		return 0, ErrNoVersion
	}
	if own, err := p.owns(ctx, a, c.ID, id); err != nil || !own {
		return 0, cmp.Or(err, ErrNotOwn)
	}
	for part := range slices.Chunk(list, maxDeleted) {
		payload, err := json.Marshal(record.Removal{Versions: part})
		if err != nil {
			return 0, err
		}
		if last, err = p.write(ctx, &record.Post{Share: record.Share{Collection: c.ID, Label: tlp.Clear}, Control: record.ControlDelete, Payload: payload}); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// owns reports whether a member may delete an object from a collection that it reads.
func (p *Poster) owns(ctx context.Context, a *Addition, collection, id string) (bool, error) {
	if a.Relays() {
		return true, nil
	}
	s, _, err := p.sight(ctx, a, collection, id, nil)
	if err != nil {
		return false, err
	}
	if s != nil {
		return p.added(a, &s.Standing) || s.Creator != "" && a.Speaks(s.Creator), nil
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
