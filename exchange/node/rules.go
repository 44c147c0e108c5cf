package node

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// setRegister puts a version of the register in force everywhere.
func (n *Node) setRegister(r *exchange.Register) error {
	// Rights that end do so at once, whatever else the change takes.
	if err := n.setRights(r); err != nil {
		return err
	}
	n.applying.Lock()
	defer n.applying.Unlock()
	if n.applied != nil && r.Version <= n.applied.Version {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if r.NetworksKey != n.netKey {
		text, err := n.Register.Networks(ctx, r.NetworksKey)
		if err != nil {
			return err
		}
		rows, err := constituency.ParseNetworks(bytes.NewReader(text))
		if err != nil {
			return fmt.Errorf("networks table in force: %w", err)
		}
		n.networks, n.netKey = constituency.NewNetworks(rows), r.NetworksKey
	}
	// What a token or a collection's ceiling changes routes nothing anew.
	if n.applied == nil || n.routed != n.networks || !constituency.SameRouting(n.applied, r) {
		n.route, n.routed = constituency.Routers(r, n.networks), n.networks
	}
	n.admission.SetRules(newRules(r, n.route))
	n.applied = r
	n.backfiller.Changed()
	return n.setConsumers(r)
}

// setRights puts in force who may do what over HTTP and log in over NATS, and ends the connections of
// those whose rights are others now.
func (n *Node) setRights(r *exchange.Register) error {
	n.rights.Lock()
	defer n.rights.Unlock()
	now := n.access.Load()
	switch {
	case now != nil && r.Version < now.Register.Version:
		return nil
	case now == nil || r.Version > now.Register.Version:
		n.access.Store(access.New(r))
		n.webhooks.SetRegister(r)
	}
	var after access.Logins
	after, n.expires = n.access.Load().Logins(time.Now())
	before := n.logins.Swap(&after)
	if before == nil || maps.EqualFunc(*before, after, access.Login.Equal) {
		return nil
	}
	return n.disconnect(func(member string) bool { return !(*before)[member].Equal(after[member]) })
}

// disconnect ends the NATS connections of some members, who log in anew with other rights, or cannot.
func (n *Node) disconnect(changed func(member string) bool) error {
	return n.broker.Disconnect(func(member string) bool {
		cut := changed(member)
		if cut {
			n.Journal.Audit(exchange.AuditEntry{Action: exchange.AuditCut, Member: member, Channel: exchange.ChannelNATS})
		}
		return cut
	})
}

// setConsumers makes the consumers that members pull from, and has those who were given one while it
// was not there yet log in anew. The caller holds applying.
func (n *Node) setConsumers(r *exchange.Register) error {
	var want []policy.Read
	logins := *n.logins.Load()
	for _, m := range r.Members {
		want = append(want, logins[m.ID].Reads...)
	}
	if n.wanted != nil && slices.EqualFunc(want, n.wanted, sameRead) {
		return nil
	}
	// Without its consumer a member still has TAXII: that is an alarm, no end.
	sync, cancelSync := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancelSync()
	had := n.wanted
	if err := n.Journal.SyncDurables(sync, want); err != nil { // the next version of the register tries again
		n.durables.Store(&err)
		n.log.Error("members' consumers are not as the register says", "error", err)
	} else {
		n.durables.Store(nil)
		n.wanted = want
	}
	if had == nil {
		return nil
	}
	return n.disconnect(func(member string) bool {
		return slices.ContainsFunc(want, func(right policy.Read) bool {
			return right.Member() == member && !slices.ContainsFunc(had, func(o policy.Read) bool { return sameRead(right, o) })
		})
	})
}

func sameRead(a, b policy.Read) bool {
	return a.Member() == b.Member() && a.Collection().ID == b.Collection().ID
}

// newSender makes what sends webhooks.
func (n *Node) newSender() *webhook.Sender {
	s := &webhook.Sender{
		View: n.View, Store: n.Journal, Audit: n.Journal.Audit, Secret: n.Register.Secret(), Node: "here",
		Pace: cmp.Or(n.opt.Webhooks, webhook.DefaultPace), Log: n.log,
	}
	if len(n.opt.NATSURLs) > 0 { // and maybe others who share the journal
		s.Node = uuid.NewString()
	}
	return s
}

// rightsEvery is how often it is looked whether what is under way may go on.
const rightsEvery = 2 * time.Second

// watchRights ends what credentials and rights that have ended were good for: requests under way, and
// NATS connections with credentials whose time is over.
func (n *Node) watchRights(ctx context.Context) error {
	for {
		select {
		case <-time.After(rightsEvery):
		case <-ctx.Done():
			return nil
		}
		n.api.Recheck()
		if err := n.api.SaveUsed(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("what members have used cannot be written", "error", err)
		}
		n.rights.Lock()
		over := !n.expires.IsZero() && !time.Now().Before(n.expires)
		n.rights.Unlock()
		if over {
			if err := n.setRights(n.access.Load().Register); err != nil {
				return err
			}
		}
	}
}

// complete gives ids to the collections that a register of an earlier version of Tocsin has not.
func (n *Node) complete(ctx context.Context) error {
	r := n.Register.Current()
	if r.Version == 0 || !slices.ContainsFunc(r.Collections(), func(c exchange.Collection) bool { return c.UUID == "" }) {
		return nil
	}
	_, err := n.Register.Change(ctx, exchange.Admin, func(*exchange.Register) error { return nil })
	return err
}

// newRules are everything that decides under a version of the register.
func newRules(r *exchange.Register, route func(*exchange.Feed) *constituency.Router) *admission.Rules {
	return &admission.Rules{Register: r, Router: func(f *exchange.Feed) exchange.Tables { return route(f) }, Networks: r.NetworksKey}
}

// planBackfill counts what a change of the register would give members of the past.
func (n *Node) planBackfill(ctx context.Context, base, next *exchange.Register) ([]admission.Planned, error) {
	n.applying.Lock()
	networks := n.networks
	n.applying.Unlock()
	return n.backfiller.Plan(ctx, base, newRules(next, constituency.Routers(next, networks)))
}

// loginWait is how long a member's connection waits for the exchange to open;
// the broker allows it a little more.
const loginWait = 25 * time.Second

// login lets a member in over NATS.
func (n *Node) login(user, token, from string) (broker.Login, bool) {
	// The port opens before the exchange does. To be refused twice makes a client
	// give up, so it waits.
	select {
	case <-n.open:
	case <-time.After(loginWait):
		return broker.Login{}, false
	}
	if _, ok := n.api.Login(user, token, from); !ok {
		return broker.Login{}, false
	}
	l := broker.Login{Member: user}
	reads := (*n.logins.Load())[user].Reads
	for _, right := range reads {
		_, durable := exchange.Consumer(user, right.Collection().ID)
		l.Consumers = append(l.Consumers, durable)
	}
	ctx, cancel := context.WithTimeout(context.Background(), loginWait)
	defer cancel()
	own, err := n.Journal.OwnConsumers(ctx, user)
	if err != nil {
		n.log.Error("a member's subscribers cannot be listed", "error", err)
		return l, true // without them it still has its durable consumers
	}
	for _, c := range own {
		if slices.ContainsFunc(reads, func(right policy.Read) bool { return right.Collection().ID == c.Collection }) {
			l.Consumers = append(l.Consumers, c.Name())
		}
	}
	return l, true
}

// contents is what the register has to fit: what the view has.
type contents struct{ n *Node }

// Highest implements register.Contents.
func (c contents) Highest(collection string) tlp.Level { return c.n.View.Stats(collection).Label }

// Hold implements register.Contents: nothing is decided while the gate is held for writing.
func (c contents) Hold(ctx context.Context) (release func(), err error) {
	n := c.n
	n.gate.Lock()
	if err = n.admission.Flush(ctx); err == nil {
		err = n.catchUp(ctx)
	}
	if err != nil {
		n.gate.Unlock()
		return nil, err
	}
	return n.gate.Unlock, nil
}
