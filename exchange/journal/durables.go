package journal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Durable is a member's own consumer of one collection.
type Durable struct{ Member, Collection string }

// Name is the consumer's name.
func (d Durable) Name() string {
	_, name := exchange.Consumer(d.Member, d.Collection)
	return name
}

// parseDurable reads such a name.
func parseDurable(name string) (d Durable, ok bool) {
	d.Member, d.Collection, ok = strings.Cut(name, "_")
	return d, ok
}

func (d Durable) config() jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: d.Name(), Description: "blocks of " + d.Collection + " for " + d.Member,
		FilterSubject: blocksPrefix + d.Collection, AckPolicy: jetstream.AckExplicitPolicy, AckWait: 30 * time.Second,
		DeliverPolicy: jetstream.DeliverAllPolicy, MaxAckPending: 256, MaxWaiting: 16,
	}
}

// SyncDurables makes the consumers that are wanted and removes all others that
// are members'. Those that stay keep their place.
func (j *Journal) SyncDurables(ctx context.Context, want []Durable) error {
	keep := make(map[string]Durable, len(want))
	for _, d := range want {
		keep[d.Name()] = d
	}
	list := j.blocks.ConsumerNames(ctx)
	for name := range list.Name() {
		if _, ok := keep[name]; ok {
			delete(keep, name)
			continue
		}
		c, err := j.blocks.Consumer(ctx, name)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("look at consumer %s: %w", name, err)
		}
		if c.CachedInfo().Config.Durable == "" {
			continue // the view's own
		}
		if err := j.blocks.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return fmt.Errorf("remove consumer %s: %w", name, err)
		}
	}
	if err := list.Err(); err != nil {
		return fmt.Errorf("list consumers: %w", err)
	}
	for _, d := range keep {
		if _, err := j.blocks.CreateOrUpdateConsumer(ctx, d.config()); err != nil {
			return fmt.Errorf("make consumer %s: %w", d.Name(), err)
		}
	}
	return nil
}

// Reposition makes a member's consumer anew, so that it starts at a sequence of
// the journal; 0 means behind what is there now.
func (j *Journal) Reposition(ctx context.Context, member, collection string, sequence uint64) error {
	d := Durable{member, collection}
	if err := j.blocks.DeleteConsumer(ctx, d.Name()); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return fmt.Errorf("reposition %s: %w", d.Name(), err)
	}
	config := d.config()
	config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, sequence
	if sequence == 0 {
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverNewPolicy, 0
	}
	if _, err := j.blocks.CreateOrUpdateConsumer(ctx, config); err != nil {
		return fmt.Errorf("reposition %s: %w", d.Name(), err)
	}
	return nil
}
