package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/api"
)

func memberShow() *cobra.Command {
	var a access
	var asJSON, connect bool
	c := &cobra.Command{
		Use: "show MEMBER", Short: "Show a member, or how it connects", Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			m, err := ask[api.Member](c, &a, "GET", under("/v1/members")(args), nil, nil)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), m)
			}
			if connect {
				r, err := a.resolve()
				if err != nil {
					return err
				}
				return connection(c.OutOrStdout(), &m, r)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 2, ' ', 0)
			memberLine(w, m)
			_, _ = fmt.Fprintf(w, "reads\t%s\nwrites\t%s\ntokens\t%d\n", strings.Join(m.Collections, ", "), first(strings.Join(m.Writes, ", "), "-"), m.Tokens)
			return w.Flush()
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	c.Flags().BoolVar(&connect, "connect", false, "print what to paste into MISP and into TAXII clients")
	return c
}

// connection writes what a member pastes where. Its own credential is filled in where it is the member
// that asks; the operator's is not its.
func connection(w io.Writer, m *api.Member, r resolved) error {
	server := strings.TrimSuffix(r.server, "/")
	token, header := "TOKEN", "Basic, then base64 of "+m.ID+":TOKEN: printf '%s' '"+m.ID+":TOKEN' | base64 -w0"
	if r.user == m.ID && r.token != "" {
		token = "(the one you are using)"
		header = "Basic " + base64.StdEncoding.EncodeToString([]byte(r.user+":"+r.token))
	}
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, `TAXII 2.1 client
  discovery URL  %s/taxii2/
  API root       %s/exchange/
  user           %s
  password       %s

MISP, to take what you are given: Sync Actions > Feeds > Add Feed, once for each URL
  Source Format  MISP Feed
  Headers        Authorization: %s
`, server, server, m.ID, token, header)
	for _, id := range m.MISP {
		_, _ = fmt.Fprintf(&b, "  URL            %s/misp/%s\n", server, id)
	}
	_, _ = fmt.Fprintf(&b, `  Distribution   Inherit from feed. An event says by itself how far it may go: tlp:clear All communities,
                 tlp:green This community only, tlp:amber Your organisation only. What is AMBER+STRICT
                 or RED does not go to MISP: read it over TAXII.
`)
	if len(m.Writes) > 0 {
		_, _ = fmt.Fprintf(&b, `
MISP, to give: Sync Actions > List TAXII Servers > Add
  Base URL       %s
  API Root       exchange
  Collection     %s
  Headers        Authorization: %s
                 Your organisation's identity, identity-- and the UUID that MISP has for it, has to be in
                 identities: of %s in the register: ask the operator. An event without a tlp: tag gets the
                 collection's floor.
`, server, strings.Join(m.Writes, ", "), header, m.ID)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
