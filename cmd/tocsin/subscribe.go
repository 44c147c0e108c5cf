package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/stix"
)

func subscribeCommand() *cobra.Command {
	var a access
	var from string
	c := &cobra.Command{
		Use: "subscribe COLLECTION", Short: "Receive a collection over NATS as it grows", Args: arguments(1, 1),
		Long: `Receive a collection over NATS as it grows, one object a line, until Ctrl-C. The
exchange remembers how far you are; --from start, now or a block's number moves
you first.`,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.resolve()
			if err != nil {
				return err
			}
			if r.user == exchange.Admin {
				return &hinted{errors.New("the operator does not receive over NATS"), "log in as a member with --user and --token-file"}
			}
			out, err := newObjectWriter(c.OutOrStdout(), "jsonl")
			if err != nil {
				return err
			}
			err = newClient(r).Subscribe(c.Context(), args[0], from, func(b *apiclient.Block) error {
				if err := stix.Objects(b.Bundle, out.object); err != nil {
					return err
				}
				return out.flush()
			})
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	a.flags(c)
	c.Flags().StringVar(&from, "from", "", "start, now, or the number of a block (default: where you stopped)")
	return c
}
