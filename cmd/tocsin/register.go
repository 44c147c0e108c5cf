package main

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

func applyCommand() *cobra.Command {
	var a access
	var file string
	var dryRun, prune, force, asJSON bool
	c := &cobra.Command{
		Use: "apply -f register.yaml", Short: "Change who takes part: members, feeds, collections", Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("apply wants -f FILE, or -f - for standard input")
			}
			text, err := readInput(c, file)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			query := url.Values{}
			if dryRun {
				query.Set("dry_run", "true")
			}
			if prune {
				query.Set("prune", "true")
			}
			if force {
				query.Set("force", "true")
			}
			var out api.Applied
			if err := client.Do(c.Context(), "POST", "/v1/register", query, text, &out); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			for _, line := range out.Diff {
				_, _ = fmt.Fprintln(c.OutOrStdout(), line)
			}
			for _, w := range out.Warnings {
				say(c, "warning: %s", w)
			}
			for _, p := range out.Backfill {
				say(c, "back-fill: %s is given %d hosts of feed %s that are there already", p.Member, p.Hosts, p.Feed)
			}
			switch {
			case len(out.Diff) == 0:
				say(c, "nothing to change; the register is at version %d", out.Version)
			case dryRun:
				say(c, "a dry run: nothing was changed")
			default:
				say(c, "the register is at version %d", out.Version)
			}
			return nil
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVarP(&file, "file", "f", "", "the file, - for standard input")
	f.BoolVar(&dryRun, "dry-run", false, "show what would change, and change nothing")
	f.BoolVar(&prune, "prune", false, "remove what the file lacks")
	f.BoolVar(&force, "force", false, "let a member have the whole world, or a domain such as com")
	f.BoolVar(&asJSON, "json", false, "print the outcome as JSON")
	return c
}

func readInput(c *cobra.Command, file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(c.InOrStdin())
	}
	return os.ReadFile(file)
}

func exportCommand() *cobra.Command {
	var a access
	c := &cobra.Command{
		Use: "export", Short: "Print the register as a file for apply", Args: arguments(0, 0),
		RunE: func(c *cobra.Command, _ []string) error {
			client, err := a.client()
			if err != nil {
				return err
			}
			var text []byte
			if err := client.Do(c.Context(), "GET", "/v1/register", nil, nil, &text); err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(text)
			return err
		},
	}
	a.flags(c)
	return c
}

