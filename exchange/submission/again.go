package submission

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// again is what is kept (Log.SetKept) while versions are taken out and added again, so that what is cut short between the
// two can be finished.
type again struct {
	Objects []againObject `json:"objects"`
}

type againObject struct {
	Version record.Version  `json:"version"`
	Label   tlp.Level       `json:"label"`
	Own     tlp.Level       `json:"own"`
	By      string          `json:"by"`
	Raw     json.RawMessage `json:"raw"`
}

func againKey(collection string) string { return "again-" + collection }

// markAnew takes versions out of a collection and adds them again at its end under a higher label, each as posted by who
// had posted it.
func (x *posting) markAnew(ctx context.Context, r *raising, list []record.Posted) error {
	var a again
	out := record.Removal{}
	if r.remember.ID != "" {
		out.Remembered = []record.Remembered{{Version: r.remember, Label: r.label}}
	}
	for _, p := range list {
		raw, err := x.View.Object(ctx, r.collection, p.Version)
		if err != nil {
			return err
		}
		if raw == nil {
			return fmt.Errorf("raise a label in %s: a version that was posted is not there", r.collection)
		}
		if p.Marked {
			raw = stix.Unmark(raw, p.Label)
		}
		a.Objects = append(a.Objects, againObject{p.Version, r.label, p.Own, p.By, raw})
		out.Raised = append(out.Raised, p.Version)
	}
	text, err := json.Marshal(&a)
	if err != nil {
		return err
	}
	if err := x.Log.SetKept(ctx, againKey(r.collection), text); err != nil {
		return err
	}
	if err := x.takeOut(ctx, r.collection, &out); err != nil {
		return err
	}
	return x.addAgain(ctx, r.collection, &a)
}

// addAgain adds what was taken out, where it is not there.
func (p *Poster) addAgain(ctx context.Context, collection string, a *again) error {
	for _, o := range a.Objects {
		have, err := p.View.Object(ctx, collection, o.Version)
		if err != nil {
			return err
		}
		if have != nil {
			continue
		}
		b := &block{Poster: p, post: record.Post{Share: record.Share{Collection: collection}, By: o.By}}
		h, err := stix.ParseHead(o.Raw)
		if err != nil {
			return err
		}
		if err := b.add(ctx, record.Object{ID: o.Version.ID, Raw: o.Raw}, o.Label, o.Own, h.KnownLabel()); err != nil {
			return err
		}
		if _, err := p.write(ctx, &b.post); err != nil {
			return err
		}
	}
	return p.Log.SetKept(ctx, againKey(collection), nil)
}

// Finish ends what was cut short when the exchange stopped: what was taken out of the collections and not added again.
func (p *Poster) Finish(ctx context.Context, collections []string) error {
	for _, c := range collections {
		err := p.in(ctx, c, func() error {
			text, found, err := p.Log.Kept(ctx, againKey(c))
			if err != nil || !found || len(text) == 0 {
				return err
			}
			var a again
			if err := json.Unmarshal(text, &a); err != nil {
				return err
			}
			p.Gate.RLock()
			defer p.Gate.RUnlock()
			return p.addAgain(ctx, c, &a)
		})
		if err != nil && !errors.Is(err, exchange.ErrClosed) {
			return fmt.Errorf("finish what was cut short in %s: %w", c, err)
		}
	}
	return nil
}
