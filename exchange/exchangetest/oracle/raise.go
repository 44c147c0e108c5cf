package oracle

import "slices"

// raiseByOwner lets the own marking of an owner's object bind older versions and the same text in every collection (rule 3).
func (o *Oracle) raiseByOwner(it *item) {
	if it.own == none || it.own == unknown || it.observable {
		return
	}
	owner, owned := o.owner(it, it.member)
	there := versions(o.standing[it.collection], it.id)
	first := !owned && it.creator == "" && len(there) > 0 && there[0].member == it.member
	for name := range o.config.Collections {
		if owned && owner == it.member || first && name == it.collection {
			changed := o.raise(name, it.own, func(old *item) bool {
				return old.id == it.id && old.creator == it.creator &&
					(old.version.Before(it.version) || old.version.Equal(it.version) && old.same == it.same)
			})
			if slices.ContainsFunc(changed, func(old *item) bool { return old.member == it.member }) {
				at := place{it.member, name}
				if o.raised[at] == nil {
					o.raised[at] = map[string][]raising{}
				}
				o.raised[at][it.id] = append(o.raised[at][it.id], raising{it.version, it.own})
			}
		}
	}
}

// raiseByContext lets a report raise the unmarked objects that the same member posted before it (rule 4).
func (o *Oracle) raiseByContext(it *item) {
	kept := o.contexts[place{it.member, it.collection}][it.id]
	if it.own == unknown || len(kept) == 0 || it.version.Before(kept[0].version) {
		return
	}
	o.raise(it.collection, it.own, func(old *item) bool {
		return old.member == it.member && old.own == none && it.isContextOf(old)
	})
}

// raise gives what matches at least this label, or withdraws it where the ceiling is below.
func (o *Oracle) raise(collection string, label int, matches func(*item) bool) (changed []*item) {
	for _, it := range o.standing[collection] {
		if it.label < label && matches(it) {
			changed = append(changed, it)
		}
	}
	if o.config.Collections[collection].Ceiling < label {
		o.remove(collection, changed)
		return changed
	}
	for _, it := range changed {
		it.label = label
	}
	return changed
}

// remove takes versions away, and with them the same members' observables that nothing refers to any more.
func (o *Oracle) remove(collection string, gone []*item) {
	for len(gone) > 0 {
		left := slices.DeleteFunc(slices.Clone(o.standing[collection]), func(it *item) bool { return slices.Contains(gone, it) })
		o.standing[collection] = left
		var orphans []*item
		for _, it := range left {
			lost := slices.ContainsFunc(gone, func(g *item) bool { return g.member == it.member && g.refs[it.id] })
			held := slices.ContainsFunc(left, func(l *item) bool { return l != it && l.refs[it.id] })
			if it.observable && lost && !held {
				orphans = append(orphans, it)
			}
		}
		gone = orphans
	}
}

// keepContext keeps the newest version of each report; of several postings of it, all.
func (o *Oracle) keepContext(it *item) {
	if !it.isContext() {
		return
	}
	at := place{it.member, it.collection}
	if o.contexts[at] == nil {
		o.contexts[at] = map[string][]*item{}
	}
	kept := o.contexts[at][it.id]
	if len(kept) > 0 && it.version.Before(kept[0].version) {
		return
	}
	if len(kept) > 0 && it.version.After(kept[0].version) {
		kept = nil
	}
	if !slices.ContainsFunc(kept, func(old *item) bool { return old.text == it.text }) {
		kept = append(kept, it)
	}
	o.contexts[at][it.id] = kept
}

// contextOf is the highest own marking of the member's reports in this collection that refer to the object.
func (o *Oracle) contextOf(it *item) int {
	highest := none
	for _, kept := range o.contexts[place{it.member, it.collection}] {
		for _, context := range kept {
			if context.isContextOf(it) {
				highest = max(highest, o.ownMarking(context))
			}
		}
	}
	return highest
}

func (it *item) isContext() bool {
	return it.kind == "report" || it.kind == "grouping" || it.kind == "observed-data"
}

func (it *item) isContextOf(other *item) bool {
	return it.isContext() && it.refs[other.id] && (it.kind != "observed-data" || other.observable)
}
