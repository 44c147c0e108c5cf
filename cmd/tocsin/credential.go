package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
)

func tokensOf(args []string) string { return "/v1/members/" + url.PathEscape(args[0]) + "/tokens" }

func memberTokens() *cobra.Command {
	return reading("tokens MEMBER", "List a member's credentials", 1, tokensOf, func(w io.Writer, list []api.Credential) {
		_, _ = fmt.Fprintln(w, "NAME\tPERSON\tSCOPES\tCREATED\tEXPIRES\tLAST USED")
		for _, t := range list {
			var scopes []string
			for _, s := range t.Scopes {
				scopes = append(scopes, string(s))
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", t.Name, first(t.Person, "-"), first(strings.Join(scopes, " "), "all"), instant(t.Created), instant(t.Expires), instant(t.Used))
		}
	})
}

// instant writes a time for a table.
func instant(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02T15:04Z")
}

func memberToken() *cobra.Command {
	var a access
	var name, person string
	var expires exchange.Window
	var scopes []string
	c := &cobra.Command{
		Use: "token MEMBER", Short: "Make a credential for a member, and print it this once", Args: arguments(1, 1),
		Long: `Make a credential for a member, or with MEMBER admin for the operator, and print it this
once. A member can have several: to change one without a gap, make the next, put it in use, and
revoke the one before by its name.

--scope bounds what it is good for: read, publish, feedback, and for the operator admin. --person says
who holds it: collections that are red are read by persons, with their own credentials.`,
		RunE: func(c *cobra.Command, args []string) error {
			want := api.NewToken{Name: name, Person: person}
			if expires > 0 {
				want.Expires = time.Now().Add(time.Duration(expires)).UTC().Truncate(time.Second)
			}
			for _, s := range scopes {
				want.Scopes = append(want.Scopes, exchange.Scope(s))
			}
			text, err := json.Marshal(&want)
			if err != nil {
				return err
			}
			out, err := ask[api.Token](c, &a, "POST", tokensOf(args), nil, text)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(c.OutOrStdout(), "token %s for %s, shown this once: %s\n", out.Name, out.Member, out.Token)
			return err
		},
	}
	a.flags(c)
	c.Flags().StringVar(&name, "name", "", "what it is called (default: token-1 and so on)")
	c.Flags().StringVar(&person, "person", "", "who holds it")
	c.Flags().TextVar(&expires, "expires", exchange.Window(0), "after how long it ends, such as 90d (default: never)")
	c.Flags().StringSliceVar(&scopes, "scope", nil, "what it is good for: read, publish, feedback, admin (default: all that the member may)")
	return c
}

func memberRevoke() *cobra.Command {
	var a access
	var name string
	c := &cobra.Command{
		Use: "revoke MEMBER", Short: "Take a credential of a member away, or all", Args: arguments(1, 1),
		RunE: func(c *cobra.Command, args []string) error {
			path := tokensOf(args)
			if name != "" {
				path += "/" + url.PathEscape(name)
			}
			out, err := ask[api.Revoked](c, &a, "DELETE", path, nil, nil)
			if err != nil {
				return err
			}
			say(c, "revoked %d tokens of %s", out.Revoked, out.Member)
			return nil
		},
	}
	a.flags(c)
	c.Flags().StringVar(&name, "name", "", "the credential's name (default: all of them)")
	return c
}

func memberHide() *cobra.Command {
	var a access
	var show bool
	c := &cobra.Command{
		Use: "hide MEMBER", Short: "Keep a member's name from all others", Args: arguments(1, 1),
		Long: `Keep a member's name from all others: in what its feeds are packaged as, in receipts and
explanations, in what others post. What was made of a publisher's feeds before keeps its name, and what is
made from now on has other ids.`,
		RunE: func(c *cobra.Command, args []string) error {
			query := url.Values{}
			if show {
				query.Set("show", "")
			}
			m, err := ask[api.Member](c, &a, "PUT", "/v1/members/"+url.PathEscape(args[0])+"/hidden", query, []byte{})
			if err != nil {
				return err
			}
			say(c, "%s is %s", m.ID, map[bool]string{true: "hidden", false: "shown"}[m.Hidden])
			return nil
		},
	}
	a.flags(c)
	c.Flags().BoolVar(&show, "show", false, "show it again")
	return c
}
