package main

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
)

func auditCommand() *cobra.Command {
	var a access
	var asJSON, verify bool
	filter := map[string]*string{}
	var address, since, until string
	c := &cobra.Command{
		Use: "audit", Short: "Show who did what, and who was given what", Args: arguments(0, 0),
		Long: `Show who did what, oldest first: who read and published, who changed the register, what was
withheld, withdrawn or quarantined and why, which log-ins failed. --since and --until take a time such as
2026-03-19T00:00:00Z, or how long ago: 24h, 7d.

--given ADDRESS answers who has ever been given an address instead: into which collections it went, and
who has read them since. --verify walks the audit's chain.`,
		RunE: func(c *cobra.Command, _ []string) error {
			out := c.OutOrStdout()
			switch {
			case verify:
				chain, err := ask[api.AuditChain](c, &a, "GET", "/v1/audit/verify", nil, nil)
				if err != nil {
					return err
				}
				if chain.Problem != "" {
					return fmt.Errorf("the audit does not hold: %s", chain.Problem)
				}
				say(c, "%d records, whole", chain.Records)
				return nil
			case address != "":
				list, err := ask[[]api.Given](c, &a, "GET", "/v1/audit/given", url.Values{"address": {address}}, nil)
				if err != nil {
					return err
				}
				return show(out, list, asJSON, given)
			}
			query := url.Values{}
			for name, value := range filter {
				if *value != "" {
					query.Set(name, *value)
				}
			}
			for name, value := range map[string]string{"since": since, "until": until} {
				if value == "" {
					continue
				}
				at, err := instantOf(value)
				if err != nil {
					return fmt.Errorf("--%s: %w", name, err)
				}
				query.Set(name, at.Format(time.RFC3339Nano))
			}
			list, err := ask[api.Audit](c, &a, "GET", "/v1/audit", query, nil)
			if err != nil {
				return err
			}
			if list.More {
				say(c, "there is more: go on with --since %s", list.Entries[len(list.Entries)-1].At.Format(time.RFC3339Nano))
			}
			return show(out, list.Entries, asJSON, entries)
		},
	}
	a.flags(c)
	f := c.Flags()
	for _, name := range []string{"member", "collection", "action"} {
		filter[name] = f.String(name, "", "only of this "+name)
	}
	f.StringVar(&since, "since", "", "from then on")
	f.StringVar(&until, "until", "", "before then")
	f.StringVar(&address, "given", "", "who was given this address, or this account's e-mail address")
	f.BoolVar(&verify, "verify", false, "walk the audit's chain")
	f.BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// show prints a list as JSON or as a table.
func show[T any](out io.Writer, list []T, asJSON bool, table func(w io.Writer, list []T)) error {
	if asJSON {
		return printJSON(out, list)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	table(w, list)
	return w.Flush()
}

func entries(w io.Writer, list []exchange.AuditEntry) {
	_, _ = fmt.Fprintln(w, "AT\tACTION\tWHO\tFROM\tWAY\tOF\tCOUNT\tDETAIL")
	for _, e := range list {
		who := exchange.Caller{Member: e.Member, Person: e.Person}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", e.At.Format("2006-01-02T15:04:05Z"), e.Action, first(who.Name(), "-"),
			first(e.From, "-"), first(string(e.Channel), "-"), first(strings.TrimSpace(e.Feed+" "+e.Collection), "-"), e.Count, e.Detail)
	}
}

func given(w io.Writer, list []api.Given) {
	_, _ = fmt.Fprintln(w, "FEED\tDAY\tCOLLECTION\tDECIDED\tREADER\tWAY\tFIRST READ")
	for _, g := range list {
		if len(g.Readers) == 0 {
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\tnobody yet\t-\t-\n", g.Feed, g.Day, g.Collection, instant(g.Decided))
		}
		for _, r := range g.Readers {
			who := exchange.Caller{Member: r.Member, Person: r.Person}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", g.Feed, g.Day, g.Collection, instant(g.Decided), who.Name(), r.Channel, instant(r.At))
		}
	}
}

// instantOf reads a time, or how long ago it was.
func instantOf(s string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return at, nil
	}
	var ago exchange.Window
	if err := ago.UnmarshalText([]byte(s)); err != nil {
		return time.Time{}, fmt.Errorf("%.40q is neither a time such as 2026-03-19T00:00:00Z nor a length of time such as 24h or 7d", s)
	}
	return time.Now().Add(-time.Duration(ago)).UTC(), nil
}
