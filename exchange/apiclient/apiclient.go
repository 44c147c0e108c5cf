// Package apiclient is the client side of the exchange's own interface under
// /v1: publishing, reading, administration. TAXII has a client of its own.
package apiclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/hashicorp/go-retryablehttp"
)

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 256 << 20

// Client talks to one exchange. It is safe for concurrent use.
type Client struct {
	// Server is the exchange's base URL; User and Token are the credential.
	Server, User, Token string
	// HTTP sends the requests.
	HTTP *retryablehttp.Client
}

// Error is an answer that is not a success.
type Error struct {
	Status      int      `json:"-"`
	Title       string   `json:"title"`
	Description string   `json:"description"`
	Problems    []string `json:"problems"`
}

func (e *Error) Error() string {
	text := fmt.Sprintf("the exchange answers %d %s", e.Status, http.StatusText(e.Status))
	if e.Title != "" && e.Title != http.StatusText(e.Status) {
		text += ": " + e.Title
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	if len(e.Problems) > 0 {
		text += "\n  " + strings.Join(e.Problems, "\n  ")
	}
	return text
}

// attemptsKey holds, in a request's context, how often it was sent.
type attemptsKey struct{}

// CountAttempts makes an HTTP client count how often each request is sent.
func CountAttempts(h *retryablehttp.Client) {
	h.RequestLogHook = func(_ retryablehttp.Logger, r *http.Request, _ int) {
		if n, ok := r.Context().Value(attemptsKey{}).(*atomic.Int32); ok {
			n.Add(1)
		}
	}
}

// Do sends a request and decodes the answer into out, unless that is nil; a
// *[]byte takes it as it is. body may be nil.
func (c *Client) Do(ctx context.Context, method, path string, query url.Values, body []byte, out any) error {
	_, err := c.send(ctx, method, path, query, nil, body, out)
	return err
}

// authorize says who asks, where there is something to say.
func (c *Client) authorize(req *http.Request) {
	switch {
	case c.User != "":
		req.SetBasicAuth(c.User, c.Token)
	case c.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
}

// Backup begins to read all that the exchange has.
func (c *Client) Backup(ctx context.Context) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+"/v1/backup", nil)
	if err != nil {
		return nil, err
	}
	c.authorize(req)
	res, err := c.HTTP.HTTPClient.Do(req) // a second try would begin anew
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Server, err)
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		e := &Error{Status: res.StatusCode}
		text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		_ = json.Unmarshal(text, e)
		return nil, errors.Join(e, err)
	}
	return res.Body, nil
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, header http.Header, body []byte, out any) (http.Header, error) {
	u := strings.TrimSuffix(c.Server, "/") + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	var content any
	if body != nil {
		content = body
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, u, content)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	c.authorize(req.Request)
	res, err := c.HTTP.Do(req)
	if err != nil {
		var refused *url.Error
		if errors.As(err, &refused) {
			err = refused.Err // without the URL: it is in the text below
		}
		return nil, fmt.Errorf("%s: %w", c.Server, err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Server, err)
	}
	if res.StatusCode != http.StatusOK {
		e := &Error{Status: res.StatusCode}
		_ = json.Unmarshal(text, e) // it may be a proxy's page
		if out != nil && res.StatusCode == http.StatusUnprocessableEntity && e.Title == "" {
			_ = json.Unmarshal(text, out) // a receipt that says what could not be read
		}
		return res.Header, e
	}
	if raw, ok := out.(*[]byte); ok {
		*raw = text
		return res.Header, nil
	}
	if out == nil {
		return res.Header, nil
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(out); err != nil {
		return nil, fmt.Errorf("%s%s: not an answer of an exchange: %w", c.Server, path, err)
	}
	return res.Header, nil
}
