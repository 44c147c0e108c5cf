package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// demoCheck is what reading everything back has shown. What belongs where comes
// from the generator, which knows nothing of how the exchange routes.
type demoCheck struct {
	// has tells, for each collection, which hosts of the sample are in it.
	has map[string][]bool
	// wrong counts (address, collection) pairs that are missing, misplaced,
	// strange or there twice; wrongHosts the hosts concerned.
	wrong, wrongHosts int64
	countries         map[string]int64
}

// readers are the members that read each collection back.
func (d *demo) readers() map[string]string {
	list := map[string]string{exchange.Unclaimed: exchange.Admin, exchange.FeedCollection(rustock.Feed): "dcu"}
	for _, m := range d.n.Register.Current().Members {
		if m.Kind == exchange.CSIRT || m.Kind == exchange.NetworkOwner {
			list[m.ID] = m.ID
		}
	}
	return list
}

// readBack reads every collection over TAXII, as the member that it is for, and
// compares.
func (d *demo) readBack(ctx context.Context) (*demoCheck, error) {
	check := &demoCheck{has: make(map[string][]bool), countries: make(map[string]int64)}
	strange := make(map[string]*int64)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for collection, member := range d.readers() {
		has, odd := make([]bool, d.hosts), new(int64)
		check.has[collection], strange[collection] = has, odd
		group.Go(func() error {
			client, err := taxiiclient.New(taxiiclient.Options{Server: d.n.HTTPURL(), User: member, Token: d.tokens[member]})
			if err != nil {
				return err
			}
			col, err := client.Find(ctx, collection)
			if err != nil {
				return fmt.Errorf("%s reads %s: %w", member, collection, err)
			}
			filter := taxii.Filter{Types: []string{"ipv4-addr", "ipv6-addr"}, Limit: 5000}
			for page, err := range client.Pages(ctx, col, taxiiclient.Cursor{}, filter) {
				if err != nil {
					return fmt.Errorf("%s reads %s: %w", member, collection, err)
				}
				for _, raw := range page.Objects {
					if !d.mark(has, raw) {
						*odd++
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, n := range strange {
		check.wrong += *n
	}
	d.compare(check)
	return check, nil
}

// mark notes the host that an address object stands for. It reports false for
// an address that is none of the sample, or is there a second time.
func (d *demo) mark(has []bool, raw []byte) bool {
	var o struct{ Value netip.Addr }
	if err := json.Unmarshal(raw, &o); err != nil {
		return false
	}
	if o.Value == rustock.Sinkhole {
		return true
	}
	h, ok := d.sample.Find(o.Value)
	if !ok || has[d.sample.Index(h)] {
		return false
	}
	has[d.sample.Index(h)] = true
	return true
}

// compare holds what was read against where each host belongs.
func (d *demo) compare(check *demoCheck) {
	d.sample.Each(func(h rustock.Host) bool {
		i := d.sample.Index(h)
		should := map[string]bool{exchange.FeedCollection(rustock.Feed): true}
		for _, c := range h.Collections() {
			should[c] = true
		}
		wrong, seen := int64(0), false
		for c, has := range check.has {
			if has[i] != should[c] {
				wrong++
			}
			seen = seen || has[i]
		}
		if seen {
			check.countries[rustock.Countries[h.Country].Code]++
		}
		check.wrong += wrong
		check.wrongHosts += min(wrong, 1)
		return true
	})
}

// overNATS receives a member's collection from its start over NATS, and counts
// the addresses that differ from those read over TAXII.
func (d *demo) overNATS(ctx context.Context, member string, check *demoCheck) (wrong, want int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	has := make([]bool, d.hosts)
	last := d.n.View.Stats(member).Blocks
	if last == 0 {
		return 0, 0, nil
	}
	err = d.as(member).Subscribe(ctx, member, "start", func(b *apiclient.Block) error {
		err := stix.Objects(b.Bundle, func(raw []byte) error {
			head, err := stix.ParseHead(raw)
			if err == nil && (head.Type == "ipv4-addr" || head.Type == "ipv6-addr") {
				d.mark(has, raw)
			}
			return err
		})
		if err == nil && b.Number == last {
			err = errLastBlock
		}
		return err
	})
	if !errors.Is(err, errLastBlock) {
		return 0, 0, fmt.Errorf("%s receives over NATS: %w", member, err)
	}
	for i := range has {
		if has[i] != check.has[member][i] {
			wrong++
		}
		if has[i] {
			want++
		}
	}
	return wrong, want, nil
}

var errLastBlock = errors.New("the last block is in")

// neighbour lets a member ask for another's collection in both ways, and reports
// whether it was refused.
func (d *demo) neighbour(ctx context.Context, member, other string) (bool, error) {
	client, err := taxiiclient.New(taxiiclient.Options{Server: d.n.HTTPURL(), User: member, Token: d.tokens[member]})
	if err != nil {
		return false, err
	}
	_, listed := client.Find(ctx, other)
	var status *taxiiclient.StatusError
	var read error
	for _, err := range client.Pages(ctx, &taxiiclient.Collection{URL: d.n.HTTPURL() + "/exchange/collections/" + other + "/"}, taxiiclient.Cursor{}, taxii.Filter{}) {
		read = err
		break
	}
	overTAXII := errors.Is(listed, taxiiclient.ErrNoCollection) && errors.As(read, &status) && status.Status == 404
	refused, err := d.as(member).RefusedOverNATS(ctx, d.n.NATSURL(), other)
	return overTAXII && refused, err
}
