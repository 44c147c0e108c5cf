package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/config"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// access says where the server is and who asks: the flags that every client
// command has.
type access struct{ server, data, user, tokenFile string }

func (a *access) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&a.server, "server", "", "base URL of the exchange (default: TOCSIN_SERVER, or the one that runs on --data)")
	f.StringVar(&a.data, "data", config.Default().Data, "data directory of an exchange on this machine")
	f.StringVar(&a.user, "user", "", "member id (default: TOCSIN_USER)")
	f.StringVar(&a.tokenFile, "token-file", "", "file with the token (default: TOCSIN_TOKEN, or admin.token of the exchange that runs on --data)")
}

// resolved is an access with nothing left open.
type resolved struct{ server, user, token string }

func (a *access) resolve() (r resolved, err error) {
	r.server = first(a.server, os.Getenv("TOCSIN_SERVER"))
	local := r.server == ""
	if local {
		text, err := os.ReadFile(filepath.Join(a.data, "address.json"))
		if err != nil {
			return r, &hinted{
				fmt.Errorf("no exchange runs on %s: %w", a.data, errors.Unwrap(err)),
				"start one with tocsin serve, or name one with --server or TOCSIN_SERVER",
			}
		}
		var at node.Address
		if err := json.Unmarshal(text, &at); err != nil {
			return r, fmt.Errorf("%s/address.json: %w", a.data, err)
		}
		r.server = at.HTTP
	}
	r.user, r.token = first(a.user, os.Getenv("TOCSIN_USER")), os.Getenv("TOCSIN_TOKEN")
	file := a.tokenFile
	if file == "" && r.token == "" && local && (r.user == "" || r.user == exchange.Admin) {
		// Only for the exchange on this directory: the operator's token goes to
		// no other server.
		file = filepath.Join(a.data, "admin.token")
		r.user = exchange.Admin
	}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return r, fmt.Errorf("read token: %w", err)
		}
		r.token = strings.TrimSpace(string(text))
	}
	return r, nil
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

// collection finds a collection of any TAXII 2.1 server, and the client for it.
func (a *access) collection(ctx context.Context, name string) (*taxiiclient.Client, *taxiiclient.Collection, error) {
	r, err := a.resolve()
	if err != nil {
		return nil, nil, err
	}
	client, err := taxiiclient.New(taxiiclient.Options{Server: r.server, User: r.user, Token: r.token, UserAgent: userAgent()})
	if err != nil {
		return nil, nil, &usageError{err}
	}
	col, err := client.Find(ctx, name)
	return client, col, err
}

// client returns a client of the exchange.
func (a *access) client() (*apiclient.Client, error) {
	r, err := a.resolve()
	if err != nil {
		return nil, err
	}
	return newClient(r), nil
}

func newClient(r resolved) *apiclient.Client {
	h := taxiiclient.NewHTTP()
	apiclient.CountAttempts(h)
	return &apiclient.Client{Server: r.server, User: r.user, Token: r.token, HTTP: h}
}

// patient makes a client survive the restart of its exchange.
func patient(c *apiclient.Client) {
	c.HTTP.RetryMax = 12
	c.HTTP.RetryWaitMax = 5 * time.Second
}

// printJSON writes a value as one line of JSON.
func printJSON(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s\n", text)
	return err
}

// say writes a line for people: to standard error, so that data stays alone.
func say(c *cobra.Command, format string, args ...any) {
	_, _ = fmt.Fprintf(c.ErrOrStderr(), "tocsin: "+format+"\n", args...)
}

// ask sends one request under /v1 as the flags say, and returns the answer.
func ask[T any](c *cobra.Command, a *access, method, path string, query url.Values, body []byte) (out T, err error) {
	client, err := a.client()
	if err == nil {
		err = client.Do(c.Context(), method, path, query, body, &out)
	}
	return out, err
}
