package policy

import "github.com/tocsin-exchange/tocsin/exchange"

// Read is the right of somebody to be given what is in a collection, by one channel. Without one the view gives no
// pages and no removals, and the journal makes no consumers. Only this package makes one, where the register allows it; nil is
// no right.
//
// Those who decide about what comes in look without one: submission at single objects (View.Object, View.Made), admission
// at what is known of hosts. No way out is built on these: a test of cmd/tocsin builds each without them.
//
// It is the right of the moment at which it was made: who keeps on reading makes it anew.
type Read interface {
	Collection() *exchange.Collection
	Member() string
	Channel() exchange.Channel
	// made keeps others from making one.
	made()
}

type read struct {
	collection *exchange.Collection
	member     string
	channel    exchange.Channel
}

func (r read) Collection() *exchange.Collection { return r.collection }
func (r read) Member() string                   { return r.member }
func (r read) Channel() exchange.Channel        { return r.channel }
func (r read) made()                            {}

// Readable returns the id of the collection that a right is for, and false where it is none that this package has made.
func Readable(r Read) (collection string, ok bool) {
	x, ok := r.(read)
	if !ok || x.collection == nil {
		return "", false
	}
	return x.collection.ID, true
}

// ToRead returns the right of a caller to read the collection by a channel, nil where there is none.
func ToRead(r *exchange.Register, who exchange.Caller, c *exchange.Collection, by exchange.Channel) Read {
	if !MayRead(r, who, c, by) {
		return nil
	}
	return read{c, who.Member, by}
}

// ToTake returns the right of a caller to be given the collection by a channel object by object; nil where there is
// none. Who reads with it holds each object to Permits, since the channel may allow less than the collection holds.
func ToTake(r *exchange.Register, who exchange.Caller, c *exchange.Collection, by exchange.Channel) Read {
	if _, known := channels[by]; !known || !MayTake(r, who, c) {
		return nil
	}
	return read{c, who.Member, by}
}

// OnNATS returns the right of a member to be given the collection over NATS, nil where there is none: feed
// collections have no blocks of their own, and network owners get live push by server-sent events.
func OnNATS(r *exchange.Register, member string, c *exchange.Collection) Read {
	if m := r.Member(member); m == nil || m.Kind == exchange.NetworkOwner || c.Feed != "" {
		return nil
	}
	return ToRead(r, exchange.As(member), c, exchange.ChannelNATS)
}
