package api

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strconv"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Self tells a caller who it is and where NATS is.
type Self struct {
	Member string `json:"member"`
	// Person and Credential are those of the token that was sent.
	Person     string `json:"person,omitempty"`
	Credential string `json:"credential,omitempty"`
	NATS       string `json:"nats,omitempty"`
	// Register is the version in force, for the operator: it counts what is changed for others.
	Register uint64 `json:"register,omitempty"`
}

func (a *API) self(r *request) (any, error) {
	s := &Self{Member: r.caller.Member, Person: r.caller.Person, Credential: r.caller.Credential, NATS: a.NATS()}
	if r.caller.Member == exchange.Admin {
		s.Register = r.x.Register.Version
	}
	return s, nil
}

// feeds lists the feeds that the caller publishes on.
func (a *API) feeds(r *request) (any, error) {
	list := []exchange.Feed{}
	for _, f := range r.x.Register.Feeds {
		if policy.MayPublish(r.x.Register, r.caller, &f) {
			list = append(list, f)
		}
	}
	return list, nil
}

func (a *API) feed(r *request) (any, error) {
	f := r.x.Register.Feed(r.PathValue("feed"))
	if f == nil || !policy.MayPublish(r.x.Register, r.caller, f) {
		return nil, taxiiserver.ErrNotFound
	}
	return f, nil
}

// Collection is a collection with its figures.
type Collection struct {
	ID      string    `json:"id"`
	UUID    string    `json:"uuid"`
	Title   string    `json:"title"`
	Ceiling tlp.Level `json:"ceiling"`
	// Feed is set on a feed's own collection, which refers to the feed's intake
	// and has no chain of blocks.
	Feed string `json:"feed,omitempty"`
	view.Stats
}

// readable returns the right to the path's collection, if the caller may read it.
func (r *request) readable() (policy.Read, error) {
	right := r.x.Read(r.caller, r.PathValue("collection"), exchange.ChannelTAXII)
	if right == nil {
		return nil, taxiiserver.ErrNotFound
	}
	return right, nil
}

func (a *API) describe(c *exchange.Collection) Collection {
	return Collection{ID: c.ID, UUID: c.UUID, Title: c.Title, Ceiling: c.Ceiling, Feed: c.Feed, Stats: a.View.Stats(c.ID)}
}

