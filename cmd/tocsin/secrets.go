package main

import (
	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

func secretsCommand() *cobra.Command {
	var data string
	rotate := &cobra.Command{
		Use: "rotate", Short: "Make a new secret for cursors, and for what blocks hide, of a stopped exchange", Args: arguments(0, 0),
		Long: `Make a new secret for TAXII cursors, and for what blocks hide from their
readers: who posted what, and how far others were delivered. It holds from the next
start on. Cursors of before are taken for 30 days; what is on disk can be read for ever.

It is for an exchange with its own journal; with NATS servers of their own
(nats.urls) secrets are not rotated yet.

The secret that identifiers are made under is never rotated: every host would get
another identifier. Neither is that of webhooks, whose receivers have it.`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := node.Rotate(c.Context(), data); err != nil {
				return err
			}
			say(c, "there is a new secret; cursors of before are taken for %d days", int(register.CursorsFor.Hours()/24))
			return nil
		},
	}
	rotate.Flags().StringVar(&data, "data", config.Default().Data, "data directory")
	return group("secrets", "The secrets of an exchange", rotate)
}
