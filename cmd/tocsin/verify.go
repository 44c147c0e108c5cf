package main

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime/debug"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

func verifyCommand() *cobra.Command {
	var a access
	var asJSON bool
	c := &cobra.Command{
		Use: "verify [COLLECTION…]", Short: "Walk the chains of collections from their first block to the last", Args: arguments(0, 10_000),
		Long: `Walk the chains of collections: block numbers without a gap, hashes that fit,
stamps that grow, contents that are what the blocks say. Without arguments all
that you may read. Where no exchange runs on --data, it is read directly.`,
		RunE: func(c *cobra.Command, names []string) error {
			chains, damage := verify(c, &a, names)
			if damage != nil && len(chains) == 0 {
				return damage
			}
			bad := 0
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			for _, x := range chains {
				if x.Problem != "" {
					bad++
				}
				if asJSON {
					if err := printJSON(c.OutOrStdout(), x); err != nil {
						return err
					}
					continue
				}
				_, _ = fmt.Fprintf(w, "%s\t%d blocks\t%d objects\t%.16s\t%s\n", x.Collection, x.Blocks, x.Objects, x.Head, first(x.Problem, "whole"))
			}
			if err := w.Flush(); err != nil {
				return err
			}
			if damage != nil {
				return damage
			}
			if bad > 0 {
				return &hinted{fmt.Errorf("%d of %d chains do not hold", bad, len(chains)), "restore the journal from a backup; the publisher can also send again"}
			}
			return nil
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print a line of JSON for each collection")
	return c
}

func verify(c *cobra.Command, a *access, names []string) ([]record.Chain, error) {
	if a.server == "" && os.Getenv("TOCSIN_SERVER") == "" {
		if chains, err := verifyOffline(c, a.data, names); !errors.Is(err, node.ErrLocked) {
			return chains, err
		}
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	return verifyOnline(c, client, names)
}

func verifyOnline(c *cobra.Command, client *apiclient.Client, names []string) (chains []record.Chain, err error) {
	if len(names) == 0 {
		var list []api.Collection
		if err := client.Do(c.Context(), "GET", "/v1/collections", nil, nil, &list); err != nil {
			return nil, err
		}
		for _, x := range list {
			if x.Feed == "" {
				names = append(names, x.ID)
			}
		}
	}
	for _, name := range names {
		var x record.Chain
		if err := client.Do(c.Context(), "GET", "/v1/collections/"+url.PathEscape(name)+"/verify", nil, nil, &x); err != nil {
			return nil, err
		}
		chains = append(chains, x)
	}
	return chains, nil
}

// verifyOffline reads the journal of an exchange that does not run.
func verifyOffline(c *cobra.Command, dir string, names []string) ([]record.Chain, error) {
	var chains []record.Chain
	err := node.WithJournal(c.Context(), dir, func(j node.Journal) (err error) {
		chains, err = j.Verify(c.Context(), names...)
		return err
	})
	return chains, err
}

func rebuildCommand() *cobra.Command {
	var data string
	c := &cobra.Command{
		Use: "rebuild", Short: "Delete the view of a stopped exchange and make it anew from the journal", Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			start := time.Now()
			if err := node.Rebuild(c.Context(), data); err != nil {
				return err
			}
			n, err := node.Open(c.Context(), node.Options{Dir: data})
			if err != nil {
				return err
			}
			intake, blocks := n.View.Applied(), n.View.AppliedBlocks()
			if err := closeNode(c, n); err != nil {
				return err
			}
			say(c, "rebuilt from %d intake records and %d blocks in %v", intake, blocks, time.Since(start).Round(time.Millisecond))
			return nil
		},
	}
	c.Flags().StringVar(&data, "data", config.Default().Data, "data directory")
	return c
}

func configCommand() *cobra.Command {
	return group("config", "The configuration file",
		&cobra.Command{
			Use: "check FILE", Short: "Report everything that is wrong with a file", Args: arguments(1, 1),
			RunE: func(c *cobra.Command, args []string) error {
				if _, err := config.Load(args[0]); err != nil {
					return err
				}
				say(c, "%s is good", args[0])
				return nil
			},
		},
		&cobra.Command{
			Use: "describe", Short: "Print the reference: every key with its default", Args: arguments(0, 0),
			RunE: func(c *cobra.Command, _ []string) error { return config.Describe(c.OutOrStdout()) },
		}, natsConfig())
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			version, goVersion := version()
			_, err := fmt.Fprintf(c.OutOrStdout(), "tocsin %s %s\n", version, goVersion)
			return err
		},
	}
}

// version is this program's version and that of Go.
func version() (own, goVersion string) {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version, info.GoVersion
	}
	return "(unknown)", ""
}

// userAgent is how this program names itself to servers.
func userAgent() string {
	own, _ := version()
	return "tocsin/" + strings.Trim(own, "()")
}
