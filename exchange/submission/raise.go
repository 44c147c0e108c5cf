package submission

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A label is raised by the owner, who posts a version with a higher one anywhere, and by a report that comes behind what
// it refers to. Where the collection's ceiling is below, what has got the label leaves; else it leaves its place and is
// added again at the end, newly marked, so that followers see it. References are not followed further.

// raising is what has got a higher label in one collection.
type raising struct {
	collection string
	label      tlp.Level
	versions   []record.Version
	// remember is the version up to which the member's own have the label from now on; its zero value is none.
	remember record.Version
}

// raiseHere raises, in the request's collection, what the member's objects and reports say.
func (x *posting) raiseHere(ctx context.Context) error {
	raisers, err := x.raisers()
	if err != nil {
		return err
	}
	for _, of := range raisers {
		list, err := x.older(ctx, of)
		if err != nil {
			return err
		}
		for j := range list {
			if r := &list[j]; r.collection == x.collection {
				if err := x.raise(ctx, r); err != nil {
					return err
				}
			}
		}
	}
	return x.raiseSaid(ctx)
}

// raiseSaid raises what the reports of the request say.
func (x *posting) raiseSaid(ctx context.Context) error {
	said, ofObservables := make(map[string]tlp.Level), make(map[string]tlp.Level)
	var ids []string
	for id, s := range x.contexts.Reports {
		if !s.here {
			continue
		}
		to := said
		if !ofAll(id) {
			to = ofObservables
		}
		for _, of := range s.Of {
			if own := x.said(&of); own.Valid() {
				for _, ref := range of.Refs {
					to[ref] = max(to[ref], own)
				}
				ids = append(ids, of.Refs...)
			}
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	to := make(map[tlp.Level]*raising)
	err := x.View.Posted(ids, func(i int, p *record.Posted) error {
		label := said[ids[i]]
		if unversioned(p.Version) {
			label = max(label, ofObservables[ids[i]])
		}
		if p.Collection == x.collection && !p.Remembered && p.Own == tlp.None && p.Label < label && x.mine(p, x.By) {
			if to[label] == nil {
				to[label] = &raising{collection: x.collection, label: label}
			}
			to[label].versions = append(to[label].versions, p.Version)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, label := range tlp.Levels() {
		if r := to[label]; r != nil {
			if err := x.raise(ctx, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// raisers are the objects of the request that may raise what stands, those of an id together. Most raise nothing: one look
// at the view finds that.
func (x *posting) raisers() (list [][]*object, err error) {
	at := make(map[string]int)
	var ids []string
	for _, o := range x.objects {
		if o == nil || !o.raises {
			continue
		}
		i, known := at[o.head.ID]
		if !known {
			i = len(list)
			at[o.head.ID], list, ids = i, append(list, nil), append(ids, o.head.ID)
		}
		list[i] = append(list[i], o)
	}
	lower := make(map[string]bool)
	err = x.View.Posted(ids, func(i int, p *record.Posted) error {
		if !p.Remembered && slices.ContainsFunc(list[i], func(o *object) bool { return p.Label < o.own }) {
			lower[ids[i]] = true
		}
		return nil
	})
	return slices.DeleteFunc(list, func(of []*object) bool { return !lower[of[0].head.ID] }), err
}

// older lists the versions of an object that have got a higher label with some that its owner has posted, by collection
// and label.
func (x *posting) older(ctx context.Context, of []*object) (list []raising, err error) {
	var standing []*record.Posted
	mineHere, othersHere := false, false
	err = x.View.Posted([]string{of[0].head.ID}, func(_ int, p *record.Posted) error {
		if !p.Remembered {
			standing = append(standing, p)
			here, mine := p.Collection == x.collection, x.mine(p, x.By)
			mineHere, othersHere = mineHere || here && mine, othersHere || here && !mine
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if !mineHere || x.Relays() && othersHere {
		// What is nobody's is of who has posted it first here; beside that one only the operator posts versions of it.
		of = slices.DeleteFunc(slices.Clone(of), func(o *object) bool { return o.owner == policy.Nobody })
	}
	for _, p := range standing {
		by, err := x.raisedBy(ctx, p, of)
		if err != nil {
			return nil, err
		}
		if by == nil {
			continue
		}
		i := slices.IndexFunc(list, func(r raising) bool { return r.collection == p.Collection && r.label == by.own })
		if i < 0 {
			i = len(list)
			list = append(list, raising{collection: p.Collection, label: by.own})
		}
		r := &list[i]
		if r.versions = append(r.versions, p.Version); x.mine(p, x.By) && !by.version.Version.Before(r.remember.Version) {
			r.remember = by.version
		}
	}
	return list, nil
}

// raisedBy is which of its owner's objects gives a version the highest label, nil for none.
func (x *posting) raisedBy(ctx context.Context, p *record.Posted, of []*object) (by *object, err error) {
	for _, o := range of {
		if p.Label >= o.own || by != nil && by.own >= o.own || p.Version.Version.After(o.version.Version) || p.Creator != o.head.CreatedByRef ||
			o.owner == policy.Nobody && p.Collection != x.collection {
			continue
		}
		if p.Version.Version.Equal(o.version.Version) {
			same, err := x.isSame(ctx, o, p.Collection)
			if err != nil {
				return nil, err
			}
			if !same {
				continue
			}
		}
		by = o
	}
	return by, nil
}

// raiseElsewhere raises what the member's objects say in other collections, until nothing is left: copies of others may
// have come meanwhile. And it takes a copy of another member's object out again, where its owner has raised that
// meanwhile: of two that cross, one sees the other.
func (x *posting) raiseElsewhere(ctx context.Context) error {
	for _, o := range x.objects {
		if o != nil && o.owner == policy.Another && o.stored && !x.Relays() {
			if err := x.recheck(ctx, o); err != nil {
				return err
			}
		}
	}
	raisers, err := x.raisers()
	if err != nil {
		return err
	}
	for _, of := range raisers {
		for {
			list, err := x.older(ctx, of)
			if err != nil {
				return err
			}
			if len(list) == 0 {
				break
			}
			for j := range list {
				if err := x.in(ctx, list[j].collection, func() error { return x.raise(ctx, &list[j]) }); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// recheck looks whether what was copied can still be read under the label that the copy has.
func (x *posting) recheck(ctx context.Context, o *object) error {
	var known []*record.Posted
	err := x.View.Posted([]string{o.head.ID}, func(_ int, p *record.Posted) error {
		if p.Collection != x.collection {
			known = append(known, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	label, err := x.readElsewhere(ctx, o, known)
	if err != nil || label != tlp.None && label <= o.label {
		return err
	}
	if label == tlp.None {
		label = tlp.Unknown
	}
	return x.in(ctx, x.collection, func() error {
		return x.raise(ctx, &raising{collection: x.collection, label: label, versions: []record.Version{o.version}})
	})
}

// raise takes versions out of a collection, whose turn the caller has, that have got a higher label, and adds them again
// under that where the ceiling is not below.
func (x *posting) raise(ctx context.Context, r *raising) error {
	x.Gate.RLock()
	defer x.Gate.RUnlock()
	ids, versions := make([]string, 0, len(r.versions)), make(map[record.Version]bool)
	for _, v := range r.versions {
		ids, versions[v] = append(ids, v.ID), true
	}
	slices.Sort(ids)
	var there []record.Posted
	err := x.View.Posted(slices.Compact(ids), func(_ int, p *record.Posted) error {
		if p.Collection == r.collection && !p.Remembered && versions[p.Version] && p.Label < r.label {
			there = append(there, *p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for part := range slices.Chunk(there, maxPostObjects) {
		if r.label > x.Ceiling(r.collection) {
			err = x.withdraw(ctx, r, part)
		} else {
			err = x.markAnew(ctx, r, part)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// withdraw takes versions out of a collection for good.
func (x *posting) withdraw(ctx context.Context, r *raising, list []record.Posted) error {
	out, err := x.told(r.collection, list)
	if err != nil {
		return err
	}
	orphans, err := x.orphans(ctx, x.Rules, r.collection, list)
	if err != nil {
		return err
	}
	out.Withdrawn = append(out.Withdrawn, orphans...)
	if r.remember.ID != "" {
		out.Remembered = []record.Remembered{{Version: r.remember, Label: r.label}}
	}
	if err := x.takeOut(ctx, r.collection, &out); err != nil {
		return err
	}
	x.tell(exchange.AuditEntry{
		Action: exchange.AuditWithdrawn, Member: x.By, Collection: r.collection, Count: int64(len(list)),
		Detail: fmt.Sprintf("%s is TLP:%s now", typeOf(list[0].ID), strings.ToUpper(r.label.String())), // an id can tell an address
	})
	return nil
}
