package main

import (
	"fmt"
	"io"
	"net/url"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/taxii"
)

func webhookCommand() *cobra.Command {
	return group("webhook", "URLs that are told when a collection grows",
		reading("list", "List webhooks and how they are", 0, listed("/v1/webhooks"), func(w io.Writer, list []*webhook.Status) {
			_, _ = fmt.Fprintln(w, "ID\tMEMBER\tCOLLECTION\tSENDS\tSTATE\tTAKEN\tLAST\tUP TO\tDEAD LETTERS\tERROR")
			for _, s := range list {
				_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%d\t%s\n", s.ID, s.Member, s.Collection, s.Send, s.Condition, s.State.Taken, instant(s.State.Last), upTo(s), len(s.State.Dead), first(s.State.Error, "-"))
			}
		}),
		reading("show ID", "Show a webhook with its dead letters", 1, under("/v1/webhooks"), webhookShow),
		webhookPing(), webhookResend(), webhookKey())
}

func webhookShow(w io.Writer, s *webhook.Status) {
	_, _ = fmt.Fprintf(w, "id\t%s\nmember\t%s\ncollection\t%s\nurl\t%s\nsends\t%s\nstate\t%s\ntaken\t%d, last %s\nup to\t%s\n",
		s.ID, s.Member, s.Collection, s.URL, s.Send, s.Condition, s.State.Taken, instant(s.State.Last), upTo(s))
	if s.State.Failures > 0 {
		_, _ = fmt.Fprintf(w, "failing\tsince %s, tries: %d: %s\nnext try\t%s\n", instant(s.State.Failing), s.State.Failures, s.State.Error, taxii.FormatTime(s.State.Next))
	}
	for i, l := range s.State.Dead {
		what, state := "all that was added", first(l.Error, "not tried yet")
		if l.Count > 0 {
			what = fmt.Sprintf("%d objects", l.Count)
		}
		if l.Again {
			state += ", is being sent again"
		}
		_, _ = fmt.Fprintf(w, "letter %d\t%s behind %s up to %s: %s\n", i+1, what, taxii.FormatTime(l.After), taxii.FormatTime(l.To), state)
	}
}

// upTo says how far a webhook is.
func upTo(s *webhook.Status) string {
	if !s.Newest.After(s.State.After) {
		return "the newest"
	}
	return taxii.FormatTime(s.State.After) + " of " + taxii.FormatTime(s.Newest)
}

func webhookPing() *cobra.Command {
	var a access
	c := &cobra.Command{
		Use: "ping ID", Short: "Send a webhook a signed request of type ping", Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := ask[api.Ping](c, &a, "POST", under("/v1/webhooks")(args)+"/ping", nil, nil)
			if err != nil {
				return err
			}
			if !p.Taken {
				return &hinted{fmt.Errorf("%s does not take it: %s", p.Webhook, p.Error), "examples/webhook has a receiver to begin with"}
			}
			_, _ = fmt.Fprintln(c.OutOrStdout(), p.Webhook, "has taken it")
			return nil
		},
	}
	a.flags(c)
	return c
}

func webhookResend() *cobra.Command {
	var a access
	var from string
	c := &cobra.Command{
		Use: "resend ID", Short: "Send dead letters again, or all since a time", Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			q := url.Values{}
			if from != "" {
				q.Set("from", from)
			}
			s, err := ask[*webhook.Status](c, &a, "POST", under("/v1/webhooks")(args)+"/resend", q, nil)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			webhookShow(w, s)
			return w.Flush()
		},
	}
	a.flags(c)
	c.Flags().StringVar(&from, "from", "", "send what was added behind this time, such as 2026-03-19T00:00:00Z")
	return c
}

func webhookKey() *cobra.Command {
	var a access
	var renew bool
	c := &cobra.Command{
		Use: "key MEMBER", Short: "Print the key that a member's webhooks are signed with", Args: arguments(1, 1),
		Long: `Print the key that a member's webhooks are signed with, as the last word on stdout.

Requests are signed as Standard Webhooks 1.0.0 has it, so its libraries check them. A new key is made with
--renew; requests are signed with both until the next one is made.`,
		RunE: func(c *cobra.Command, args []string) error {
			method := "GET"
			if renew {
				method = "POST"
			}
			k, err := ask[api.WebhookKeys](c, &a, method, under("/v1/members")(args)+"/webhook-key", nil, nil)
			if err != nil {
				return err
			}
			_, _ = fmt.Fprintln(c.OutOrStdout(), k.Key)
			return nil
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&renew, "renew", false, "make a new one first")
	return c
}
