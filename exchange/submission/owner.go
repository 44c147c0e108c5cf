package submission

import (
	"context"
	"fmt"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// owner tells whose object it is, as the poster may know it. What is derived is the exchange's, also where it names another creator.
func (r *Request) owner(id, creator string) (o policy.Owner, derived bool) {
	identity := strings.HasPrefix(id, "identity--")
	if identity && r.Speaks(id) {
		return policy.Poster, false
	}
	switch derived = r.Derived(id); {
	case derived, identity && r.Others(id):
		return policy.Another, derived
	case creator == "":
		return policy.Nobody, false
	case r.Speaks(creator):
		return policy.Poster, false
	case r.Others(creator):
		return policy.Another, false
	}
	return policy.ThirdParty, false
}

// there is what the poster may know of the versions of an object in the request's collection.
type there struct {
	standing []policy.Standing
	at       map[record.Version]int // where a version that stands is among them
	others   bool                   // others have posted it, which the poster may not know
	isNew    bool                   // nobody has
	all      []*record.Posted       // in all collections
}

// knownOf finds what the poster may know of some objects.
func (x *posting) knownOf(ids []string) (map[string]*there, error) {
	known := make(map[string]*there, len(ids))
	for _, id := range ids {
		known[id] = &there{at: make(map[record.Version]int), isNew: true}
	}
	err := x.View.Posted(ids, func(i int, p *record.Posted) error {
		k := known[ids[i]]
		k.all = append(k.all, p)
		if p.Collection != x.collection {
			return nil
		}
		mine := x.mine(p, x.By)
		switch {
		case p.Remembered && mine:
			k.standing = append(k.standing, policy.Standing{Version: p.Version.Version, Label: p.Label, Remembered: true})
		case p.Remembered:
		case x.reads || mine:
			k.isNew = false
			k.add(p.Version, policy.Standing{Version: p.Version.Version, Label: p.Label, Creator: p.Creator, Mine: mine})
		default:
			k.isNew, k.others = false, true
		}
		return nil
	})
	return known, err
}

func (k *there) add(v record.Version, s policy.Standing) {
	k.at[v] = len(k.standing)
	k.standing = append(k.standing, s)
}

// admit decides what becomes of some objects of the request.
func (x *posting) admit(ctx context.Context, start, end int) error {
	known, err := x.knownOf(idsOf(x.objects[start:end]))
	if err != nil {
		return err
	}
	x.fresh = make(map[record.Version][]byte)
	for i := start; i < end; i++ {
		o := x.objects[i]
		if o == nil || x.results[i].Problem != "" || o.dropped {
			continue
		}
		k := known[o.head.ID]
		why, err := x.admit1(ctx, o, k)
		if err == nil && why == "" && o.held {
			why, err = x.quarantine(ctx, o, &x.results[i])
		}
		if err != nil {
			return err
		}
		if x.results[i].Problem = why; why == "" && !o.there && !o.dropped && o.label <= x.Ceiling(x.collection) {
			// What follows in the same block may be another version of it, or the same.
			k.add(o.version, policy.Standing{Version: o.version.Version, Label: o.label, Creator: o.head.CreatedByRef, Mine: true})
			x.fresh[o.version], k.isNew = o.raw, false
		}
	}
	return nil
}

// admit1 decides what becomes of one. why says the reason where it is refused.
func (x *posting) admit1(ctx context.Context, o *object, k *there) (why string, err error) {
	o.owner, o.derived = x.owner(o.head.ID, o.head.CreatedByRef)
	o.isNew = k.isNew
	// An identity is its member's, also where it names another creator.
	speaks := o.owner == policy.Poster && (o.head.Type != "identity" || x.Speaks(o.head.CreatedByRef))
	e := policy.Entry{
		Owner: o.owner, Creator: o.head.CreatedByRef, Speaks: speaks, Versioned: o.head.Versioned(), Version: o.version.Version, Label: o.label,
		Operator: x.Relays(), Reads: x.reads, Derived: o.derived, Standing: k.standing, Others: k.others, Ceiling: x.Ceiling(x.collection),
	}
	if at, stands := k.at[o.version]; stands {
		if o.same, err = x.isSame(ctx, o, x.collection); err != nil {
			return "", err
		}
		k.standing[at].Same = o.same
		defer func() { k.standing[at].Same = false }()
	}
	if e.Owner == policy.Another && !x.Relays() {
		if e.Elsewhere, err = x.readElsewhere(ctx, o, k.all); err != nil {
			return "", err
		}
	}
	a, label, why := policy.Admit(&e)
	o.label = label
	switch a {
	case policy.Refuse:
		return why, nil
	case policy.Drop:
		o.dropped = true
		x.tell(exchange.AuditEntry{Action: exchange.AuditRefused, Member: x.By, Collection: x.collection, Count: 1, Detail: o.head.Type + ": another member's object of this id stands there"})
	case policy.Present:
		o.there = true
	case policy.Store:
	}
	o.held = o.label == tlp.Unknown && (!o.there || !x.reads)
	o.raises = o.own.Valid() && !o.held && o.head.Versioned() && (o.owner == policy.Poster || o.owner == policy.Nobody)
	return "", nil
}

// isSame tells whether a collection has an object's version in the same words.
func (x *posting) isSame(ctx context.Context, o *object, collection string) (bool, error) {
	if raw, fresh := x.fresh[o.version]; fresh && collection == x.collection {
		return stix.Same(raw, o.raw), nil
	}
	have, err := x.View.Object(ctx, collection, o.version)
	return have != nil && stix.Same(have, o.raw), err
}

// readElsewhere is the lowest label under which the member reads an object's version in the same words, None where it
// does not.
func (x *posting) readElsewhere(ctx context.Context, o *object, known []*record.Posted) (lowest tlp.Level, err error) {
	take := func(collection string, label tlp.Level) error {
		same, err := x.isSame(ctx, o, collection)
		if same && (lowest == tlp.None || label < lowest) {
			lowest = label
		}
		return err
	}
	for _, p := range known {
		if !p.Remembered && p.Version == o.version && x.Reads(p.Collection) {
			if err := take(p.Collection, p.Label); err != nil {
				return lowest, err
			}
		}
	}
	if !o.derived {
		return lowest, nil
	}
	for _, c := range x.Readable() {
		label, made, err := x.madeLabel(ctx, c, o.head.ID)
		if err == nil && made {
			err = take(c, max(label, tlp.Clear))
		}
		if err != nil {
			return lowest, err
		}
	}
	return lowest, nil
}

// aboveCeiling says why a collection does not take a label.
func aboveCeiling(label, ceiling tlp.Level) string {
	return fmt.Sprintf("it is labelled TLP:%s, and this collection takes up to TLP:%s", strings.ToUpper(label.String()), strings.ToUpper(ceiling.String()))
}
