package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
)

// Consumer is a member's consumer of one collection: the durable one that each member has, another durable one that a
// program of the member's has under a name, or one of a subscriber's own, which the server removes once nobody has used it for
// a while.
type Consumer struct {
	Member, Collection string
	// Own tells a subscriber's consumer from others; "" is the durable one. A name follows an underscore.
	Own string
}

// named tells whether the consumer is a durable one with a name.
func (c Consumer) named() bool { return strings.HasPrefix(c.Own, "_") }

// Name is the consumer's name.
func (c Consumer) Name() string {
	_, name := exchange.Consumer(c.Member, c.Collection)
	if c.Own != "" {
		name += "_" + c.Own
	}
	return name
}

// parseConsumer reads such a name.
func parseConsumer(name string) (c Consumer, ok bool) {
	c.Member, c.Collection, ok = strings.Cut(name, "_")
	c.Collection, c.Own, _ = strings.Cut(c.Collection, "_")
	return c, ok
}

// ownUnused is how long a subscriber's own consumer stays without a subscriber, namedUnused how long one with a name does; maxOwn
// is how many of each one member has of a collection.
const (
	ownUnused   = 5 * time.Minute
	namedUnused = 90 * 24 * time.Hour
	maxOwn      = 32
)

// subjects are those of the messages that it gives.
func (c Consumer) subjects() []string {
	return []string{blocksPrefix + c.Collection, replacedPrefix + c.Collection}
}

// startAt is a sequence of the journal, or, for 0, the one behind what is there now: by it the audit knows later from where
// on a consumer was given blocks.
func (j *Journal) startAt(ctx context.Context, sequence uint64) (uint64, error) {
	if sequence > 0 {
		return sequence, nil
	}
	_, last, err := j.Ends(ctx)
	return last + 1, err
}

// config is of a consumer that starts at a sequence of the journal.
func (c Consumer) config(start uint64) jetstream.ConsumerConfig {
	config := jetstream.ConsumerConfig{
		Name: c.Name(), Description: "blocks of " + c.Collection + " for " + c.Member,
		FilterSubjects: c.subjects(), AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: start, MaxAckPending: 256, MaxWaiting: 16,
	}
	switch {
	case c.named():
		config.Durable, config.InactiveThreshold = config.Name, namedUnused
	case c.Own == "":
		config.Durable = config.Name
	default:
		config.InactiveThreshold, config.MemoryStorage = ownUnused, true
	}
	return config
}

// OwnConsumer makes a consumer for one subscriber, which starts at a sequence of the journal, 0 for
// behind what is there now.
func (j *Journal) OwnConsumer(ctx context.Context, right policy.Read, start uint64) (name string, err error) {
	c, err := consumerOf(right)
	if err != nil {
		return "", err
	}
	j.making.Lock() // so that those that are counted are all
	defer j.making.Unlock()
	have, err := j.OwnConsumers(ctx, c.Member)
	if err != nil {
		return "", err
	}
	c.Own = strings.ToLower(rand.Text())
	have = slices.DeleteFunc(have, func(o Consumer) bool { return o.Collection != c.Collection || o.named() })
	if len(have) >= maxOwn {
		return "", fmt.Errorf("%w: %d of %s; those that nobody uses go after %v", exchange.ErrTooManySubscribers, len(have), c.Collection, ownUnused)
	}
	if start, err = j.startAt(ctx, start); err != nil {
		return "", err
	}
	if _, err := j.blocks.CreateConsumer(ctx, c.config(start)); err != nil {
		return "", fmt.Errorf("make consumer %s: %w", c.Name(), err)
	}
	return c.Name(), nil
}

// NamedConsumer makes a durable consumer under a name, which starts at the first block, or returns the one that is there. With
// move it starts anew at a sequence of the journal, 0 for behind what is there now.
func (j *Journal) NamedConsumer(ctx context.Context, right policy.Read, name string, move bool, start uint64) (string, error) {
	c, err := consumerOf(right)
	if err != nil {
		return "", err
	}
	j.making.Lock()
	defer j.making.Unlock()
	have, err := j.OwnConsumers(ctx, c.Member)
	if err != nil {
		return "", err
	}
	c.Own = "_" + name
	have = slices.DeleteFunc(have, func(o Consumer) bool { return o.Collection != c.Collection || !o.named() })
	switch there := slices.Contains(have, c); {
	case there && !move:
		return c.Name(), nil
	case !there && len(have) >= maxOwn:
		return "", fmt.Errorf("%w: %d with names of %s; delete one that is not used", exchange.ErrTooManySubscribers, len(have), c.Collection)
	case !move:
		start = 1
	}
	return c.Name(), j.startAnew(ctx, c, start)
}

