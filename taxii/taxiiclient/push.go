package taxiiclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// pollFirst and pollMost are how long Push waits between two looks at a status.
const (
	pollFirst = 50 * time.Millisecond
	pollMost  = 10 * time.Second
)

// An envelope around objects, and a comma between two.
const (
	envelopeOpen  = `{"objects":[`
	envelopeClose = `]}`
)

// maxEnvelope is how large a request gets where the server takes more, in bytes,
// and how many objects it holds.
const (
	maxEnvelope = 10 << 20
	maxObjects  = 5000
)

// Pushed is the outcome of one request that added objects: what the server said
// last about it, which is complete.
type Pushed struct{ taxii.Status }

// ErrTooLarge means that one object is larger than the server takes.
var ErrTooLarge = errors.New("the object is larger than the server's max_content_length")

// Push adds objects to a collection, in their order, in as few requests as the
// server's max_content_length allows. After each request it asks for the status
// until that is complete; where that takes long, as what was sent can wait for what comes
// later, it goes on and asks again at the end. The sequence ends after the last request or with the
// first error; what was added until then stays. To push the same objects again
// does no harm: a server takes what it has already for a success.
func (c *Client) Push(ctx context.Context, col *Collection, objects iter.Seq2[[]byte, error]) iter.Seq2[*Pushed, error] {
	return func(yield func(*Pushed, error) bool) {
		var root taxii.APIRoot
		if _, err := c.get(ctx, col.Root, nil, &root); err != nil {
			yield(nil, err)
			return
		}
		limit := maxEnvelope
		if root.MaxContentLength > 0 && root.MaxContentLength < maxEnvelope {
			limit = int(root.MaxContentLength)
		}
		body, n := []byte(envelopeOpen), 0
		var pending []*Pushed // what may wait for something that is sent later
		send := func() bool {
			if n == 0 {
				return true
			}
			p, err := c.push(ctx, col, append(body, envelopeClose...))
			body, n = []byte(envelopeOpen), 0
			if err == nil && p.Status.Status == taxii.StatusPending {
				pending = append(pending, p)
				return true
			}
			return yield(p, err) && err == nil
		}
		finish := func() bool {
			for _, p := range pending {
				p, err := c.complete(ctx, col, p, forever)
				if !yield(p, err) || err != nil {
					return false
				}
			}
			return true
		}
		for raw, err := range objects {
			if err == nil && len(envelopeOpen)+len(raw)+len(envelopeClose) > limit {
				err = fmt.Errorf("%w: %d of %d bytes", ErrTooLarge, len(raw), limit)
			}
			if err != nil {
				if send() && finish() {
					yield(nil, err)
				}
				return
			}
			if n > 0 && (len(body)+1+len(raw)+len(envelopeClose) > limit || n == maxObjects) && !send() {
				return
			}
			if n > 0 {
				body = append(body, ',')
			}
			body = append(body, raw...)
			n++
		}
		if send() {
			finish()
		}
	}
}

// patience is how long the next envelope waits for the status of the one before.
const (
	patience = 2 * time.Second
	forever  = time.Duration(math.MaxInt64)
)

// push sends one envelope and waits a while for its status.
func (c *Client) push(ctx context.Context, col *Collection, body []byte) (*Pushed, error) {
	p := new(Pushed)
	if _, err := c.do(ctx, http.MethodPost, col.URL+"objects/", body, &p.Status); err != nil {
		return nil, err
	}
	return c.complete(ctx, col, p, patience)
}

// complete asks for a status until it is complete, or for so long.
func (c *Client) complete(ctx context.Context, col *Collection, p *Pushed, most time.Duration) (*Pushed, error) {
	wait := pollFirst
	for begun := time.Now(); p.Status.Status == taxii.StatusPending && time.Since(begun) < most; {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, pollMost)
		id := p.ID
		p = new(Pushed)
		if _, err := c.get(ctx, col.Root+"status/"+id+"/", nil, &p.Status); err != nil {
			return nil, fmt.Errorf("what was sent is at the server, its status is not known: %w", err)
		}
	}
	if p.Status.Status != taxii.StatusComplete && p.Status.Status != taxii.StatusPending {
		return nil, fmt.Errorf("%s: status %.40q is neither pending nor complete", col.URL, p.Status.Status)
	}
	return p, nil
}
