package webhook

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// hook is a webhook that is sent. It ends when the register says another thing of it.
type hook struct {
	*Sender
	exchange.Webhook
	client *client
	poked  chan struct{} // its room is one
	stop   context.CancelFunc
	done   chan struct{}
}

// run delivers until ctx ends.
func (h *hook) run(ctx context.Context) {
	defer close(h.done)
	defer h.client.close()
	defer h.release()
	for ctx.Err() == nil {
		r, replaced := h.force.Watch()
		until, changed, err := h.step(ctx, r)
		if err != nil && ctx.Err() == nil {
			if !errors.Is(h.View.Note(err), view.ErrDamaged) { // which is in the log, once
				h.Log.Error("a webhook is not sent", "webhook", h.ID, "error", err)
			}
			until = time.Now().Add(time.Minute)
		}
		var due <-chan time.Time
		if !until.IsZero() {
			due = time.After(time.Until(until))
		}
		select {
		case <-due:
		case <-changed:
		case <-replaced:
		case <-h.poked:
		case <-ctx.Done():
		}
	}
}

// release gives the turn to send to who wants it.
func (h *hook) release() {
	c := h.force.Load().collections[h.Collection]
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, _ = h.change(ctx, &h.Webhook, c, func(st *State) error { // else they wait for its end
		if st.Node == h.Node {
			st.Node, st.Until = "", time.Time{}
		}
		return nil
	})
}

// step makes the delivery that is due, if there is one. The next is due at an instant, or when changed is
// closed.
func (h *hook) step(ctx context.Context, r *inForce) (until time.Time, changed <-chan struct{}, err error) {
	right := r.may(&h.Webhook)
	if w := r.Webhook(h.ID); right == nil || w == nil || !reflect.DeepEqual(*w, h.Webhook) {
		return until, nil, nil // until the register is replaced, or this ended
	}
	c := right.Collection()
	changed = h.View.Changed(c.ID)
	mine := false
	st, err := h.change(ctx, &h.Webhook, c, func(st *State) error {
		mine = st.take(h.Node, time.Now(), h.Pace.lease())
		return nil
	})
	switch {
	case err != nil:
		return until, nil, err
	case !mine:
		return st.Until, nil, nil
	}
	letter, fresh, later := st.choose(time.Now())
	if letter == nil && !fresh {
		return later, nil, nil
	}
	d, err := h.due(ctx, r, right, st, letter, fresh)
	switch {
	case err != nil:
		return until, nil, err
	case d == nil && st.Failures == 0 || !fresh && d == nil:
		return later, changed, nil
	case d == nil: // what had failed is there no longer
		_, err = h.change(ctx, &h.Webhook, c, func(st *State) error { st.well(); return nil })
		return later, changed, err
	}
	var failed error
	if d.kind != nothing {
		failed = h.send(ctx, r, d)
		var ours *stopped
		switch {
		case errors.Is(failed, errStale):
			return time.Now().Add(h.Pace.Least), nil, nil // it is made anew
		case errors.As(failed, &ours):
			return until, nil, failed
		case failed != nil && ctx.Err() != nil:
			return until, nil, ctx.Err() // it was not the receiver
		}
	}
	until = time.Now()
	if d.kind == doorbell && !d.more {
		until = until.Add(h.Pace.Gap)
	}
	return until, nil, h.conclude(context.WithoutCancel(ctx), c, d, failed)
}

// conclude keeps what came of a delivery.
func (h *hook) conclude(ctx context.Context, c *exchange.Collection, d *delivery, failed error) error {
	died := false
	st, err := h.change(ctx, &h.Webhook, c, func(st *State) error {
		if died = false; st.Node != h.Node || !st.stands(d) {
			return nil // somebody was faster
		}
		switch {
		case failed != nil:
			died = st.failed(d, failed, time.Now(), &h.Pace)
		case d.kind == nothing:
			st.pass(d)
		default:
			st.taken(d, time.Now())
		}
		return nil
	})
	if err == nil && (died || failed != nil && st.Failures == 1) {
		h.Log.Warn("a webhook is not taken", "webhook", h.ID, "error", failed, "dead_letter", died)
	}
	return err
}

// send sends a delivery. Each try looks again whether it may leave when there is a connection, since a label
// can have been raised, or a right ended, since it was made: errStale.
func (h *hook) send(ctx context.Context, r *inForce, d *delivery) error {
	var told sync.Once
	return h.client.send(ctx, h.sealed(r, d), h.Pace.Retries, func() error {
		if err := h.holds(ctx, d); err != nil {
			return err
		}
		if d.kind == bundle {
			told.Do(func() {
				h.Audit(exchange.AuditEntry{
					Action: exchange.AuditRead, Member: h.Member, Channel: exchange.ChannelWebhook, Collection: h.Collection, First: d.from, Last: d.to, Count: int64(d.count), Detail: "webhook " + h.ID,
				})
			})
		}
		return nil
	})
}
