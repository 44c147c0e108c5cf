package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Store keeps the states of webhooks, on all nodes. journal.Journal is the one there is.
type Store interface {
	// ChangeState changes a text under a key; change gets nil where there is none, and leaves it by
	// returning nil.
	ChangeState(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error
}

// State is how far a webhook is, and how it goes. Times of objects are their date_added.
type State struct {
	// Created, Changed and Collection are those of the webhook and its collection, by UUID: for others it
	// starts anew.
	Created    time.Time `json:"created"`
	Changed    time.Time `json:"changed"`
	Collection string    `json:"collection"`
	// All up to After was taken by the receiver, or is in Dead, but for what was there before the webhook.
	After time.Time `json:"after"`
	// Taken counts deliveries, the last of which was at Last.
	Taken int64     `json:"taken"`
	Last  time.Time `json:"last,omitzero"`
	// Failures counts what came to nothing since something was taken, or nothing was due; Error is what came
	// of the last, Failing since when it is so, and Next when it is tried again.
	Failures int       `json:"failures,omitempty"`
	Error    string    `json:"error,omitempty"`
	Failing  time.Time `json:"failing,omitzero"`
	Next     time.Time `json:"next,omitzero"`
	// Tries counts failures of the delivery that is due, since Trying; Refusals are those at its end that were
	// refusals.
	Tries    int       `json:"tries,omitempty"`
	Trying   time.Time `json:"trying,omitzero"`
	Refusals int       `json:"refusals,omitempty"`
	Dead     []Letter  `json:"dead,omitempty"`
	// Turn says that it is a dead letter's turn, if one is to be sent again. Rounds counts who asked for that.
	Turn   bool `json:"turn,omitempty"`
	Rounds int  `json:"rounds,omitempty"`
	// Node is the one that sends, until Until.
	Node  string    `json:"node,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// Letter is a part of a collection that the receiver did not take and that is not sent by itself any more:
// what was added behind After, up to To.
type Letter struct {
	After time.Time `json:"after"`
	To    time.Time `json:"to"`
	Count int       `json:"count"` // of objects that it was found with, 0 where somebody named the time
	Error string    `json:"error,omitempty"`
	At    time.Time `json:"at"`
	// Again says that it is to be sent again, in a round of its own, so that its deliveries have other names than
	// before. It has failed Tries times since then, and is tried again at Next.
	Again bool      `json:"again,omitempty"`
	Round int       `json:"round,omitempty"`
	Tries int       `json:"tries,omitempty"`
	Next  time.Time `json:"next,omitzero"`
}

// maxLetters bounds the dead letters of a webhook; where there would be more, two become one, which has
// what lies between them too.
const maxLetters = 100

var (
	// ErrUnknown means that there is no such webhook.
	ErrUnknown = errors.New("no such webhook")
	// ErrNothing means that nothing was added behind an instant that has been sent.
	ErrNothing = errors.New("nothing behind that time has been sent yet")
	// errOlder means that another node knows a later webhook of the same id.
	errOlder = errors.New("the register has not come here yet")
)

func stateKey(w *exchange.Webhook) string { return "webhook." + w.ID }

// parse reads a state, or makes that of a webhook which has not been sent anything.
func parse(text []byte, w *exchange.Webhook, c *exchange.Collection) (*State, error) {
	st := new(State)
	if text != nil {
		if err := json.Unmarshal(text, st); err != nil {
			return nil, fmt.Errorf("state of webhook %s: %w", w.ID, err)
		}
	}
	start := w.Created
	switch {
	case text == nil:
	case st.Created.Equal(w.Created) && st.Collection == c.UUID:
		if w.Changed.After(st.Changed) { // maybe mended
			st.well()
			st.Changed = w.Changed
		}
		return st, nil
	case st.Changed.After(w.Changed):
		return nil, errOlder
	case st.Created.Equal(w.Created):
		start = w.Changed
	}
	return &State{Created: w.Created, Changed: w.Changed, Collection: c.UUID, After: start}, nil
}

// change changes the state of a webhook, unless f is nil, and returns what it is then.
func (s *Sender) change(ctx context.Context, w *exchange.Webhook, c *exchange.Collection, f func(*State) error) (st *State, err error) {
	err = s.Store.ChangeState(ctx, stateKey(w), func(old []byte) ([]byte, error) {
		if st, err = parse(old, w, c); err != nil {
			return nil, err
		}
		if f == nil {
			return nil, nil // it is looked at
		}
		if err := f(st); err != nil {
			return nil, err
		}
		text, err := json.Marshal(st)
		if err != nil || string(text) == string(old) {
			return nil, err
		}
		return text, nil
	})
	return st, err
}

// take takes the turn to send, unless another node has it.
func (st *State) take(node string, now time.Time, lease time.Duration) (mine bool) {
	if st.Node != node && now.Before(st.Until) {
		return false
	}
	if st.Node != node || st.Until.Sub(now) < lease/2 {
		st.Node, st.Until = node, now.Add(lease)
	}
	return true
}

// letter returns the dead letter that a delivery is of, nil where it is of none or that has changed meanwhile.
func (st *State) letter(d *delivery) *Letter {
	i := slices.IndexFunc(st.Dead, func(l Letter) bool { return d.again && l.Again && l.After.Equal(d.after) })
	if i < 0 {
		return nil
	}
	return &st.Dead[i]
}

// stands tells whether a delivery is still the one that is due.
func (st *State) stands(d *delivery) bool {
	return d.again && st.letter(d) != nil || !d.again && st.After.Equal(d.after)
}

// choose returns the dead letter that is due to be sent again, nil for none, and whether something new may be
// sent; where neither is so, next is when it will be, zero for never.
func (st *State) choose(now time.Time) (l *Letter, fresh bool, next time.Time) {
	if fresh = !st.Next.After(now); !fresh {
		next = st.Next
	}
	for i := range st.Dead {
		switch o := &st.Dead[i]; {
		case !o.Again:
		case !o.Next.After(now):
			return o, fresh, next
		case next.IsZero() || o.Next.Before(next):
			next = o.Next
		}
	}
	return nil, fresh, next
}

// taken moves on behind a delivery.
func (st *State) taken(d *delivery, now time.Time) {
	if !d.again {
		st.well()
	}
	st.Taken, st.Last = st.Taken+1, now
	st.pass(d)
}

// well forgets that anything has failed.
func (st *State) well() {
	st.Failures, st.Error, st.Failing, st.Next = 0, "", time.Time{}, time.Time{}
	st.Tries, st.Trying, st.Refusals = 0, time.Time{}, 0
}

// pass moves on behind what a delivery reaches.
func (st *State) pass(d *delivery) {
	if st.Turn = !d.again; !d.again {
		st.Tries, st.Trying, st.Refusals = 0, time.Time{}, 0
		st.After = d.reached
		return
	}
	l := st.letter(d)
	l.Tries, l.Next = 0, time.Time{}
	if l.After = d.reached; !l.After.Before(l.To) {
		st.Dead = slices.DeleteFunc(st.Dead, func(o Letter) bool { return !o.After.Before(o.To) })
	}
}

// failed remembers that a delivery was not taken. One that the receiver refuses again and again, or that it
// could not take for days, becomes a dead letter.
func (st *State) failed(d *delivery, err error, now time.Time, p *Pace) (died bool) {
	if d.again {
		return st.failedAgain(d, err, now, p)
	}
	if st.Failures++; st.Failures == 1 {
		st.Failing = now
	}
	if st.Tries++; st.Tries == 1 {
		st.Trying = now
	}
	st.Refusals++
	var no *refusal
	if !errors.As(err, &no) {
		st.Refusals = 0
	}
	st.Error, st.Next, st.Turn = err.Error(), now.Add(p.wait(st.Failures)), true
	if st.Refusals < p.Refusals && (st.Tries < p.Refusals || now.Sub(st.Trying) < p.GiveUp) {
		return false
	}
	l := Letter{After: d.after, To: d.reached, Count: d.count + d.withheld, Error: st.Error, At: now}
	st.pass(d)
	if n := len(st.Dead); n > 0 && st.Dead[n-1].To.Equal(l.After) && !st.Dead[n-1].Again {
		st.Dead[n-1].join(&l)
		return true
	}
	st.bury(l)
	return true
}

// failedAgain remembers that a dead letter was not taken again. It is not in the way of what is new, and dead
// again after some tries.
func (st *State) failedAgain(d *delivery, err error, now time.Time, p *Pace) (died bool) {
	l := st.letter(d)
	l.Tries++
	l.Error, l.At, l.Next, st.Turn = err.Error(), now, now.Add(p.wait(l.Tries)), false
	if died = l.Tries >= p.Refusals; died {
		l.Again, l.Tries, l.Next = false, 0, time.Time{}
	}
	return died
}

// bury adds a dead letter.
func (st *State) bury(l Letter) {
	if st.Dead = append(st.Dead, l); len(st.Dead) > maxLetters {
		st.Dead[0].join(&st.Dead[1])
		st.Dead = slices.Delete(st.Dead, 1, 2)
	}
}

// join makes one letter of two, and of what lies between them.
func (l *Letter) join(o *Letter) {
	l.After, l.To = earlier(l.After, o.After), later(l.To, o.To)
	l.Count, l.Error, l.At, l.Again, l.Round = l.Count+o.Count, o.Error, o.At, l.Again || o.Again, max(l.Round, o.Round)
}

// resend has all dead letters sent again.
func (st *State) resend() {
	st.Rounds++
	for i := range st.Dead {
		l := &st.Dead[i]
		l.Again, l.Round, l.Tries, l.Next = true, st.Rounds, 0, time.Time{}
	}
	st.Next = time.Time{} // what waits is tried at once
}

// resendFrom has everything sent again that was added behind an instant, with the dead letters that reach
// into it.
func (st *State) resendFrom(from, now time.Time) error {
	if !from.Before(st.After) {
		return ErrNothing
	}
	st.Rounds++
	all := Letter{After: from, To: st.After, At: now, Again: true, Round: st.Rounds}
	st.Dead = slices.DeleteFunc(st.Dead, func(l Letter) bool {
		if l.To.After(from) {
			all.After = earlier(all.After, l.After)
		}
		return l.To.After(from)
	})
	st.bury(all)
	st.Next = time.Time{}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
