package submission

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Again is what a collection's versions, which members have posted, got a higher label for after a moment that the collection is
// taken back to: they are taken out, and added again as they were then.
type Again struct {
	raised []version
}

// version is one that was taken out to be added again, and how it was.
type version struct {
	record.Version
	again *againObject // nil until it was
	stood bool         // at the moment
}

func (a *Again) find(v record.Version) *version {
	if a == nil {
		return nil
	}
	i := slices.IndexFunc(a.raised, func(x version) bool {
		return x.ID == v.ID && x.SpecVersion == v.SpecVersion && x.Version.Version.Equal(v.Version)
	})
	if i < 0 {
		return nil
	}
	return &a.raised[i]
}

// Took takes in what a control block has taken out, in the order of these.
func (a *Again) Took(r *record.Removal) {
	for _, v := range slices.Concat(r.Versions, r.Withdrawn) {
		if x := a.find(v); x != nil {
			x.again = nil
		}
	}
	for _, v := range r.Raised {
		if a.find(v) == nil {
			a.raised = append(a.raised, version{Version: v})
		}
	}
}

// Any tells whether anything was taken out to be added again.
func (a *Again) Any() bool { return a != nil && len(a.raised) > 0 }

// Added takes in what a block has added since.
func (a *Again) Added(b *record.Block, text []byte) error {
	return a.each(b, text, func(x *version, i int, raw []byte) {
		label, own := record.UnpackLabels(b.Labels[i])
		if b.Labels[i]&record.Marked != 0 {
			label, own = record.UnpackLabels(b.Labels[i] &^ record.Marked)
			raw = stix.Unmark(raw, label)
		}
		x.again = &againObject{x.Version, label, own, b.By, slices.Clone(raw)}
	})
}

// Stood takes in what a block had at the moment.
func (a *Again) Stood(b *record.Block, text []byte) error {
	return a.each(b, text, func(x *version, _ int, _ []byte) { x.stood = true })
}

// each calls f with those objects of a block that were raised.
func (a *Again) each(b *record.Block, text []byte, f func(x *version, i int, raw []byte)) error {
	if !a.Any() || b.By == "" {
		return nil
	}
	i := 0
	return stix.Objects(text, func(raw []byte) error {
		for i < b.Count && !b.Has(i) {
			i++
		}
		v, err := versionOf(raw)
		if x := a.find(v); err == nil && x != nil && i < len(b.Labels) {
			f(x, i, raw)
		}
		i++
		return err
	})
}

// Keep has Finish add again what stood at the moment.
func (a *Again) Keep(ctx context.Context, log interface {
	Kept(ctx context.Context, id string) ([]byte, bool, error)
	SetKept(ctx context.Context, id string, text []byte) error
}, collection string,
) error {
	var all again
	text, found, err := log.Kept(ctx, againKey(collection))
	if err == nil && found && len(text) > 0 {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return err
	}
	had := len(all.Objects)
	for _, x := range a.raised {
		if x.stood && x.again != nil && x.again.Label > tlp.None {
			all.Objects = append(all.Objects, *x.again)
		}
	}
	if len(all.Objects) == had {
		return nil
	}
	if text, err = json.Marshal(&all); err != nil {
		return err
	}
	return log.SetKept(ctx, againKey(collection), text)
}
