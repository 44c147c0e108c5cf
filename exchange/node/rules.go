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
	n.mu.Lock()
	defer n.mu.Unlock()
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
	if n.applied == nil || n.routing.networks != n.networks || !constituency.SameMembers(n.applied.Members, r.Members) || !slices.EqualFunc(n.applied.Feeds, r.Feeds, sameRouting) {
		n.routing = routing{n.networks, routers(r, n.networks)}
	}
	n.admission.SetRules(&admission.Rules{Register: r, Router: n.routing.of, Networks: r.NetworksKey})
	n.applied = r
	select {
	case n.changed <- struct{}{}:
	default: // it is told already
	}
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
		n.access.Set(r)
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
	asked := make(map[string]bool)
	return n.broker.Disconnect(func(member string) bool {
		if _, known := asked[member]; !known {
			if asked[member] = changed(member); asked[member] {
				n.Journal.Audit(exchange.AuditEntry{Action: exchange.AuditCut, Member: member, Way: exchange.WayNATS})
			}
		}
		return asked[member]
	})
}

// setConsumers makes the consumers that members pull from, and has those who were given one while it
// was not there yet log in anew. The caller holds mu.
func (n *Node) setConsumers(r *exchange.Register) error {
	var want []policy.Read
	logins := *n.logins.Load()
	for _, m := range r.Members {
		want = append(want, logins[m.ID].Reads...)
	}
	if n.wanted != nil && slices.EqualFunc(want, n.wanted, sameRead) {
		return nil
	}
	n.auditDeliveries(context.Background()) // of those that go
	// Without its consumer a member still has TAXII: that is an alarm, no end.
	sync, cancelSync := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancelSync()
	if n.durables = n.Journal.SyncDurables(sync, want); n.durables != nil {
		n.log.Error("members' consumers are not as the register says", "error", n.durables)
	}
	had := n.wanted
	n.wanted = want
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

// routing is the tables in force and the networks they were made with.
type routing struct {
	networks *constituency.Networks
	of       func(*exchange.Feed) exchange.Tables
}

func sameRouting(a, b exchange.Feed) bool { return a.ID == b.ID && constituency.Same(&a, &b) }

// routers makes the tables that route the feeds of a register. Most feeds share one.
func routers(r *exchange.Register, networks *constituency.Networks) func(*exchange.Feed) exchange.Tables {
	var of []*exchange.Feed
	var tables []*constituency.Router
	byFeed := make(map[string]exchange.Tables, len(r.Feeds))
	for i := range r.Feeds {
		f := &r.Feeds[i]
		at := slices.IndexFunc(of, func(o *exchange.Feed) bool { return constituency.Same(o, f) })
		if at < 0 {
			at = len(of)
			of, tables = append(of, f), append(tables, constituency.New(r.Members, networks, f))
		}
		byFeed[f.ID] = tables[at]
	}
	return func(f *exchange.Feed) exchange.Tables { return byFeed[f.ID] }
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

// guard makes sure, before a ceiling is lowered, that the view has everything
// that was decided under the one before, and that nothing more is until the
// change is in force: else inTheWay would overlook it.
func (n *Node) guard(ctx context.Context, base, next *exchange.Register) (release func(), err error) {
	if !lowers(base, next) {
		return func() {}, nil
	}
	n.gate.Lock()
	if err = n.admission.Settle(ctx); err == nil {
		err = n.catchUp(ctx)
	}
	if err != nil {
		n.gate.Unlock()
		return nil, err
	}
	return n.gate.Unlock, nil
}

// lowers reports whether a collection's ceiling is lower in next than in base.
func lowers(base, next *exchange.Register) bool {
	was := make(map[string]tlp.Level)
	for _, c := range base.Collections() {
		was[c.ID] = c.Ceiling
	}
	for _, c := range next.Collections() {
		if c.Ceiling < was[c.ID] {
			return true
		}
	}
	return false
}

// inTheWay lists the collections that hold more than a version of the register
// would let their readers see: a label is at most its collection's ceiling, and
// that is at most the clearance of everybody who may read it.
func (n *Node) inTheWay(r *exchange.Register) (list []string) {
	for _, c := range r.Collections() {
		if have := n.View.Stats(c.ID).Label; have > c.Ceiling {
			list = append(list, fmt.Sprintf("collection %s holds objects labelled %s: its ceiling cannot be %s", c.ID, have, c.Ceiling))
		}
	}
	return list
}
