package apiclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// silence is how long a stream may say nothing, not even a heartbeat, before it
// is taken for dead.
const silence = 45 * time.Second

// Event is one server-sent event: a STIX bundle, or the ids of objects that left the collection
// because their label was raised, and the id to resume behind it.
type Event struct {
	ID        string
	Bundle    []byte
	Withdrawn []string
}

// end completes an event of a kind from its data; without data there is none.
func (e *Event) end(kind string, data []byte) error {
	if kind != "withdrawn" {
		e.Bundle = data
		return nil
	}
	var w struct{ IDs []string }
	err := json.Unmarshal(data, &w)
	e.Withdrawn = w.IDs
	return err
}

// Events calls each with the events of a collection, in order, as they come,
// until ctx ends or each fails. It starts behind the event with the id last; where
// that is "", at from: "start", "now" or a block's number. When the stream is cut
// it resumes behind the last event that each has taken.
func (c *Client) Events(ctx context.Context, collection, from, last string, each func(e *Event) error) error {
	wait := time.Second
	for {
		taken, err := c.stream(ctx, collection, from, &last, each)
		var answer *Error
		var own *ownError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &own):
			return own.err
		case errors.As(err, &answer) && answer.Status/100 == 4 && answer.Status != http.StatusTooManyRequests:
			return err
		case taken:
			wait = time.Second
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// ownError is an error that another connection does not cure: of the caller's
// function, or of what the server sends.
type ownError struct{ err error }

func (e *ownError) Error() string { return e.err.Error() }

// stream reads one connection's events.
func (c *Client) stream(ctx context.Context, collection, from string, last *string, each func(*Event) error) (taken bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	u := strings.TrimSuffix(c.Server, "/") + "/v1/collections/" + url.PathEscape(collection) + "/events"
	if from != "" {
		u += "?from=" + url.QueryEscape(from)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	if *last != "" {
		req.Header.Set("Last-Event-ID", *last)
	}
	c.authorize(req)
	res, err := c.HTTP.HTTPClient.Do(req)
	if err != nil {
		return false, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		e := &Error{Status: res.StatusCode}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		_ = json.Unmarshal(text, e) // it may be a proxy's page
		return false, e
	}
	alive := time.AfterFunc(silence, cancel)
	defer alive.Stop()
	in := bufio.NewReaderSize(res.Body, 64<<10)
	e, kind := new(Event), ""
	var data []byte
	for {
		line, err := readLine(in)
		if err != nil {
			return taken, err
		}
		alive.Reset(silence)
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0: // the event's end
			if data != nil {
				err := e.end(kind, data)
				if err == nil {
					err = each(e)
				}
				if err != nil {
					return taken, &ownError{err}
				}
			}
			if e.ID != "" {
				*last, taken = e.ID, true
			}
			e, kind, data = new(Event), "", nil
		case string(field) == "event":
			kind = string(value)
		case string(field) == "id":
			e.ID = string(value)
		case string(field) == "data":
			data = append(data, value...)
		}
	}
}

// readLine reads a line of at most maxBundle bytes, without its end.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxBundle:
			return nil, &ownError{fmt.Errorf("an event is larger than %d MiB", maxBundle>>20)}
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil:
			return nil, err
		default:
			return bytes.TrimRight(line, "\r\n"), nil
		}
	}
}
