package register

import (
	"context"
	"fmt"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
)

// maxWebhooks bounds what is under way at a time, each of which may hold a bundle.
const maxWebhooks = 1000

// webhooks checks that each is of a member who may be given what is in its collection.
func (c *checker) webhooks(r *exchange.Register) {
	if len(r.Webhooks) > maxWebhooks {
		c.add("there are %d webhooks; an exchange has at most %d", len(r.Webhooks), maxWebhooks)
	}
	if len(r.Webhooks) == 0 {
		return
	}
	collections, soon, before := r.CollectionsByID(), time.Now().Add(time.Minute), ""
	for i := range r.Webhooks {
		w := &r.Webhooks[i]
		if err := exchange.ValidID(w.ID); err != nil {
			c.add("webhook: %v", err)
		}
		if i > 0 && w.ID == before {
			c.add("webhook %s is there twice", w.ID)
		}
		before = w.ID
		if wrong := w.Problem(); wrong != "" {
			c.add("webhook %s: %s", w.ID, wrong)
		}
		if w.Created.After(soon) || w.Changed.After(soon) {
			c.add("webhook %s: created or changed is in the future: leave both out", w.ID)
		}
		switch to := collections[w.Collection]; {
		case r.Member(w.Member) == nil:
			c.add("webhook %s: there is no member %.60q", w.ID, w.Member)
		case to == nil:
			c.add("webhook %s: there is no collection %.60q", w.ID, w.Collection)
		case !policy.MayTake(r, exchange.As(w.Member), to):
			c.add("webhook %s: %s may not read the collection %s, or nothing of it may leave so", w.ID, w.Member, w.Collection)
		}
	}
}

// NewWebhookKey makes the key of a member's webhooks anew.
func (s *Store) NewWebhookKey(ctx context.Context, actor, member string) (*exchange.Register, error) {
	return s.Change(ctx, actor, func(r *exchange.Register) error {
		if r.Member(member) == nil {
			return &Invalid{Problems: []string{fmt.Sprintf("there is no member %.60q", member)}}
		}
		if r.KeysMade == nil {
			r.KeysMade = make(map[string]uint64)
		}
		r.KeysMade[member]++
		return nil
	})
}
