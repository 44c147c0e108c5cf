package submission

import (
	"context"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// How something leaves a collection: by a control block, on behalf of a member.

// told makes the removal of versions: followers are told of an object that has no other version left.
func (x *posting) told(collection string, list []record.Posted) (out record.Removal, err error) {
	leaving, left := make(map[record.Version]bool), make(map[string]bool)
	var ids []string
	for _, p := range list {
		leaving[p.Version] = true
		ids = append(ids, p.ID)
	}
	slices.Sort(ids)
	err = x.View.Posted(slices.Compact(ids), func(_ int, p *record.Posted) error {
		if p.Collection == collection && !p.Remembered && !leaving[p.Version] {
			left[p.ID] = true
		}
		return nil
	})
	for _, p := range list {
		if left[p.ID] {
			out.Versions = append(out.Versions, p.Version)
		} else {
			out.Withdrawn = append(out.Withdrawn, p.Version)
		}
	}
	return out, err
}

// takeOut takes something out of a collection because its label was raised.
func (x *posting) takeOut(ctx context.Context, collection string, out *record.Removal) error {
	sequence, err := x.free(ctx, x.Rules, collection, x.By, record.ControlWithdraw, out)
	x.tookOut[collection] = max(x.tookOut[collection], sequence)
	return err
}

// remove writes a control block on behalf of a member.
func (p *Poster) remove(ctx context.Context, collection, by string, kind record.ControlKind, r *record.Removal) (uint64, error) {
	return p.write(ctx, &record.Post{Share: record.Share{Collection: collection, Label: tlp.Clear}, Control: kind, Removal: r, By: p.Seal.Pseudonym(by)})
}

// free removes what members have posted, which stands for them no more.
func (p *Poster) free(ctx context.Context, rules Rules, collection, by string, kind record.ControlKind, r *record.Removal) (uint64, error) {
	freed, err := p.freed(rules, collection, slices.Concat(r.Versions, r.Withdrawn))
	if err != nil {
		return 0, err
	}
	sequence, err := p.remove(ctx, collection, by, kind, r)
	if err == nil && p.Stands != nil {
		for member, bytes := range freed {
			p.Stands(member, -bytes)
		}
	}
	return sequence, err
}

// freed is how many bytes of whose objects stand no more when some versions leave a collection.
func (p *Poster) freed(rules Rules, collection string, list []record.Version) (map[string]int64, error) {
	bytes, members, leaving := make(map[string]int64), rules.Members(), make(map[record.Version]bool)
	ids := make([]string, 0, len(list))
	for _, v := range list {
		ids, leaving[v] = append(ids, v.ID), true
	}
	slices.Sort(ids)
	err := p.View.Posted(slices.Compact(ids), func(_ int, x *record.Posted) error {
		if x.Collection != collection || x.Remembered || !leaving[x.Version] {
			return nil
		}
		bytes[p.poster(members, x.By)] += int64(x.Size)
		return nil
	})
	return bytes, err
}
