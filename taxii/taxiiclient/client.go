// Package taxiiclient reads from any TAXII 2.1 server and adds to it: discovery,
// collections by id, alias or title, objects page by page with a cursor that
// survives restarts, and submissions with their status.
//
// It is written for servers as they are: where a server gives no next, it goes
// on by date_added; where one loops or goes back in time, it says so and stops.
package taxiiclient

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hashicorp/go-retryablehttp"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// maxResponse bounds one response, in bytes.
const maxResponse = 512 << 20

// Options say where the server is and who asks.
type Options struct {
	// Server is the server's base, its discovery URL, or the URL of an API root.
	Server string
	// User and Token are sent by HTTP Basic; without a User the token goes as
	// Bearer; without either nothing is sent.
	User, Token string
	// UserAgent names the software (section 8.4.1).
	UserAgent string
	// HTTP is used for requests; nil means one that retries what may be
	// retried, and honours Retry-After.
	HTTP *retryablehttp.Client
}

// Client talks to one server. It is safe for concurrent use.
type Client struct {
	o    Options
	base *url.URL
}

// NewHTTP returns an HTTP client that tries a request five times within some
// three seconds, or as the server's Retry-After says. A server whose disk is full is not asked again:
// somebody has to make room first.
func NewHTTP() *retryablehttp.Client {
	h := retryablehttp.NewClient()
	h.Logger = nil
	h.RetryMax = 4
	h.RetryWaitMin, h.RetryWaitMax = 200*time.Millisecond, 30*time.Second
	h.CheckRetry = func(ctx context.Context, res *http.Response, err error) (bool, error) {
		if res != nil && res.StatusCode == http.StatusInsufficientStorage {
			return false, nil
		}
		return retryablehttp.DefaultRetryPolicy(ctx, res, err)
	}
	h.ErrorHandler = retryablehttp.PassthroughErrorHandler
	if t, ok := h.HTTPClient.Transport.(*http.Transport); ok {
		t.TLSClientConfig = taxii.TLS()
	}
	h.HTTPClient.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		// Credentials must not follow to another host.
		if len(via) > 3 || r.URL.Host != via[0].URL.Host || r.URL.Scheme != via[0].URL.Scheme {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return h
}

// New makes a client; it does not connect yet.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("server %.100q is not an http or https URL", o.Server)
	}
	if o.HTTP == nil {
		o.HTTP = NewHTTP()
	}
	return &Client{o: o, base: u}, nil
}

// StatusError is an answer other than 200.
type StatusError struct {
	URL    string
	Status int
	// Message is the server's error message, as far as it is one.
	Message taxii.Error
}

func (e *StatusError) Error() string {
	msg := ""
	if e.Message.Title != "" {
		msg = ": " + e.Message.Error()
	}
	return fmt.Sprintf("%s: %d %s%s", e.URL, e.Status, http.StatusText(e.Status), msg)
}

// get fetches a resource into out.
func (c *Client) get(ctx context.Context, u string, query url.Values, out any) (http.Header, error) {
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	return c.do(ctx, http.MethodGet, u, nil, out)
}

// do sends a request and reads what it answers into out.
func (c *Client) do(ctx context.Context, method, u string, body []byte, out any) (http.Header, error) {
	var raw any
	if body != nil {
		raw = body
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, u, raw)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", taxii.MediaType)
	req.Header.Set("User-Agent", cmp.Or(c.o.UserAgent, "tocsin-taxiiclient"))
	if body != nil {
		req.Header.Set("Content-Type", taxii.MediaType)
	}
	switch {
	case c.o.User != "":
		req.SetBasicAuth(c.o.User, c.o.Token)
	case c.o.Token != "":
		req.Header.Set("Authorization", "Bearer "+c.o.Token)
	}
	res, err := c.o.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	if res.StatusCode/100 != 2 {
		e := &StatusError{URL: u, Status: res.StatusCode}
		_ = json.Unmarshal(text, &e.Message) // it may be a proxy's page
		return nil, e
	}
	if len(text) > maxResponse {
		return nil, fmt.Errorf("%s: the response is larger than %d MiB: ask for smaller pages with limit", u, maxResponse>>20)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return nil, fmt.Errorf("%s: not a TAXII 2.1 response: %w", u, err)
	}
	return res.Header, nil
}

// APIRoots returns the URLs of the server's API roots, each with a slash at its end.
func (c *Client) APIRoots(ctx context.Context) ([]string, error) {
	start := c.base.String()
	if strings.Trim(c.base.Path, "/") == "" {
		start = c.base.JoinPath("taxii2").String()
	}
	var either struct {
		taxii.Discovery
		Versions []string `json:"versions"`
	}
	u := strings.TrimSuffix(start, "/") + "/"
	if _, err := c.get(ctx, u, nil, &either); err != nil {
		return nil, err
	}
	if either.Versions != nil {
		return []string{u}, nil
	}
	from, err := url.Parse(u)
	if err != nil {
		return nil, err
	}
	var roots []string
	for _, r := range either.APIRoots {
		abs, err := from.Parse(r) // they may be relative: section 4.1
		if err != nil {
			return nil, fmt.Errorf("%s lists the API root %.100q, which is no URL", u, r)
		}
		roots = append(roots, strings.TrimSuffix(abs.String(), "/")+"/")
	}
	if len(roots) == 0 {
		return nil, fmt.Errorf("%s lists no API roots", u)
	}
	return roots, nil
}

// Collection is a collection and the URL under which it is.
type Collection struct {
	taxii.Collection
	URL string
	// Root is the URL of its API root.
	Root string
}

// Collections lists what the caller may see in all API roots. Roots that refuse
// the caller are passed over, unless all do.
func (c *Client) Collections(ctx context.Context) ([]Collection, error) {
	roots, err := c.APIRoots(ctx)
	if err != nil {
		return nil, err
	}
	var list []Collection
	var errs []error
	for _, root := range roots {
		var got taxii.Collections
		if _, err := c.get(ctx, root+"collections/", nil, &got); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, one := range got.Collections {
			list = append(list, Collection{one, root + "collections/" + url.PathEscape(one.ID) + "/", root})
		}
	}
	if len(errs) == len(roots) {
		return nil, errors.Join(errs...)
	}
	return list, nil
}

// ErrNoCollection means that the caller sees no collection of that name.
var ErrNoCollection = errors.New("no such collection, or not for you")

// Find returns the collection with the id, alias or title.
func (c *Client) Find(ctx context.Context, name string) (*Collection, error) {
	list, err := c.Collections(ctx)
	if err != nil {
		return nil, err
	}
	for _, by := range []func(*Collection) string{
		func(c *Collection) string { return c.ID }, func(c *Collection) string { return c.Alias }, func(c *Collection) string { return c.Title },
	} {
		for i := range list {
			if by(&list[i]) == name {
				return &list[i], nil
			}
		}
	}
	return nil, fmt.Errorf("%w: %.80q", ErrNoCollection, name)
}
