package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Status is a webhook with its state, as its member and the operator see it.
type Status struct {
	exchange.Webhook
	// Condition is one word for it.
	Condition Condition `json:"condition"`
	State     State     `json:"state"`
	// Newest is the date_added of the last object in the collection.
	Newest time.Time `json:"newest,omitzero"`
}

// Condition is how a webhook is.
type Condition string

// The conditions: it is up to date or about to be, its receiver does not take what it is sent, or there is
// something that it did not take.
const (
	Good    Condition = "good"
	Failing Condition = "failing"
	Dead    Condition = "dead letters"
)

// Status returns how a webhook is.
func (s *Sender) Status(ctx context.Context, id string) (*Status, error) {
	return s.alter(ctx, id, nil)
}

// Resend has a webhook's dead letters sent again, and tries at once what waits.
func (s *Sender) Resend(ctx context.Context, id string) (*Status, error) {
	return s.hurry(ctx, id, func(st *State) error { st.resend(); return nil })
}

// ResendFrom has all sent again that was added behind an instant.
func (s *Sender) ResendFrom(ctx context.Context, id string, from time.Time) (*Status, error) {
	return s.hurry(ctx, id, func(st *State) error { return st.resendFrom(from, time.Now()) })
}

// hurry alters a webhook's state and has it looked at.
func (s *Sender) hurry(ctx context.Context, id string, f func(*State) error) (*Status, error) {
	st, err := s.alter(ctx, id, func(st *State) error {
		st.Node, st.Until = s.Node, time.Now().Add(s.Pace.lease()) // another that waits is not waited for
		return f(st)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	if h := s.hooks[id]; err == nil && h != nil {
		select {
		case h.poked <- struct{}{}:
		default:
		}
	}
	return st, err
}

// alter alters a webhook's state, where f is not nil, and returns how it is.
func (s *Sender) alter(ctx context.Context, id string, f func(*State) error) (*Status, error) {
	r := s.force.Load()
	w := r.Webhook(id)
	if w == nil {
		return nil, ErrUnknown
	}
	right := r.may(w)
	if right == nil {
		return &Status{Webhook: *w, Condition: Failing, State: State{Error: "the member may not read the collection"}}, nil
	}
	c := right.Collection()
	st, err := s.change(ctx, w, c, f)
	if err != nil {
		return nil, err
	}
	out := &Status{Webhook: *w, Condition: Good, State: *st, Newest: s.View.Stats(c.ID).Last}
	switch {
	case st.Failures > 0:
		out.Condition = Failing
	case slices.ContainsFunc(st.Dead, func(l Letter) bool { return !l.Again }):
		out.Condition = Dead
	}
	return out, nil
}

// ErrBusy means that the webhook is being pinged.
var ErrBusy = errors.New("another ping is under way")

// Ping sends a webhook a doorbell that is of nothing, once, and returns what its receiver does not like.
func (s *Sender) Ping(ctx context.Context, id string) error {
	r := s.force.Load()
	w := r.Webhook(id)
	if w == nil {
		return ErrUnknown
	}
	if _, busy := s.pings.LoadOrStore(id, true); busy {
		return ErrBusy
	}
	defer s.pings.Delete(id)
	h := &hook{Sender: s, Webhook: *w, client: s.client(w)}
	defer h.client.close()
	return h.client.send(ctx, h.sealed(r, h.ping()), 0, func() error { return nil })
}

// Keys are the keys of a member's webhooks, in the form of Standard Webhooks, the one in force first.
func (s *Sender) Keys(r *exchange.Register, member string) (list []string, err error) {
	m := r.Member(member)
	if m == nil {
		return nil, errors.New("no such member")
	}
	for _, key := range r.WebhookKeys(s.Secret, m) {
		list = append(list, "whsec_"+base64.StdEncoding.EncodeToString(key))
	}
	return list, nil
}