// RemoveNamed removes the consumer of a name. It reports whether there was one.
func (j *Journal) RemoveNamed(ctx context.Context, right policy.Read, name string) (bool, error) {
	c, err := consumerOf(right)
	if err != nil {
		return false, err
	}
	j.making.Lock()
	defer j.making.Unlock()
	have, err := j.OwnConsumers(ctx, c.Member)
	c.Own = "_" + name
	if err != nil || !slices.Contains(have, c) {
		return false, err
	}
	return true, j.retire(ctx, c)
}

// OwnConsumers lists those that OwnConsumer and NamedConsumer have made for a member and that are there still.
func (j *Journal) OwnConsumers(ctx context.Context, member string) (list []Consumer, err error) {
	names := j.blocks.ConsumerNames(ctx)
	for name := range names.Name() {
		if c, ok := parseConsumer(name); ok && c.Member == member && c.Own != "" {
			list = append(list, c)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("list consumers: %w", err)
	}
	return list, nil
}

// consumerOf is the durable consumer of who has a right to read over NATS. Consumers are read without the view, so that
// none is made without one.
func consumerOf(right policy.Read) (c Consumer, err error) {
	collection, ok := policy.Readable(right)
	if !ok || right.Channel() != exchange.ChannelNATS {
		return c, errors.New("journal: no consumer is made without a right to read over NATS")
	}
	return Consumer{Member: right.Member(), Collection: collection}, nil
}

// SyncDurables makes the consumers of those who have the rights and removes all others that
// are members'. Those that stay keep their place.
func (j *Journal) SyncDurables(ctx context.Context, want []policy.Read) error {
	keep := make(map[string]Consumer, len(want))
	for _, right := range want {
		d, err := consumerOf(right)
		if err != nil {
			return err
		}
		keep[d.Name()] = d
	}
	may := maps.Clone(keep)
	list := j.blocks.ConsumerNames(ctx)
	for name := range list.Name() {
		if _, ok := keep[name]; ok {
			delete(keep, name)
			continue
		}
		of, _ := parseConsumer(name)
		if _, ok := may[Consumer{Member: of.Member, Collection: of.Collection}.Name()]; ok && of.named() {
			continue // its member still reads the collection
		}
		c, err := j.blocks.Consumer(ctx, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at consumer %s: %w", name, err)
		}
		if c.CachedInfo().Config.Durable == "" {
			continue // the view's own, or a subscriber's
		}
		if err := j.retire(ctx, of); err != nil {
			return err
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list consumers: %w", err)
	}
	for _, d := range keep {
		if _, err := j.blocks.CreateOrUpdateConsumer(ctx, d.config(1)); err != nil {
			return fmt.Errorf("make consumer %s: %w", d.Name(), err)
		}
	}
	return nil
}

// Reposition makes a member's consumer anew, so that it starts at a sequence of
// the journal; 0 means behind what is there now.
func (j *Journal) Reposition(ctx context.Context, right policy.Read, sequence uint64) error {
	d, err := consumerOf(right)
	if err != nil {
		return err
	}
	return j.startAnew(ctx, d, sequence)
}

// startAnew makes a durable consumer that starts at a sequence, 0 for behind what is there now, in place of one that may be
// there. It does not stop half-way where who asked is gone: the member would have none.
func (j *Journal) startAnew(ctx context.Context, c Consumer, sequence uint64) error {
	start, err := j.startAt(ctx, sequence)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err := j.retire(ctx, c); err != nil {
		return err
	}
	if _, err := j.blocks.CreateOrUpdateConsumer(ctx, c.config(start)); err != nil {
		return fmt.Errorf("make consumer %s: %w", c.Name(), err)
	}
	return nil
}
