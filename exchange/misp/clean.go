package misp

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
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
	days, err := x.View.HostDays(feed, a)
	if err != nil {
		return err
	}
	for _, day := range days {
		for _, f := range x.byID(feed) {
			id := f.ObjectID(f.HostObject(), exchange.HostDay{Address: a, Day: day})
			_, known, err := x.slotOf(id)
			if err == nil && known {
				_, err = x.again(ctx, id)
			}
			if err != nil {
				return err
			}
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

// byID are the feed of an id, as its objects say and said who they are of.
func (m *maker) byID(id string) (list []*exchange.Feed) {
	for _, of := range m.feeds {
		for _, f := range of {
			if f.ID == id {
				list = append(list, f)
			}
		}
	}
	return list
}
