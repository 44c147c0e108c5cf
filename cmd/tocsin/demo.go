package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

func demoCommand() *cobra.Command {
	d := &demo{}
	c := &cobra.Command{
		Use: "demo", Short: "Run the Rustock takedown of 2011 on an exchange of its own", Args: arguments(0, 0),
		Long: `Start an exchange with the 21 teams of 2011, a publisher and three network
owners; publish a synthetic sinkhole log; read every collection back over TAXII,
and one over NATS, and count. All addresses are reserved ones: no real host is
named. It runs until Ctrl-C, so that you can look around.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if d.hosts < 1 || d.hosts > rustock.World {
				return usagef("--hosts is 1 to %d, the size of the real case", rustock.World)
			}
			return d.run(c)
		},
	}
	f := c.Flags()
	f.IntVar(&d.hosts, "hosts", 100_000, "infected addresses; the real case had 1601619")
	f.StringVar(&d.data, "data", "", "data directory to make and keep, for trying out alone: everybody knows the secret of its ids (default: a temporary one)")
	f.BoolVar(&d.once, "once", false, "end when all is visible: exit status 0 only if every address is where it belongs")
	f.BoolVar(&d.json, "json", false, "print one line of JSON instead of text")
	return c
}

// demoSecret is what the demo makes its objects' identifiers under, so that two runs can be compared.
const demoSecret = "the secret of the demo, which is none"

// demo is one run.
type demo struct {
	hosts      int
	data       string
	once, json bool

	c      *cobra.Command
	out    io.Writer // for people
	n      *node.Node
	sample *rustock.Sample
	admin  *apiclient.Client
	tokens map[string]string
}

// demoResult is what --json prints.
type demoResult struct {
	Hosts          int              `json:"hosts"`
	Events         int64            `json:"events"`
	Rejected       int64            `json:"rejected"`
	Unclaimed      int64            `json:"unclaimed"`
	Collections    map[string]int64 `json:"collections"`
	Countries      map[string]int64 `json:"countries"`
	Seconds        float64          `json:"seconds"`
	HostsPerSecond float64          `json:"hosts_per_second"`
	Wrong          int64            `json:"wrong"`
}

func (d *demo) say(format string, args ...any) { _, _ = fmt.Fprintf(d.out, format, args...) }

func (d *demo) run(c *cobra.Command) (err error) {
	d.c, d.out, d.sample, d.tokens = c, c.OutOrStdout(), rustock.NewSample(d.hosts), make(map[string]string)
	if d.json {
		d.out = io.Discard
	}
	if d.data == "" {
		if d.data, err = os.MkdirTemp("", "tocsin-demo-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(d.data)) }()
	} else if _, err := os.Stat(filepath.Join(d.data, "journal")); err == nil {
		return &hinted{fmt.Errorf("%s holds an exchange already", d.data), "the demo wants a directory of its own; tocsin serve --data runs one that is there"}
	}
	httpAddr, natsAddr := freeOr(c.Context(), "127.0.0.1:6120", d.once), freeOr(c.Context(), "127.0.0.1:6122", d.once)
	if d.n, err = node.Open(c.Context(), node.Options{Dir: d.data, HTTP: httpAddr, NATS: natsAddr, Secret: []byte(demoSecret)}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeNode(c, d.n)) }()
	return d.story(c.Context())
}

// freeOr returns the address, or any port where that one is taken or not wanted.
func freeOr(ctx context.Context, address string, anyPort bool) string {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		_ = l.Close()
	}
	if err != nil || anyPort {
		return "127.0.0.1:0"
	}
	return address
}

func (d *demo) story(ctx context.Context) error {
	d.admin = newClient(resolved{d.n.HTTPURL(), exchange.Admin, d.n.AdminToken()})
	if err := d.register(ctx); err != nil {
		return err
	}
	d.say("The Rustock botnet was taken down in March 2011. %d addresses now call the sinkhole.\n", d.hosts)
	d.say("The exchange runs at %s, with the 21 teams of 2011, a publisher and 3 network owners.\n\n", d.n.HTTPURL())

	start := time.Now()
	receipt, err := d.publish(ctx)
	if err != nil {
		return err
	}
	seconds := time.Since(start).Seconds()
	d.say("Published in %.1f s: %d events, %d rejected; all durable, all visible (%.0f hosts/s).\n\n", seconds, receipt.Events, receipt.Rejected, float64(d.hosts)/seconds)
	d.table(receipt)

	check, err := d.readBack(ctx)
	if err != nil {
		return err
	}
	d.say("\nEvery collection read back over TAXII and counted: %d of %d addresses are where they belong, and nowhere else.\n", int64(d.hosts)-check.wrongHosts, d.hosts)
	got, want, err := d.overNATS(ctx, "cert-at", check)
	if err != nil {
		return err
	}
	wrong := check.wrong + got
	d.say("CERT.at received its %d addresses over NATS as well.\n", want)
	refused, err := d.neighbour(ctx, "cert-at", "cert-br")
	if err != nil {
		return err
	}
	if !refused {
		wrong++
	}
	d.say("CERT.at asked for CERT.br's collection and got nothing: 404 over TAXII, permissions violation over NATS.\n")
	if d.json {
		err := printJSON(d.c.OutOrStdout(), demoResult{
			Hosts: d.hosts, Events: receipt.Events, Rejected: receipt.Rejected, Unclaimed: receipt.Unclaimed, Collections: receipt.Collections,
			Countries: check.countries, Seconds: seconds, HostsPerSecond: float64(d.hosts) / seconds, Wrong: wrong,
		})
		if err != nil {
			return err
		}
	}
	if !d.once {
		return errors.Join(wrongError(wrong), d.stay(ctx))
	}
	return wrongError(wrong)
}

func wrongError(wrong int64) error {
	if wrong == 0 {
		return nil
	}
	return fmt.Errorf("%d addresses are not where they belong", wrong)
}

// register puts the case's register and networks table in force and makes a
// credential for every member.
func (d *demo) register(ctx context.Context) error {
	if err := d.admin.Do(ctx, "POST", "/v1/register", nil, rustock.Register, nil); err != nil {
		return err
	}
	if err := d.admin.Do(ctx, "PUT", "/v1/networks", nil, rustock.Networks(), nil); err != nil {
		return err
	}
	var members []api.Member
	if err := d.admin.Do(ctx, "GET", "/v1/members", nil, nil, &members); err != nil {
		return err
	}
	for _, m := range members {
		var t api.Token
		if err := d.admin.Do(ctx, "POST", "/v1/members/"+m.ID+"/tokens", nil, []byte{}, &t); err != nil {
			return err
		}
		d.tokens[m.ID] = t.Token
	}
	d.tokens[exchange.Admin] = d.n.AdminToken()
	return nil
}

// as returns a client with a member's credential.
func (d *demo) as(member string) *apiclient.Client {
	return newClient(resolved{d.n.HTTPURL(), member, d.tokens[member]})
}

func (d *demo) publish(ctx context.Context) (*exchange.Receipt, error) {
	log := d.sample.Log()
	defer func() { _ = log.Close() }()
	bar := newProgress(d.c.ErrOrStderr(), "publishing", int64(d.hosts), "hosts")
	defer bar.stop()
	done := int64(0)
	receipt, err := d.as("dcu").Publish(ctx, log, apiclient.Publication{
		Feed: rustock.Feed,
		Progress: func(r *exchange.Receipt) {
			bar.add(r.Rows - done)
			done = r.Rows
		},
	})
	if err != nil {
		return nil, err
	}
	if receipt.Rows != int64(d.hosts) || receipt.Events != receipt.Rows {
		return nil, fmt.Errorf("%d of %d rows became events: %v", receipt.Events, receipt.Rows, receipt.Problems)
	}
	return receipt, nil
}

// table shows who got how many.
func (d *demo) table(r *exchange.Receipt) {
	w := tabwriter.NewWriter(d.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "COLLECTION\tADDRESSES\tWHO\tWHY")
	for _, m := range d.n.Register.Current().Members {
		if m.Kind == exchange.CSIRT || m.Kind == exchange.NetworkOwner {
			_, _ = fmt.Fprintf(w, "%s\t%9d\t%s\t%s\n", m.ID, r.Collections[m.ID], m.Name, answersFor(&m.Constituency))
		}
	}
	_, _ = fmt.Fprintf(w, "%s\t%9d\t%s\t%s\n", exchange.Unclaimed, r.Unclaimed, "the operator", "no member is responsible for these yet")
	_ = w.Flush()
}

// stay keeps the exchange up and says how to look at it.
func (d *demo) stay(ctx context.Context) error {
	d.say(`
Look around while it runs, as CERT.at in another terminal:
  export TOCSIN_SERVER=%[1]s TOCSIN_USER=cert-at TOCSIN_TOKEN=%[2]s
  go run ./cmd/tocsin pull cert-at --match type=indicator
  go run ./cmd/tocsin pull cert-at --output csv
  go run ./cmd/tocsin subscribe cert-at --from start
  curl -su $TOCSIN_USER:$TOCSIN_TOKEN "$TOCSIN_SERVER/exchange/collections/cert-at/objects/?limit=7"

Ctrl-C ends it.
`, d.n.HTTPURL(), d.tokens["cert-at"])
	select {
	case <-ctx.Done():
		return nil
	case <-d.n.Done():
		return d.n.Err()
	}
}
