// Package webhook tells members' URLs when their collections grow, by signed requests as Standard Webhooks
// has them: a doorbell, or the STIX bundle itself.
//
// Each webhook stands at a place in its collection, which is kept in the journal. It moves on when the
// receiver has taken what is before it, so nothing is lost while the receiver is down, and each waits for
// its own receiver alone. What a receiver refuses becomes a dead letter: a part of the collection that is
// sent again when somebody asks for it.
package webhook

import (
	"context"
	"log/slog"
	"reflect"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// Pace is how often a receiver is asked.
type Pace struct {
	// Try is how long a receiver has to answer.
	Try time.Duration
	// Retries are made within seconds. After them it is waited, from Least doubling to Most.
	Retries     int
	Least, Most time.Duration
	// Gap is how far apart doorbells are at least.
	Gap time.Duration
	// So many Refusals of a delivery one after the other, or GiveUp without any that was taken, make it a
	// dead letter.
	Refusals int
	GiveUp   time.Duration
}

// DefaultPace asks a receiver that is down every ten minutes, for three days.
var DefaultPace = Pace{Try: 30 * time.Second, Retries: 3, Least: 5 * time.Second, Most: 10 * time.Minute, Gap: time.Second, Refusals: 3, GiveUp: 72 * time.Hour}

// maxRetryWait is how long it is waited between retries at most.
const maxRetryWait = 10 * time.Second

// lease is how long a node has the turn to send. Half of it is left at least when a delivery begins, which is
// more than that takes.
func (p *Pace) lease() time.Duration {
	return 2 * (time.Duration(p.Retries+2)*p.Try + time.Duration(p.Retries)*maxRetryWait)
}

// wait is how long it is waited after so many failures.
func (p *Pace) wait(failures int) time.Duration {
	d := p.Least
	for ; failures > 1 && d < p.Most; failures-- {
		d *= 2
	}
	return min(d, p.Most)
}

// Sender sends the webhooks of the register in force. It is safe for concurrent use.
type Sender struct {
	View  *view.View
	Store Store
	Audit func(exchange.AuditEntry)
	// Secret is what members' keys are derived from.
	Secret []byte
	// Node tells nodes apart that share a journal.
	Node string
	Pace Pace
	Log  *slog.Logger

	force wait.Value[inForce]
	reads sync.Mutex // one page at a time is read: it is large
	pings sync.Map   // the webhooks that are being pinged

	mu    sync.Mutex // guards what is below
	hooks map[string]*hook
}

// inForce is a register in the form that sending needs.
type inForce struct {
	*exchange.Register
	collections map[string]*exchange.Collection
}

// SetRegister puts a version of the register in force.
func (s *Sender) SetRegister(r *exchange.Register) {
	next := &inForce{Register: r}
	if len(r.Webhooks) > 0 {
		next.collections = r.CollectionsByID()
	}
	s.force.Store(next)
}

// may returns the right to what a webhook's collection has, nil where its member may not be given anything of it.
func (r *inForce) may(w *exchange.Webhook) policy.Read {
	c := r.collections[w.Collection]
	if c == nil {
		return nil
	}
	return policy.ToTake(r.Register, exchange.As(w.Member), c, exchange.ChannelWebhook)
}

// Run sends until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	for {
		r, replaced := s.force.Watch()
		s.startAndStop(ctx, r)
		select {
		case <-replaced:
		case <-ctx.Done():
			s.startAndStop(ctx, r)
			return nil
		}
	}
}

// startAndStop ends the webhooks that a register does not have so, and starts those that it has; all end with ctx.
func (s *Sender) startAndStop(ctx context.Context, r *inForce) {
	s.mu.Lock()
	defer s.mu.Unlock()
	want := make(map[string]*exchange.Webhook)
	if ctx.Err() == nil {
		for i := range r.Webhooks {
			if w := &r.Webhooks[i]; r.may(w) != nil {
				want[w.ID] = w
			}
		}
	}
	for id, h := range s.hooks {
		if w := want[id]; w == nil || !reflect.DeepEqual(*w, h.Webhook) {
			h.stop()
			<-h.done
			delete(s.hooks, id)
		}
	}
	if s.hooks == nil {
		s.hooks = make(map[string]*hook)
	}
	for id, w := range want {
		if s.hooks[id] == nil {
			h := &hook{Sender: s, Webhook: *w, client: s.client(w), poked: make(chan struct{}, 1), done: make(chan struct{})}
			var running context.Context
			running, h.stop = context.WithCancel(ctx)
			s.hooks[id] = h
			go h.run(running)
		}
	}
}
