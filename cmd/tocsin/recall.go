package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/report"
)

func recallCommand() *cobra.Command {
	var a access
	var p publication
	var files, receipts, renames []string
	var asJSON bool
	c := &cobra.Command{
		Use: "recall --feed FEED --reason TEXT --file FILE|--receipt ID", Short: "Take back what was published by mistake", Args: arguments(0, 0),
		Long: `Take back what was published by mistake: the rows of a file, or those of a
receipt. Hosts of which nothing is left are withdrawn from everybody who was
given them, who is told so; of others those who have them get a version that
counts less. The feed's own collection, which is the publisher's, keeps what was
published. A row that another file has said as well is the same event, and goes
too; labels that were raised stay. Rows that were recalled can be published again.

Exit status 1 when rows are not on the feed; all others are recalled all the same.`,
		Example: `  tocsin recall --feed rustock --file 2026-03-19.csv --reason "wrong day"
  tocsin recall --feed rustock --receipt 6f1c… --reason "a test" --dry-run`,
		RunE: func(c *cobra.Command, _ []string) error {
			switch {
			case p.Feed == "" || p.Recall == "":
				return usagef("recall wants --feed and --reason")
			case (len(receipts) == 0) == (len(files) == 0):
				return usagef("recall wants --file or --receipt")
			}
			if err := p.read(renames); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			if len(files) > 0 {
				return publish(c, client, p.Publication, files, asJSON)
			}
			total := &exchange.Receipt{Feed: p.Feed, Collections: map[string]int64{}}
			for _, p.Receipt = range receipts {
				r, err := client.Recall(c.Context(), p.Publication)
				if err != nil {
					return fmt.Errorf("recall %s: %w", p.Receipt, err)
				}
				total.Add(r)
			}
			return showRecalled(c, total, asJSON)
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringVar(&p.Feed, "feed", "", "the feed")
	f.StringVar(&p.Recall, "reason", "", "why, for those who had it and for the audit")
	f.StringArrayVar(&files, "file", nil, "a file as it was published (repeat)")
	f.StringArrayVar(&receipts, "receipt", nil, "what a receipt is of, instead of a file (repeat)")
	f.StringVar(&p.Format, "format", report.Auto, "of the file, as for publish")
	f.StringArrayVar(&renames, "map", nil, "column=field, as for publish (repeat)")
	f.BoolVar(&p.DryRun, "dry-run", false, "say what would happen and recall nothing")
	f.BoolVar(&asJSON, "json", false, "print the receipt as JSON")
	return c
}

func showRecalled(c *cobra.Command, r *exchange.Receipt, asJSON bool) error {
	if err := showReceipt(c, r, asJSON); err != nil {
		return err
	}
	if r.ProblemsTotal > 0 {
		return errReported
	}
	return nil
}
