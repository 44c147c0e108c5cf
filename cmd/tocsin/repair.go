package main

import (
	"fmt"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

func repairCommand() *cobra.Command {
	var data string
	var do, accept, asJSON bool
	c := &cobra.Command{
		Use: "repair", Short: "Show what a stopped exchange's journal has lost, and put back what the view has", Args: arguments(0, 0),
		Long: `Show what the journal of a stopped exchange has lost. With --yes, intake records and blocks
that the view still has are put back where they were. What cannot be read in a file is cut
out of it either way; the file is kept as it was in the folder "damaged" of the data directory.

With --accept as well, the exchange goes on without what it does not make collections of:
quarantine, audit, receipts, statuses, and its own notes. What these have lost is lost.

Exit status 1 says that something is still damaged: restore that from a backup.`,
		Example: `  tocsin repair --data /var/lib/tocsin
  tocsin repair --data /var/lib/tocsin --yes`,
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := node.Repair(c.Context(), data, do, accept)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(c.OutOrStdout(), r); err != nil {
					return err
				}
			} else {
				repairTable(c, r, do)
			}
			if len(r.Left) > 0 {
				what := "cannot be repaired"
				if do {
					what = "is not repaired"
				}
				return &hinted{fmt.Errorf("%s: %s", r.Left[0].Stream, what), "restore the data directory from a backup; --accept goes on without what no collection is made of"}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", config.Default().Data, "data directory")
	f.BoolVar(&do, "yes", false, "do it; without, it is only shown")
	f.BoolVar(&accept, "accept", false, "go on without what no collection is made of")
	f.BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

func repairTable(c *cobra.Command, r *node.Repaired, did bool) {
	out := c.OutOrStdout()
	if len(r.Damage) == 0 {
		_, _ = fmt.Fprintln(out, "nothing is damaged")
		return
	}
	for _, d := range r.Damage {
		_, _ = fmt.Fprintln(out, "damaged:", d)
	}
	verb := "can be put back"
	if did {
		verb = "were put back"
	}
	for _, stream := range slices.Sorted(maps.Keys(r.PutBack)) {
		_, _ = fmt.Fprintf(out, "stream %s: %d messages %s\n", stream, r.PutBack[stream], verb)
	}
	for _, d := range r.Left {
		_, _ = fmt.Fprintln(out, "left:", d)
	}
}
