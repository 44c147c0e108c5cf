package submission

import (
	"context"
	"errors"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// ErrNoVersion means that a collection has none of the versions that were to be
// deleted.
var ErrNoVersion = errors.New("no such object or version")

// maxDeleted is how many versions one control block takes out.
const maxDeleted = 5000

// ErrNotOwn means that somebody deletes what is another's.
var ErrNotOwn = errors.New("it is another member's")

// Delete takes the versions of an object that wants names, of all that there are, out of r's collection: for its owner
// and the operator; of a third party's object, those that the member has posted. What only they referred to goes with
// them.
func (p *Poster) Delete(ctx context.Context, r *Request, id string, wants func(all []record.Version) []record.Version) (last uint64, err error) {
	c, err := r.Collection()
	if err != nil {
		return 0, err
	}
	err = p.in(ctx, c.ID, func() error {
		last, err = p.delete(ctx, r, id, wants)
		return err
	})
	if err == nil {
		err = p.Removed(ctx, c.ID, last)
	}
	return last, err
}

func (p *Poster) delete(ctx context.Context, r *Request, id string, wants func(all []record.Version) []record.Version) (last uint64, err error) {
	p.Gate.RLock()
	defer p.Gate.RUnlock()
	c, err := r.Collection()
	if err != nil {
		return 0, err
	}
	var all []record.Version
	posted := make(map[record.Version]*record.Posted)
	mine := false
	err = p.View.Posted([]string{id}, func(_ int, x *record.Posted) error {
		if x.Collection == c.ID && !x.Remembered {
			all, posted[x.Version], mine = append(all, x.Version), x, mine || p.mine(x, r.By)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	list := wants(all)
	if len(list) == 0 {
		return 0, ErrNoVersion
	}
	list = slices.DeleteFunc(slices.Clone(list), func(v record.Version) bool { return !p.owns(r, posted[v], mine) })
	if len(list) == 0 {
		return 0, ErrNotOwn
	}
	for part := range slices.Chunk(list, maxDeleted) {
		var out []record.Posted
		for _, v := range part {
			out = append(out, *posted[v])
		}
		orphans, err := p.orphans(ctx, r.Rules, c.ID, out)
		if err != nil {
			return 0, err
		}
		if isContext(id) {
			if err := p.forgetContext(ctx, r.By, c.ID, id); err != nil {
				return 0, err
			}
		}
		if last, err = p.free(ctx, r.Rules, c.ID, r.By, record.ControlDelete, &record.Removal{Versions: append(part, orphans...)}); err != nil {
			return 0, err
		}
	}
	return last, nil
}

// owns tells whether a member may delete a version; mine says that it has posted some of the object there.
func (p *Poster) owns(r *Request, x *record.Posted, mine bool) bool {
	if r.Relays() {
		return true
	}
	switch owner, _ := r.owner(x.ID, x.Creator); owner {
	case policy.Poster:
		return true
	case policy.Nobody:
		return mine
	case policy.ThirdParty:
		return p.mine(x, r.By)
	case policy.Another:
	}
	return false
}
