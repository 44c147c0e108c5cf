package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

// stopTime is how long a stop waits for what is under way. Where it is not over by stopEnd, as on a
// full or broken disk, the process ends all the same: what was acknowledged is on disk.
const (
	stopTime = 20 * time.Second
	stopEnd  = 28 * time.Second
)

func serveCommand() *cobra.Command {
	var file, data, httpAddr, natsAddr string
	var trust bool
	c := &cobra.Command{
		Use: "serve", Short: "Run an exchange", Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			conf := config.Default()
			if file != "" {
				var err error
				if conf, err = config.Load(file); err != nil {
					return err
				}
			}
			conf.Data, conf.HTTP.Listen, conf.NATS.Listen = first(data, conf.Data), first(httpAddr, conf.HTTP.Listen), first(natsAddr, conf.NATS.Listen)
			if errs := conf.Exposed(); len(errs) > 0 {
				return errors.Join(errs...)
			}
			return serve(c, &conf, trust)
		},
	}
	f := c.Flags()
	f.StringVar(&file, "config", "", "configuration file (tocsin config describe shows what may be in it)")
	f.StringVar(&data, "data", "", "data directory (default "+config.Default().Data+")")
	f.StringVar(&httpAddr, "http", "", "address for HTTP (default "+config.Default().HTTP.Listen+")")
	f.StringVar(&natsAddr, "nats", "", "address for NATS, or none (default "+config.Default().NATS.Listen+")")
	f.BoolVar(&trust, "trust-clock", false, "the machine's clock is right, though the exchange did not run for two months or more")
	for _, more := range serveFlags {
		more(c)
	}
	return c
}

// openNode opens a node, and serveFlags add flags; builds for tests have others.
var (
	openNode   = node.Open
	serveFlags []func(*cobra.Command)
)

// nodeOptions turns a configuration into a node's options.
func nodeOptions(conf *config.Config, stderr io.Writer) (node.Options, error) {
	opt := node.Options{
		Dir: conf.Data, HTTP: conf.HTTP.Listen, NATS: conf.NATS.Listen, CertFile: conf.TLS.Cert, KeyFile: conf.TLS.Key, ClientCA: conf.TLS.ClientCA,
		Metrics: conf.Metrics.Listen, PublicURL: conf.HTTP.PublicURL, CacheBytes: int64(conf.Memory.Cache),
		Memory: int64(conf.Memory.Budget), KeepAudit: time.Duration(conf.Audit.KeepDays) * 24 * time.Hour, BehindProxy: conf.HTTP.BehindProxy,
	}
	opt.Maintenance, opt.RestoreWindow = time.Duration(conf.Journal.Maintenance), time.Duration(conf.Archive.RestoreDays)*24*time.Hour
	opt.Scrub = time.Duration(conf.Journal.Scrub)
	l := &conf.Limits
	opt.Limits = api.Limits{
		Requests: float64(l.Requests), Bytes: float64(l.Bytes), Concurrent: int(l.Concurrent), AllConcurrent: int(l.AllConcurrent),
		Streams: int(l.Streams), AllStreams: int(l.AllStreams), Logins: float64(l.Logins), DayBytes: float64(l.DayBytes), StandingBytes: float64(l.StandingBytes),
	}
	if conf.Archive.To != "" {
		var err error
		if opt.Archive, err = archiveOf(&conf.Archive); err != nil {
			return opt, err
		}
	}
	if opt.NATS == config.NoListen {
		opt.NATS = ""
	}
	level := &slog.HandlerOptions{Level: conf.Log.Level}
	if conf.Log.Format == "json" {
		opt.Log = slog.New(slog.NewJSONHandler(stderr, level))
	} else {
		opt.Log = slog.New(slog.NewTextHandler(stderr, level))
	}
	if opt.NATSURLs = conf.NATS.URLs; len(opt.NATSURLs) > 0 {
		var err error
		if opt.NATSKeys, err = natsKeys(conf.NATS.Keys); err != nil {
			return opt, fmt.Errorf("nats.keys: %w", err)
		}
	}
	return opt, nil
}

func serve(c *cobra.Command, conf *config.Config, trust bool) error {
	opt, err := nodeOptions(conf, c.ErrOrStderr())
	if err != nil {
		return err
	}
	opt.TrustClock = trust
	// An exchange outlives the terminal that it was started from, and there is nothing to read anew.
	signal.Ignore(syscall.SIGHUP)
	for {
		n, err := openNode(c.Context(), opt)
		if err != nil {
			return err
		}
		say(c, "ready: HTTP %s, NATS %s, data %s", n.HTTPURL(), first(n.NATSURL(), "not open"), conf.Data)
		again := false
		select {
		case <-c.Context().Done():
		case <-n.Done():
		case <-n.Maintenance():
			again = true
		}
		if err := closeNode(c, n); err != nil || !again {
			return err
		}
	}
}

// closeNode stops a node in order and returns why it failed, if it did.
func closeNode(c *cobra.Command, n *node.Node) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context()), stopTime)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- n.Close(ctx) }()
	var err error
	select {
	case err = <-closed:
	case <-time.After(stopEnd):
		err = fmt.Errorf("not all had ended after %v", stopEnd)
	}
	if err != nil {
		return errors.Join(n.Err(), fmt.Errorf("stop: %w", err))
	}
	return n.Err()
}
