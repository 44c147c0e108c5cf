package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// setRegister puts a version of the register in force everywhere.
func (n *Node) setRegister(r *exchange.Register) error {
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
	n.admission.SetRules(&exchange.Rules{Register: r, Router: constituency.New(r.Members, n.networks), Networks: r.NetworksKey})
	n.api.SetRegister(r)
	was := n.applied
	n.applied = r
	before, after := logins(was), logins(r)
	if was != nil && fmt.Sprint(before) == fmt.Sprint(after) {
		return nil
	}
	var want []journal.Durable
	for _, m := range r.Members {
		for _, c := range after[m.ID].collections {
			want = append(want, journal.Durable{Member: m.ID, Collection: c})
		}
	}
	// Without its consumer a member still has TAXII: that is an alarm, no end.
	sync, cancelSync := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancelSync()
	if n.durables = n.Journal.SyncDurables(sync, want); n.durables != nil {
		n.log.Error("members' consumers are not as the register says", "error", n.durables)
	}
	// Whoever has other rights now logs in anew, or cannot.
	return n.broker.Disconnect(func(member string) bool {
		return fmt.Sprint(before[member]) != fmt.Sprint(after[member])
	})
}

// login is what a member's NATS connection rests on.
type login struct {
	tokens      []string
	collections []string
}

func logins(r *exchange.Register) map[string]login {
	if r == nil {
		return nil
	}
	out := make(map[string]login)
	collections := r.Collections()
	for _, m := range r.Members {
		var l login
		for _, t := range r.Tokens[m.ID] {
			l.tokens = append(l.tokens, t.SHA256)
		}
		for i := range collections {
			if r.OnNATS(m.ID, &collections[i]) {
				l.collections = append(l.collections, collections[i].ID)
			}
		}
		slices.Sort(l.collections)
		out[m.ID] = l
	}
	return out
}

// loginWait is how long a member's connection waits for the exchange to open;
// the broker allows it a little more.
const loginWait = 25 * time.Second

// login lets a member in over NATS.
func (n *Node) login(user, token string) (broker.Login, bool) {
	// The port opens before the exchange does. To be refused twice makes a client
	// give up, so it waits.
	select {
	case <-n.open:
	case <-time.After(loginWait):
		return broker.Login{}, false
	}
	if user == exchange.Admin || !n.api.Login(user, token) {
		return broker.Login{}, false
	}
	l := broker.Login{Member: user}
	for _, c := range logins(n.Register.Current())[user].collections {
		_, durable := exchange.Consumer(user, c)
		l.Durables = append(l.Durables, durable)
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