// reading makes a command that fetches a value and prints it as JSON or as text.
func reading[T any](use, short string, args int, path func(args []string) string, show func(w io.Writer, v T)) *cobra.Command {
	var a access
	var asJSON bool
	c := &cobra.Command{
		Use: use, Short: short, Args: arguments(args, args),
		RunE: func(c *cobra.Command, args []string) error {
			v, err := ask[T](c, &a, "GET", path(args), nil, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), v)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			show(w, v)
			return w.Flush()
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// under returns the path of one thing below a list.
func under(list string) func(args []string) string {
	return func(args []string) string { return list + "/" + url.PathEscape(args[0]) }
}

func listed(list string) func([]string) string { return func([]string) string { return list } }

func memberLine(w io.Writer, m api.Member) {
	_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.ID, m.Kind, m.Clearance, m.Name, answersFor(&m.Constituency))
}

func memberCommand() *cobra.Command {
	return group("member", "Members and their credentials",
		reading("list", "List the members", 0, listed("/v1/members"), func(w io.Writer, list []api.Member) {
			_, _ = fmt.Fprintln(w, "ID\tKIND\tCLEARANCE\tNAME\tCONSTITUENCY")
			for _, m := range list {
				memberLine(w, m)
			}
		}),
		memberShow(), memberHide(), memberTokens(), memberToken(), memberRevoke())
}

func answersFor(c *exchange.Constituency) string {
	var list []string
	list = append(list, c.Countries...)
	for _, n := range c.ASNs {
		list = append(list, exchange.FormatASN(n))
	}
	for _, p := range c.Prefixes {
		list = append(list, p.String())
	}
	list = append(list, c.Domains...)
	if len(list) > 6 {
		list = append(list[:6], fmt.Sprintf("and %d more", len(list)-6))
	}
	return strings.Join(list, " ")
}

func collectionCommand() *cobra.Command {
	line := func(w io.Writer, x api.Collection) {
		last := "never"
		if !x.Last.IsZero() {
			last = x.Last.Format("2006-01-02T15:04:05Z")
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\n", x.ID, x.UUID, x.Ceiling, x.Objects, x.Blocks, last)
	}
	const head = "ID\tTAXII ID\tCEILING\tOBJECTS ADDED\tBLOCKS\tLAST ADDED"
	return group("collection", "Collections that you may read",
		reading("list", "List the collections", 0, listed("/v1/collections"), func(w io.Writer, list []api.Collection) {
			_, _ = fmt.Fprintln(w, head)
			for _, x := range list {
				line(w, x)
			}
		}),
		reading("show COLLECTION", "Show a collection", 1, under("/v1/collections"), func(w io.Writer, x api.Collection) {
			_, _ = fmt.Fprintln(w, head)
			line(w, x)
		}))
}

func feedCommand() *cobra.Command {
	line := func(w io.Writer, f exchange.Feed) {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.ID, f.Publisher, f.Operation, f.Malware.Name, f.DefaultTLP, f.Profile)
	}
	const head = "ID\tPUBLISHER\tOPERATION\tMALWARE\tDEFAULT TLP\tPROFILE"
	return group("feed", "Feeds that you may publish on",
		reading("list", "List the feeds", 0, listed("/v1/feeds"), func(w io.Writer, list []exchange.Feed) {
			_, _ = fmt.Fprintln(w, head)
			for _, f := range list {
				line(w, f)
			}
		}),
		reading("show FEED", "Show a feed", 1, under("/v1/feeds"), func(w io.Writer, f exchange.Feed) {
			_, _ = fmt.Fprintln(w, head)
			line(w, f)
		}))
}

func networksCommand() *cobra.Command {
	return group("networks", "The table that says where addresses are",
		networksImport(),
		reading("show", "Show which table is in force", 0, listed("/v1/networks"), func(w io.Writer, n api.Networks) {
			_, _ = fmt.Fprintf(w, "prefixes\t%d\nversion\t%s\n", n.Prefixes, first(n.Version, "none"))
		}))
}

func networksImport() *cobra.Command {
	var a access
	var format string
	c := &cobra.Command{
		Use: "import FILE…|-", Short: "Put tables in force that say where addresses are", Args: arguments(1, 100),
		Long: `Put tables in force that say where addresses are: all that are named, as one, in place of
the one before. Of what several say of a prefix, the last counts; AS number and country are
each taken from the longest prefix of which they are said.

Formats, plain or compressed with gzip or zstd: csv (prefix,asn,cc), ranges (from,to and AS number or
country), rir (delegated-extended), pfx2as (RouteViews), mmdb (MaxMind, DB-IP, IPinfo).`,
		RunE: func(c *cobra.Command, files []string) error {
			var rows []exchange.Network
			for _, file := range files {
				text, err := readInput(c, file)
				if err != nil {
					return err
				}
				plain, err := report.Decompress(bytes.NewReader(text))
				if err == nil {
					text, err = io.ReadAll(plain)
				}
				var some []exchange.Network
				if err == nil {
					some, err = constituency.ParseTable(text, format)
				}
				if err != nil {
					return &hinted{fmt.Errorf("%s: %w", file, err), "nothing was changed"}
				}
				say(c, "%s: %d prefixes", file, len(some))
				rows = append(rows, some...)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			var out api.Networks
			if err := client.Do(c.Context(), "PUT", "/v1/networks", nil, constituency.FormatNetworks(rows), &out); err != nil {
				return err
			}
			say(c, "%d prefixes in force", out.Prefixes)
			return nil
		},
	}
	a.flags(c)
	c.Flags().StringVar(&format, "format", "", "one of "+strings.Join(constituency.TableFormats(), ", ")+" (default: by content)")
	return c
}
