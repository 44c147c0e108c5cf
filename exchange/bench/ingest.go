package bench

import (
	"bytes"
	"context"
	"fmt"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
)

// Ingest publishes the Rustock log, CSV to visible over TAXII in every
// collection, and posts indicators over TAXII. The limit of each is the blocks
// that it made, appended to a stream by themselves.
func Ingest(ctx context.Context, o Options) error {
	hosts := map[exchange.Profile]int{
		exchange.ProfileObservation: o.size(150_000, rustock.World), exchange.ProfileInfection: o.size(60_000, 600_000),
	}
	for _, p := range []exchange.Profile{exchange.ProfileObservation, exchange.ProfileInfection} {
		if !o.wants(string(p)) {
			continue
		}
		if err := o.publish(ctx, p, hosts[p]); err != nil {
			return err
		}
	}
	return nil
}

// rustockRegister is the register of the case with another profile.
func rustockRegister(p exchange.Profile) []byte {
	return bytes.Replace(rustock.Register, []byte("profile: infection"), []byte("profile: "+string(p)), 1)
}

func (o *Options) publish(ctx context.Context, p exchange.Profile, hosts int) error {
	return o.temporary(func(dir string) error {
		var u usage
		err := o.during(ctx, dir, rustockRegister(p), func(s *system) (err error) {
			u, err = s.publish(ctx, hosts)
			return err
		})
		if err != nil {
			return err
		}
		bare, err := bareAppend(ctx, dir)
		if err != nil {
			return err
		}
		o.report(Result{
			Bench: "ingest", Case: string(p), Unit: "hosts/s",
			Figure: float64(hosts) / u.wall.Seconds(), Limit: float64(hosts) / bare.Seconds(),
		}, u)
		return nil
	})
}

// publish sends the log of so many hosts and returns once all of it can be read.
func (s *system) publish(ctx context.Context, hosts int) (usage, error) {
	if err := s.operator().Do(ctx, "PUT", "/v1/networks", nil, rustock.Networks(), nil); err != nil {
		return usage{}, err
	}
	log := rustock.NewSample(hosts).Log()
	defer func() { _ = log.Close() }()
	m := start()
	receipt, err := s.operator().Publish(ctx, log, apiclient.Publication{Feed: rustock.Feed})
	if err != nil {
		return usage{}, err
	}
	u := m.stop()
	if receipt.Events != int64(hosts) {
		return usage{}, fmt.Errorf("bench: %d of %d hosts were taken: %v", receipt.Events, hosts, receipt.Problems)
	}
	return u, nil
}
