package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/api"
)

// perReport is how many hosts one request of a report has.
const perReport = 1000

func feedbackCommand() *cobra.Command {
	c := &cobra.Command{Use: "feedback", Short: "Tell the exchange what became of hosts", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	var a access
	var feed, at string
	clean := &cobra.Command{
		Use: "clean ADDRESS…|-", Short: "Report that hosts are clean", Args: arguments(1, 10_000),
		Long: `Report that hosts of yours are clean, or accounts, by their e-mail addresses; "-" reads them from
standard input, one a line.

What is seen of such a host afterwards is a relapse: it is given to you at once, also on a feed that
holds repeats back, and marked with the label "relapse".

Exit status 1 when a host was not taken; all others are in all the same.`,
		RunE: func(c *cobra.Command, args []string) error {
			when := time.Now()
			if at != "" {
				var err error
				if when, err = time.Parse(time.RFC3339, at); err != nil {
					return usagef("--at: %.40q is no time such as 2026-03-19T00:04:07Z", at)
				}
			}
			hosts, err := cleanHosts(c, args, when)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			cleaned, wrong := 0, 0
			for part := range slices.Chunk(hosts, perReport) {
				body, err := json.Marshal(api.CleanReport{Feed: feed, Hosts: part})
				if err != nil {
					return err
				}
				var out api.CleanAnswer
				if err := client.Do(c.Context(), "POST", "/v1/clean", nil, body, &out); err != nil {
					return err
				}
				for _, p := range out.Problems {
					say(c, "%s", p.Reason)
				}
				cleaned, wrong = cleaned+out.Cleaned, wrong+len(out.Problems)
			}
			_, _ = fmt.Fprintf(c.OutOrStdout(), "%d reported clean, %d not taken\n", cleaned, wrong)
			if wrong > 0 {
				return errReported
			}
			return nil
		},
	}
	a.flags(clean)
	clean.Flags().StringVar(&feed, "feed", "", "on this feed alone")
	clean.Flags().StringVar(&at, "at", "", "since when: 2026-03-19T00:04:07Z (default: now)")
	c.AddCommand(clean)
	return c
}

// cleanHosts reads hosts from arguments, or from standard input.
func cleanHosts(c *cobra.Command, args []string, at time.Time) (hosts []api.CleanHost, err error) {
	for _, arg := range args {
		if arg != "-" {
			hosts = append(hosts, api.CleanHost{Address: arg, At: at})
			continue
		}
		in := bufio.NewScanner(c.InOrStdin())
		for in.Scan() {
			if line := strings.TrimSpace(in.Text()); line != "" {
				hosts = append(hosts, api.CleanHost{Address: line, At: at})
			}
		}
		if err := in.Err(); err != nil {
			return nil, err
		}
	}
	return hosts, nil
}
