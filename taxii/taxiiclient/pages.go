package taxiiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// Cursor is how far a collection has been read. Its zero value is the start. It
// can be kept as JSON and used again at any later time.
type Cursor struct {
	// Next is the server's, where the page read last was not the last one.
	Next string `json:"next,omitempty"`
	// AddedAfter is the date_added of the last object read.
	AddedAfter time.Time `json:"added_after,omitzero"`
}

// Page is one page; After is the cursor behind it.
type Page struct {
	Objects []json.RawMessage
	After   Cursor
}

// ErrLoops means that a server gives the same page again, or goes back in time.
var ErrLoops = errors.New("the server does not get on")

// Pages reads a collection from a cursor to its present end. filter may narrow
// it; its AddedAfter and Next are the cursor's. The sequence ends after the last page or with the
// first error; pages read until then are good, and so is the cursor behind
// each.
func (c *Client) Pages(ctx context.Context, col *Collection, from Cursor, filter taxii.Filter) iter.Seq2[*Page, error] {
	return func(yield func(*Page, error) bool) {
		at := from
		for {
			filter.Next, filter.AddedAfter = at.Next, at.AddedAfter
			var env taxii.Envelope
			h, err := c.get(ctx, col.URL+"objects/", filter.Query(), &env)
			var status *StatusError
			if errors.As(err, &status) && status.Status == http.StatusBadRequest && at.Next != "" {
				at.Next = "" // it has expired: date_added still holds
				continue
			}
			if err != nil {
				yield(nil, err)
				return
			}
			p, err := follow(at, &env, h)
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", col.URL, err))
				return
			}
			if len(env.Objects) > 0 && !yield(p, nil) {
				return
			}
			if !env.More {
				return
			}
			at = p.After
		}
	}
}

// follow works out the cursor behind a page.
func follow(at Cursor, env *taxii.Envelope, h http.Header) (*Page, error) {
	p := &Page{Objects: env.Objects, After: Cursor{AddedAfter: at.AddedAfter}}
	first, errFirst := taxii.ParseTime(h.Get(taxii.HeaderAddedFirst))
	last, errLast := taxii.ParseTime(h.Get(taxii.HeaderAddedLast))
	if len(env.Objects) > 0 {
		if errLast == nil {
			p.After.AddedAfter = last
		}
		if errFirst == nil && errLast == nil && (last.Before(first) || !at.AddedAfter.IsZero() && first.Before(at.AddedAfter)) {
			return nil, fmt.Errorf("%w: a page runs from %s to %s, the one before ended at %s", ErrLoops,
				taxii.FormatTime(first), taxii.FormatTime(last), taxii.FormatTime(at.AddedAfter))
		}
	}
	if !env.More {
		return p, nil
	}
	p.After.Next = env.Next
	switch {
	case env.Next != "" && env.Next == at.Next:
		return nil, fmt.Errorf("%w: it says more and gives the same next again", ErrLoops)
	case env.Next == "" && !p.After.AddedAfter.After(at.AddedAfter):
		return nil, fmt.Errorf("%w: it says more, and gives neither next nor a later date_added", ErrLoops)
	}
	return p, nil
}
