package submission

import (
	"context"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// label gives each object its label, also those that are refused.
func (x *posting) label(ctx context.Context) error {
	var list []policy.Posting
	var those []*object
	var refs []string
	for _, o := range x.objects {
		if o == nil {
			continue
		}
		p := policy.Posting{Head: &o.head, Own: o.own}
		if o.own == tlp.None {
			var err error
			if p.Context, err = x.contextOf(o); err != nil {
				return err
			}
		}
		list, those, refs = append(list, p), append(those, o), append(refs, o.head.Refs...)
	}
	slices.Sort(refs)
	labels, err := x.labelsOf(ctx, slices.Compact(refs))
	if err != nil {
		return err
	}
	for i, l := range policy.Labels(list, x.floor, func(ref string) (tlp.Level, bool) { l, stands := labels[ref]; return l, stands }) {
		if those[i].label = l; l == tlp.Unknown && those[i].reason == "" {
			those[i].reason = "what refers to it, or what it refers to, is marked with what is no TLP marking that is known here"
		}
	}
	return nil
}

// labelsOf are the labels with which objects that stand count for what refers to them: of each that the member may know
// of, that in this collection; else the lowest in those that it reads.
func (x *posting) labelsOf(ctx context.Context, ids []string) (map[string]tlp.Level, error) {
	newest := make([]map[string]*record.Posted, len(ids)) // of each, by collection
	err := x.View.Posted(ids, func(i int, p *record.Posted) error {
		if p.Remembered || !x.sees(p) {
			return nil
		}
		if newest[i] == nil {
			newest[i] = make(map[string]*record.Posted)
		}
		if have := newest[i][p.Collection]; have == nil || !p.Version.Version.Before(have.Version.Version) {
			newest[i][p.Collection] = p
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make(map[string]tlp.Level)
	for i, id := range ids {
		lowest, found := tlp.None, false
		lower := func(l tlp.Level) {
			if !found || l < lowest {
				lowest, found = l, true
			}
		}
		if p := newest[i][x.collection]; p != nil {
			l, err := x.counts(p)
			if err != nil {
				return nil, err
			}
			lower(l)
		} else {
			for _, p := range newest[i] {
				l, err := x.counts(p)
				if err != nil {
					return nil, err
				}
				lower(l)
			}
			if stix.Observable(id) || x.Derived(id) {
				for _, c := range x.Readable() {
					l, made, err := x.madeLabel(ctx, c, id)
					if err != nil {
						return nil, err
					}
					if made {
						lower(l)
					}
				}
			}
		}
		if found {
			out[id] = lowest
		}
	}
	return out, nil
}

// sees tells whether the member may know of a version: it reads the collection, or has posted it to this one.
func (x *posting) sees(p *record.Posted) bool {
	if x.Relays() {
		return true
	}
	return x.Reads(p.Collection) || p.Collection == x.collection && x.mine(p, x.By)
}

// counts is the label with which what a member has posted counts for what refers to it.
func (x *posting) counts(p *record.Posted) (tlp.Level, error) {
	switch {
	case p.Own != tlp.None:
		return p.Label, nil
	case stix.Opaque(p.ID):
		return tlp.None, nil
	case !unversioned(p.Version):
		return p.Label, nil
	}
	least := tlp.None
	err := x.eachReferring(p.Collection, p.ID, x.sees, func(from *record.Posted) {
		if least == tlp.None || from.Label < least {
			least = from.Label
		}
	})
	if least == tlp.None {
		least = p.Label
	}
	return least, err
}

// eachReferring calls f with those objects of a collection whose newest version, of those that count, refers to one.
func (p *Poster) eachReferring(collection, id string, counts func(*record.Posted) bool, f func(from *record.Posted)) error {
	list, err := p.View.Referring(collection, id)
	if err != nil || len(list) == 0 {
		return err
	}
	var ids []string
	for _, v := range list {
		ids = append(ids, v.ID)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	newest := make([]*record.Posted, len(ids))
	err = p.View.Posted(ids, func(i int, from *record.Posted) error {
		if from.Collection == collection && !from.Remembered && counts(from) && (newest[i] == nil || !from.Version.Version.Before(newest[i].Version.Version)) {
			newest[i] = from
		}
		return nil
	})
	for _, from := range newest {
		if from != nil && slices.Contains(list, from.Version) {
			f(from)
		}
	}
	return err
}

// madeLabel is the label of what a feed has made in a collection, where it has.
func (x *posting) madeLabel(ctx context.Context, collection, id string) (label tlp.Level, made bool, err error) {
	raw, beside, err := x.View.Made(ctx, collection, id)
	if err != nil || raw == nil {
		return tlp.None, false, err
	}
	h, err := stix.ParseHead(raw)
	return max(h.KnownLabel(), beside), true, err
}
