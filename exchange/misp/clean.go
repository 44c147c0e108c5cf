package misp

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// The tags of a host that was reported clean, and of one that was seen again after that.
const (
	cleanTag   = `tocsin:state="clean"`
	relapseTag = `tocsin:state="relapse"`
)

// takeClean takes in the next record of hosts that are clean. Who has a host learns that it is, not from whom.
func (x *run) takeClean(ctx context.Context) (more bool, err error) {
	in, sequence, err := x.View.Cleaned(x.state.Cleaned)
	if err != nil || sequence == 0 {
		return false, err
	}
	x.state.Cleaned = sequence
	for i := range in.Cleaned {
		if err := x.clean(ctx, in.Feed, in.Cleaned[i].Address); err != nil {
			return false, err
		}
	}
	return true, nil
}

// clean makes the attributes of a host anew, of each day.
func (x *run) clean(ctx context.Context, feed string, a netip.Addr) error {
	host := hostKey(x.collection, feed, a)
	ids := slices.Clone(x.hosts[host])
	err := x.look.Each(host, func(id string, _ []byte) error {
		ids = append(ids, id)
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := x.again(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// markClean marks a host that was not seen since it was reported clean.
func (m *maker) markClean(a *attribute, o *object, at time.Time) {
	last, err := time.Parse(time.RFC3339Nano, cmp.Or(o.Last, o.From))
	if at.IsZero() || err != nil || last.After(at) {
		return
	}
	a.Tags = slices.DeleteFunc(a.Tags, func(t tag) bool { return t.Name == relapseTag })
	a.Tags = append(a.Tags, tag{Name: cleanTag})
	a.Sightings = append(a.Sightings, sighting{UUID: m.derived("misp-clean", o.ID), Type: "2", Date: strconv.FormatInt(at.Unix(), 10)})
}