func (a *API) listCollections(r *request) (any, error) {
	list := []Collection{}
	for i := range r.x.Collections {
		if c := &r.x.Collections[i]; policy.MayRead(r.x.Register, r.caller, c, exchange.ChannelTAXII) {
			list = append(list, a.describe(c))
		}
	}
	slices.SortFunc(list, func(a, b Collection) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

func (a *API) showCollection(r *request) (any, error) {
	right, err := r.readable()
	if err != nil {
		return nil, err
	}
	return a.describe(right.Collection()), nil
}

// withdrawn lists what left a collection because its label was raised, for those who have
// it: GET /v1/collections/{id}/withdrawn?after=…, an instant.
func (a *API) withdrawn(r *request) (any, error) {
	right, err := r.readable()
	if err != nil {
		return nil, err
	}
	after, err := r.instant("after")
	if err != nil {
		return nil, err
	}
	list, err := a.View.Withdrawn(right, after, maxWithdrawn)
	if list == nil {
		list = []view.Withdrawal{}
	}
	return list, err
}

// maxWithdrawn is how many withdrawals are listed at a time.
const maxWithdrawn = 1000

// verify walks one collection's chain: GET /v1/collections/{id}/verify.
func (a *API) verify(r *request) (any, error) {
	right, err := r.readable()
	if err != nil {
		return nil, err
	}
	id := right.Collection().ID
	chains, err := a.Journal.Verify(r.Context(), id)
	if err != nil {
		return nil, err
	}
	if len(chains) == 0 {
		return &record.Chain{Collection: id}, nil
	}
	return chains[0], nil
}

// Subscription names the consumer to pull a collection from over NATS: the member's durable one, or
// one of the subscriber's own.
type Subscription struct {
	NATS       string `json:"nats"`
	Stream     string `json:"stream"`
	Durable    string `json:"durable"`
	Collection string `json:"collection"`
	// Passed is the number of the last block that a subscriber of its own is to pass over, 0 for none.
	Passed uint64 `json:"passed,omitempty"`
}

// subscription tells a member where to pull a collection from over NATS, and
// with from moves its consumer first: "start", "now", or a block's number. With a name it is the durable
// consumer of that name, so that several programs of a member each get everything and keep their place.
// With ephemeral it is for this subscriber alone, and starts there ("start" where from is not said). A
// connection that is made from now on may pull from a new consumer.
// POST /v1/collections/{id}/subscription?from=…&name=…, or ?from=…&ephemeral=true
func (a *API) subscription(r *request) (any, error) {
	right, err := r.overNATS()
	if err != nil {
		return nil, err
	}
	c := right.Collection()
	from := r.URL.Query().Get("from")
	if r.URL.Query().Get("ephemeral") == "true" {
		if r.URL.Query().Has("name") {
			return nil, fail(http.StatusBadRequest, "Bad parameter", "name: a consumer with a name is not ephemeral: send one of the two")
		}
		return a.ownSubscription(r, right, from)
	}
	sequence := uint64(0)
	if from != "" {
		if sequence, err = a.start(c.ID, from); err != nil {
			return nil, err
		}
	}
	if r.URL.Query().Has("name") {
		name, err := r.consumerName()
		if err != nil {
			return nil, err
		}
		durable, err := a.Journal.NamedConsumer(r.Context(), right, name, from != "", sequence)
		if errors.Is(err, exchange.ErrTooManySubscribers) {
			err = fail(http.StatusTooManyRequests, "Too many subscribers", "%v", err)
		}
		if err != nil {
			return nil, err
		}
		return &Subscription{NATS: a.NATS(), Stream: exchange.BlocksStream, Durable: durable, Collection: c.ID}, nil
	}
	if from != "" {
		if err := a.Journal.Reposition(r.Context(), right, sequence); err != nil {
			return nil, err
		}
	}
	stream, durable := exchange.Consumer(r.caller.Member, c.ID)
	return &Subscription{NATS: a.NATS(), Stream: stream, Durable: durable, Collection: c.ID}, nil
}

// ownSubscription makes a consumer for one subscriber. "now" is the last block that there is, which it is
// told to pass over: so it can make another one later and miss nothing.
func (a *API) ownSubscription(r *request, right policy.Read, from string) (*Subscription, error) {
	c := right.Collection()
	passed := uint64(0)
	if last := a.View.Stats(c.ID).Blocks; from == "now" && last > 0 {
		from, passed = strconv.FormatUint(last, 10), last
	} else if from == "" || from == "now" {
		from = "start"
	}
	if err := a.continues(r, c.ID, from, r.URL.Query().Get("hash")); err != nil {
		return nil, err
	}
	sequence, err := a.start(c.ID, from)
	if err != nil {
		return nil, err
	}
	name, err := a.Journal.OwnConsumer(r.Context(), right, sequence)
	if errors.Is(err, exchange.ErrTooManySubscribers) {
		r.w.Header().Set("Retry-After", "60")
		err = fail(http.StatusTooManyRequests, "Too many subscribers", "%v", err)
	}
	if err != nil {
		return nil, err
	}
	return &Subscription{NATS: a.NATS(), Stream: exchange.BlocksStream, Durable: name, Collection: c.ID, Passed: passed}, nil
}

// removeSubscription removes a member's durable consumer of a name, where there is one.
// DELETE /v1/collections/{id}/subscription?name=…
func (a *API) removeSubscription(r *request) (any, error) {
	right, err := r.overNATS()
	if err != nil {
		return nil, err
	}
	name, err := r.consumerName()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Removed bool `json:"removed"`
	}
	answer.Removed, err = a.Journal.RemoveNamed(r.Context(), right, name)
	return &answer, err
}

// overNATS is the caller's right to read the collection there.
func (r *request) overNATS() (policy.Read, error) {
	right, err := r.readable()
	if err != nil {
		return nil, err
	}
	c := right.Collection()
	if right = policy.OnNATS(r.x.Register, r.caller.Member, c); right == nil {
		return nil, fail(http.StatusConflict, "Not over NATS", "%s does not go out over NATS to %s: read it over TAXII", c.ID, r.caller.Member)
	}
	return right, nil
}

func (r *request) consumerName() (string, error) {
	name := r.URL.Query().Get("name")
	if err := exchange.ValidID(name); err != nil {
		return "", fail(http.StatusBadRequest, "Bad parameter", "name: %v", err)
	}
	return name, nil
}

// start is the journal's sequence that a subscription's from stands for.
func (a *API) start(collection, from string) (uint64, error) {
	switch from {
	case "start":
		return 1, nil
	case "now":
		return 0, nil
	}
	b, err := a.block(collection, from)
	return b.Sequence, err
}

// block finds the block that a from names by its number.
func (a *API) block(collection, from string) (view.Block, error) {
	number, err := strconv.ParseUint(from, 10, 64)
	if err != nil || number == 0 {
		return view.Block{}, fail(http.StatusBadRequest, "Bad parameter", "from is start, now or a block's number")
	}
	b, found, err := a.View.Block(collection, number)
	if err == nil && !found {
		err = taxiiserver.ErrNotFound
	}
	return b, err
}
