package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// perPost is how many indicators one POST has.
const perPost = 1000

// posters is how many members' clients post at a time; one alone leaves a processor idle while its
// block is written.
const posters = 4

// posts posts indicators to a collection.
func (o *Options) posts(ctx context.Context) error {
	n := o.size(60_000, 600_000)
	for _, c := range []struct {
		name    string
		posters int
	}{{"post-1000", posters}, {"post-1000-alone", 1}} {
		err := o.besideBare(ctx, c.name, "objects/s", teamRegister, n, func(s *system) (usage, error) { return s.post(ctx, "board", n, 0, c.posters) })
		if err != nil {
			return err
		}
	}
	return nil
}

// post posts a version of n indicators to a collection, a thousand at a time, over some connections.
func (s *system) post(ctx context.Context, collection string, n, version, connections int) (usage, error) {
	token, _, err := s.Register.NewToken(ctx, "bench", "team", exchange.Token{})
	if err != nil {
		return usage{}, err
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: connections}}
	defer client.CloseIdleConnections()
	m := start()
	g, ctx := errgroup.WithContext(ctx)
	var taken atomic.Int64
	for range connections {
		g.Go(func() error {
			var body []byte
			for {
				i := int(taken.Add(perPost)) - perPost
				if i >= n {
					return nil
				}
				body = append(body[:0], `{"objects":[`...)
				for j := i; j < i+perPost; j++ {
					if j > i {
						body = append(body, ',')
					}
					body = append(body, indicator(stix.DerivedID("indicator", "object", strconv.Itoa(j)), version)...)
				}
				body = append(body, "]}"...)
				if err := s.postOne(ctx, client, token, collection, body); err != nil {
					return err
				}
			}
		})
	}
	err = g.Wait()
	return m.stop(), err
}

// postOne posts an envelope of perPost objects, all of which have to be taken.
func (s *system) postOne(ctx context.Context, client *http.Client, token, collection string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.HTTPURL()+"/exchange/collections/"+collection+"/objects/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("team", token)
	req.Header.Set("Content-Type", taxii.MediaType)
	req.Header.Set("Accept", taxii.MediaType)
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil || res.StatusCode != http.StatusAccepted || !bytes.Contains(text, fmt.Appendf(nil, `"success_count":%d`, perPost)) {
		return fmt.Errorf("bench: post answered %s: %.300s: %w", res.Status, text, err)
	}
	return nil
}

// lone publishes single events on an idle exchange, and measures until the
// receipt, and until a subscriber has it over NATS: the medians.
func (o *Options) lone(ctx context.Context) error {
	return o.temporary(func(dir string) error {
		return o.during(ctx, dir, teamRegister, func(s *system) error {
			token, _, err := s.Register.NewToken(ctx, "bench", "team", exchange.Token{})
			if err != nil {
				return err
			}
			if err := s.networks(ctx); err != nil {
				return err
			}
			subscribed, cancel := context.WithCancel(ctx)
			arrived, ended := make(chan time.Time, 16), make(chan error, 1)
			go func() {
				c := &apiclient.Client{Server: s.HTTPURL(), User: "team", Token: token, HTTP: taxiiclient.NewHTTP()}
				ended <- c.Subscribe(subscribed, "team", "start", func(*apiclient.Block) error { arrived <- time.Now(); return nil })
			}()
			defer func() {
				cancel()
				<-ended //nolint:errcheck // it was ended
			}()
			var receipts, receptions []time.Duration
			sample := rustock.NewSample(200)
			m := start()
			for i := range sample.Hosts {
				one, err := s.part(ctx, sample, rustock.Start, i, i+1)
				if err != nil {
					return err
				}
				receipts = append(receipts, one.wall)
				select {
				case at := <-arrived:
					receptions = append(receptions, at.Sub(one.at))
				case err := <-ended:
					ended <- nil
					return err
				}
			}
			u := m.stop()
			for name, list := range map[string][]time.Duration{"lone-receipt": receipts, "lone-received": receptions} {
				slices.Sort(list)
				o.report(Result{Bench: "ingest", Case: name, Unit: "ms", Figure: (&served{took: list}).median(), Limit: 20}, u)
			}
			return nil
		})
	})
}

// days publishes the whole log for three days, each address anew: 4.8 million
// hosts. Its figure is the rate of the last day, the limit that of the first.
func (o *Options) days(ctx context.Context) error {
	return o.repeated(ctx, "third-day", 24*time.Hour, rustock.World)
}

// again publishes a part of the log three times within a day, so that each host's objects
// have new versions. Its figure is the rate of the last time, the limit that of the first.
func (o *Options) again(ctx context.Context) error {
	return o.repeated(ctx, "third-time", 7*time.Hour, 500_000)
}

// repeated publishes the log's first hosts three times, with a step of time between, where Full is set.
func (o *Options) repeated(ctx context.Context, name string, step time.Duration, hosts int) error {
	if !o.Full {
		return nil
	}
	return o.temporary(func(dir string) error {
		return o.during(ctx, dir, rustockRegister(exchange.ProfileObservation), func(s *system) error {
			if err := s.networks(ctx); err != nil {
				return err
			}
			sample := rustock.NewSample(rustock.World)
			var rates []float64
			var total usage
			for n := range 3 {
				u, err := s.part(ctx, sample, rustock.Start.Add(time.Duration(n)*step), 0, hosts)
				if err != nil {
					return err
				}
				rates = append(rates, float64(hosts)/u.wall.Seconds())
				total.cpu, total.peak = total.cpu+u.cpu, max(total.peak, u.peak)
			}
			o.report(Result{Bench: "ingest", Case: name, Unit: "hosts/s", Figure: rates[2], Limit: rates[0]}, total)
			return nil
		})
	})
}
