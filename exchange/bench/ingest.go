package bench

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// Ingest publishes the Rustock log, CSV to visible over TAXII in every
// collection, and posts indicators over TAXII. The limit of each is the blocks
// that it made, appended to a stream by themselves. It publishes single events
// too, whose limit is 20 ms, and, with Full, three days of the log, and a part of it three times a day.
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
	for _, c := range []struct {
		name string
		run  func(context.Context) error
	}{{"post-1000", o.posts}, {"lone", o.lone}, {"archived", o.archived}, {"days", o.days}, {"again", o.again}} {
		if o.wants(c.name) {
			if err := c.run(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// rustockRegister is the register of the case with another profile.
func rustockRegister(p exchange.Profile) []byte {
	return bytes.Replace(rustock.Register, []byte("profile: infection"), []byte("profile: "+string(p)), 1)
}

func (o *Options) publish(ctx context.Context, p exchange.Profile, hosts int) error {
	return o.besideBare(ctx, string(p), "hosts/s", rustockRegister(p), hosts, func(s *system) (usage, error) { return s.publish(ctx, hosts) })
}

// besideBare measures how fast an exchange takes n of something, beside its
// blocks alone.
func (o *Options) besideBare(ctx context.Context, name, unit string, register []byte, n int, take func(s *system) (usage, error)) error {
	return o.temporary(func(dir string) error {
		var u usage
		err := o.during(ctx, dir, register, func(s *system) (err error) {
			u, err = take(s)
			return err
		})
		if err != nil {
			return err
		}
		bare, err := bareAppend(ctx, dir)
		if err != nil {
			return err
		}
		o.report(Result{Bench: "ingest", Case: name, Unit: unit, Figure: float64(n) / u.wall.Seconds(), Limit: float64(n) / bare.Seconds()}, u)
		return nil
	})
}

// archived publishes the log with an archive, which takes what is new each second and is encrypted, beside the same without.
func (o *Options) archived(ctx context.Context) error {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	hosts := o.size(150_000, rustock.World)
	return o.temporary(func(dir string) error {
		run := func(name string, change func(*node.Options)) (u usage, err error) {
			return u, o.during(ctx, filepath.Join(dir, name), rustockRegister(exchange.ProfileObservation), func(s *system) (err error) {
				if u, err = s.publish(ctx, hosts); err == nil {
					err = s.ArchiveNow(ctx)
				}
				return err
			}, change)
		}
		without, err := run("without", func(*node.Options) {})
		if err != nil {
			return err
		}
		with, err := run("with", func(n *node.Options) {
			to := filepath.Join(dir, "archive")
			n.Archive = node.ArchiveOptions{Store: archive.Directory(to), Place: to, Recipients: []age.Recipient{key.Recipient()}, Every: time.Second}
		})
		if err != nil {
			return err
		}
		o.report(Result{Bench: "ingest", Case: "archived", Unit: "hosts/s", Figure: float64(hosts) / with.wall.Seconds(), Limit: float64(hosts) / without.wall.Seconds()}, with)
		return nil
	})
}

// networks puts the case's networks table in force.
func (s *system) networks(ctx context.Context) error {
	return s.operator().Do(ctx, "PUT", "/v1/networks", nil, rustock.Networks(), nil)
}

// publish sends the log of so many hosts and returns once all of it can be read.
func (s *system) publish(ctx context.Context, hosts int) (usage, error) {
	if err := s.networks(ctx); err != nil {
		return usage{}, err
	}
	return s.part(ctx, rustock.NewSample(hosts), rustock.Start, 0, hosts)
}

// part sends a part of a log.
func (s *system) part(ctx context.Context, sample *rustock.Sample, day time.Time, from, to int) (usage, error) {
	log := sample.Part(day, from, to)
	defer func() { _ = log.Close() }()
	m := start()
	receipt, err := s.operator().Publish(ctx, log, apiclient.Publication{Feed: rustock.Feed})
	if err != nil {
		return usage{}, err
	}
	u := m.stop()
	if receipt.Events != int64(to-from) {
		return usage{}, fmt.Errorf("bench: %d of %d hosts were taken: %v", receipt.Events, to-from, receipt.Problems)
	}
	return u, nil
}
