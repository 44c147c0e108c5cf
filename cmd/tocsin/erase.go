package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/node"
)

func eraseCommand() *cobra.Command {
	var a access
	var addresses, accounts []string
	var file, reason string
	var asJSON bool
	c := &cobra.Command{
		Use: "erase", Short: "Erase addresses or accounts from all that an exchange keeps", Args: arguments(0, 0),
		Long: `Erase addresses or accounts from all that an exchange keeps: rows and what they were made into,
members' objects that name them, receipts, statuses, quarantine, the audit's details, the view,
and the archive. Addresses are found in any form, also as 203[.]0[.]113[.]45 or under in-addr.arpa.

At once those whom it was given can read it no more, and are told that it was withdrawn. The files
are written anew when the exchange starts next, at journal.maintenance at the latest; of one that
does not run, right away. With them it goes from the feed's own collection, and from other hosts'
data that name it as what they called, their observed-data with it. After a restore it is erased
again. Numbers, stamps and chains stay as they are, and the audit has that it was done, when, why,
and how much, but not what.

Backups that tocsin backup has made are yours to delete; so is what was published: it can come again.
The address from which somebody asked the exchange stays in the audit.`,
		Example: `  tocsin erase --address 203.0.113.45 --reason "asked by its holder, ticket 4711"
  tocsin erase --file addresses.txt --reason "end of the operation" --data /var/lib/tocsin`,
		RunE: func(c *cobra.Command, _ []string) error {
			asked, err := erasureRequest(addresses, accounts, file)
			if err != nil {
				return err
			}
			if reason == "" {
				return usagef("erase wants --reason: it is kept")
			}
			out, err := erase(c, &a, asked, reason)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), out)
			}
			say(c, "order %s: %d events and %d objects of members are taken from their readers", out.Order, out.Events, out.Objects)
			if out.Pending {
				say(c, "the files are written anew when the exchange starts next, at journal.maintenance at the latest")
			} else {
				say(c, "the files are written anew")
			}
			return nil
		},
	}
	a.flags(c)
	f := c.Flags()
	f.StringArrayVar(&addresses, "address", nil, "address; may be repeated")
	f.StringArrayVar(&accounts, "account", nil, "account, an e-mail address; may be repeated")
	f.StringVar(&file, "file", "", "file with an address or account a line, - for standard input")
	f.StringVar(&reason, "reason", "", "why, in a line; it is kept in the audit")
	f.BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// erasureRequest reads what is to be erased.
func erasureRequest(addresses, accounts []string, file string) (*api.ErasureRequest, error) {
	out := new(api.ErasureRequest)
	for _, s := range addresses {
		x, err := netip.ParseAddr(s)
		if err != nil {
			return nil, usagef("--address: %q is no IP address", s)
		}
		out.Addresses = append(out.Addresses, x)
	}
	for _, s := range accounts {
		account, _, err := exchange.ParseAccount(s)
		if err != nil {
			return nil, usagef("--account: %v", err)
		}
		out.Accounts = append(out.Accounts, account)
	}
	if file != "" {
		if err := readErasure(file, out); err != nil {
			return nil, err
		}
	}
	if len(out.Addresses)+len(out.Accounts) == 0 {
		return nil, usagef("erase wants --address, --account or --file")
	}
	return out, nil
}

// readErasure reads addresses and accounts, one a line.
func readErasure(file string, out *api.ErasureRequest) error {
	var in io.Reader = os.Stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	lines := bufio.NewScanner(in)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" || text[0] == '#' {
			continue
		}
		if x, err := netip.ParseAddr(text); err == nil {
			out.Addresses = append(out.Addresses, x)
			continue
		}
		account, _, err := exchange.ParseAccount(text)
		if err != nil {
			return fmt.Errorf("%s:%d: it is neither an IP address nor an e-mail address", file, n)
		}
		out.Accounts = append(out.Accounts, account)
	}
	return lines.Err()
}

// erase has the exchange that runs erase, or does it to the data directory of one that does not.
func erase(c *cobra.Command, a *access, asked *api.ErasureRequest, reason string) (*api.Erased, error) {
	if a.server == "" && os.Getenv("TOCSIN_SERVER") == "" {
		if out, err := eraseOffline(c, a.data, asked, reason); !errors.Is(err, node.ErrLocked) {
			return out, err
		}
	}
	client, err := a.client()
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	out := new(api.Erased)
	return out, client.Do(c.Context(), "POST", "/v1/erase", url.Values{"reason": {reason}}, body, out)
}

func eraseOffline(c *cobra.Command, dir string, asked *api.ErasureRequest, reason string) (out *api.Erased, err error) {
	if err := node.IsData(dir); err != nil {
		return nil, err
	}
	opened := func(f func(context.Context, *node.Node) error) error {
		n, err := node.Open(c.Context(), node.Options{Dir: dir})
		if err != nil {
			return err
		}
		return errors.Join(f(c.Context(), n), closeNode(c, n))
	}
	err = opened(func(ctx context.Context, n *node.Node) (err error) {
		out, err = n.Erase(ctx, erasure.New(time.Now(), exchange.Admin, reason, asked.Addresses, asked.Accounts))
		return err
	})
	if err == nil {
		err = opened(func(context.Context, *node.Node) error { return nil }) // which writes the files anew
	}
	if err != nil {
		return nil, err
	}
	out.Pending = false
	return out, nil
}
