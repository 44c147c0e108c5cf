package main

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/stix"
)

func subscribeCommand() *cobra.Command {
	var a access
	var from, cursorFile string
	c := &cobra.Command{
		Use: "subscribe COLLECTION", Short: "Receive a collection as it grows", Args: arguments(1, 1),
		Long: `Receive a collection as it grows, one object a line, until Ctrl-C: over NATS
where it goes out that way to you, else as server-sent events.

Each subscriber gets everything: --from says from where on, the start of the
collection where nothing else is said. With --cursor it receives server-sent
events and goes on where the last run stopped.`,
		Example: `  tocsin subscribe cert-at --from now
  tocsin subscribe cert-at --cursor cert-at.event`,
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.resolve()
			if err != nil {
				return err
			}
			out, err := newObjectWriter(c.OutOrStdout(), "jsonl")
			if err != nil {
				return err
			}
			show := func(bundle []byte) error {
				if err := stix.Objects(bundle, out.object); err != nil {
					return err
				}
				return out.flush(true)
			}
			client := newClient(r)
			err = errNotOverNATS
			if r.user != exchange.Admin && r.user != "" && cursorFile == "" {
				err = client.Subscribe(c.Context(), args[0], from, func(b *apiclient.Block) error {
					for _, o := range b.Removed {
						say(c, "removed from %s: object %d of block %d %s", args[0], o.Position, b.Number, o.ID)
					}
					if b.Bundle == nil {
						return nil
					}
					return show(b.Bundle)
				})
			}
			var answer *apiclient.Error
			if errors.Is(err, errNotOverNATS) || errors.As(err, &answer) && answer.Status == http.StatusConflict {
				err = events(c, client, args[0], from, cursorFile, show)
			}
			if errors.Is(err, context.Canceled) {
				return nil
			}
			return err
		},
	}
	a.flags(c)
	c.Flags().StringVar(&from, "from", "", "start, now, or the number of a block (default: start, or where --cursor stopped)")
	c.Flags().StringVar(&cursorFile, "cursor", "", "receive server-sent events, and keep how far you are in this file")
	return c
}

// withdrawn tells of objects that the label was raised of: whoever has them is to handle them so.
func withdrawn(c *cobra.Command, collection string, ids []string) {
	for _, id := range ids {
		say(c, "withdrawn from %s, because its TLP label was raised: %s", collection, id)
	}
}

// errNotOverNATS means that the caller is none who receives over NATS.
var errNotOverNATS = errors.New("not over NATS")

// events receives server-sent events. The file holds the id of the last one.
func events(c *cobra.Command, client *apiclient.Client, collection, from, file string, show func([]byte) error) error {
	last := ""
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if from == "" {
			last = strings.TrimSpace(string(text))
		}
	}
	return client.Events(c.Context(), collection, from, last, func(e *apiclient.Event) error {
		withdrawn(c, collection, e.Withdrawn)
		if e.Bundle != nil {
			if err := show(e.Bundle); err != nil {
				return err
			}
		}
		if file == "" || e.ID == "" {
			return nil
		}
		return replaceFile(file, []byte(e.ID+"\n"))
	})
}
