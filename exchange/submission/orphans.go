package submission

import (
	"context"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// orphans lists the observables that some versions refer to, that the same member has posted, and that nothing else in
// the collection refers to: they leave with them.
func (p *Poster) orphans(ctx context.Context, r Rules, collection string, list []record.Posted) (out []record.Version, err error) {
	type leaver struct {
		record.Version
		member string
	}
	members, leaving := r.Members(), make(map[record.Version]bool)
	var queue []leaver
	for i := range list {
		if leaving[list[i].Version] = true; list[i].Refers {
			queue = append(queue, leaver{list[i].Version, p.poster(members, list[i].By)})
		}
	}
	for ; len(queue) > 0; queue = queue[1:] {
		raw, err := p.View.Object(ctx, collection, queue[0].Version)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		h, err := stix.ParseHead(raw)
		if err != nil {
			return nil, err
		}
		for _, ref := range h.Refs {
			if !stix.Observable(ref) {
				continue
			}
			v, orphan, err := p.orphan(queue[0].member, collection, strings.ToLower(ref), leaving)
			if err != nil {
				return nil, err
			}
			if orphan && !leaving[v] {
				leaving[v], out, queue = true, append(out, v), append(queue, leaver{v, queue[0].member})
			}
		}
	}
	return out, nil
}

// poster is the member that a pseudonym stands for, "" where it is none any more.
func (p *Poster) poster(members []string, by string) string {
	for _, m := range members {
		if p.Seal.Is(by, m) {
			return m
		}
	}
	return ""
}

// orphan tells whether a member has posted an observable that only what leaves refers to.
func (p *Poster) orphan(member, collection, id string, leaving map[record.Version]bool) (v record.Version, orphan bool, err error) {
	err = p.View.Posted([]string{id}, func(_ int, x *record.Posted) error {
		if x.Collection == collection && !x.Remembered && p.mine(x, member) && unversioned(x.Version) {
			v, orphan = x.Version, true
		}
		return nil
	})
	if err != nil || !orphan {
		return v, false, err
	}
	list, err := p.View.Referring(collection, id)
	if err != nil {
		return v, false, err
	}
	var ids []string
	for _, from := range list {
		ids = append(ids, from.ID)
	}
	slices.Sort(ids)
	err = p.View.Posted(slices.Compact(ids), func(_ int, x *record.Posted) error {
		if x.Collection == collection && !x.Remembered && slices.Contains(list, x.Version) && !leaving[x.Version] {
			orphan = false
		}
		return nil
	})
	return v, orphan, err
}
