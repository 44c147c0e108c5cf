package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func quarantineCommand() *cobra.Command {
	line := func(w io.Writer, h *submission.Quarantined) {
		_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", h.ID, h.At.Format("2006-01-02T15:04Z"), h.By, h.Collection, h.Object, first(h.Decision, "waits"), first(h.Why, h.Reason))
	}
	const head = "ID\tSINCE\tBY\tCOLLECTION\tOBJECT\tSTATE\tREASON"
	return group("quarantine", "What is marked in a way that is not known here",
		reading("list", "List what waits for a decision", 0, listed("/v1/quarantine"), func(w io.Writer, list []*submission.Quarantined) {
			_, _ = fmt.Fprintln(w, head)
			for _, h := range list {
				line(w, h)
			}
		}),
		reading("show ID", "Show one of them, decided about or not", 1, under("/v1/quarantine"), func(w io.Writer, h *submission.Quarantined) {
			_, _ = fmt.Fprintln(w, head)
			line(w, h)
		}),
		decide("release", "Let an object into the collection that it was meant for", true),
		decide("reject", "Keep an object out for good", false))
}

// decide makes a command that decides about what is in quarantine.
func decide(name, short string, release bool) *cobra.Command {
	var a access
	var d api.Decision
	c := &cobra.Command{
		Use: name + " ID", Short: short, Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			text, err := json.Marshal(&d)
			if err != nil {
				return err
			}
			h, err := ask[submission.Quarantined](c, &a, "POST", "/v1/quarantine/"+url.PathEscape(args[0]), nil, text)
			if err != nil {
				return err
			}
			say(c, "%s is %s", h.Object, h.Decision)
			return nil
		},
	}
	a.flags(c)
	c.Flags().StringVar(&d.Reason, "reason", "", "why, for the record")
	_ = c.MarkFlagRequired("reason")
	if release {
		c.Flags().TextVar(&d.Label, "tlp", tlp.None, "the label that it has from now on")
		_ = c.MarkFlagRequired("tlp")
	}
	return c
}
