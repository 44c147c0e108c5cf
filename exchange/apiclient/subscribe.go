package apiclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxBundle bounds a decompressed block, in bytes.
const maxBundle = 256 << 20

// Block is one block of a collection as it came over NATS: a STIX bundle, or,
// where Deleted or Withdrawn is not empty, what was taken out of the collection: versions that
// were deleted, and objects, by id and in all versions, whose label was raised.
type Block struct {
	Collection string
	Number     uint64
	Count      int
	Bundle     []byte
	Deleted    []exchange.Version
	Withdrawn  []string
}

// Subscribe calls each with the blocks of a collection, in order, as they come,
// until ctx ends or each fails. A block is acknowledged once each has returned, so
// the next Subscribe goes on behind it; a block that was handed out and not
// acknowledged comes again. from repositions first: "start", "now" or a
// block's number; "" goes on where the last one stopped.
func (c *Client) Subscribe(ctx context.Context, collection, from string, each func(b *Block) error) error {
	var sub struct{ NATS, Stream, Durable string }
	query := url.Values{}
	if from != "" {
		query.Set("from", from)
	}
	err := c.Do(ctx, http.MethodPost, "/v1/collections/"+url.PathEscape(collection)+"/subscription", query, []byte{}, &sub)
	if err != nil {
		return err
	}
	if sub.NATS == "" {
		return errors.New("the exchange opens no NATS port")
	}
	nc, err := nats.Connect(sub.NATS, nats.UserInfo(c.User, c.Token), nats.CustomInboxPrefix("_INBOX."+c.User),
		nats.Name("tocsin subscribe"), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond))
	if err != nil {
		return fmt.Errorf("connect to %s: %w", sub.NATS, err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.Consumer(ctx, sub.Stream, sub.Durable)
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", collection, err)
	}
	it, err := consumer.Messages(jetstream.PullMaxMessages(16), jetstream.PullHeartbeat(15*time.Second))
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", collection, err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer func() { stop(); it.Stop() }()
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBundle))
	if err != nil {
		return err
	}
	defer z.Close()
	last := uint64(0)
	for {
		msg, err := it.Next()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, jetstream.ErrNoHeartbeat) {
			continue // the connection is being made anew
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", collection, err)
		}
		b := &Block{Collection: msg.Headers().Get("Tocsin-Collection")}
		if b.Number, err = strconv.ParseUint(msg.Headers().Get("Tocsin-Block"), 10, 64); err != nil {
			return fmt.Errorf("subscribe to %s: a message is not a block: %w", collection, err)
		}
		b.Count, _ = strconv.Atoi(msg.Headers().Get("Tocsin-Count"))
		if b.Number > last { // else it came again
			if b.Bundle, err = z.DecodeAll(msg.Data(), nil); err != nil {
				return fmt.Errorf("block %d of %s: %w", b.Number, collection, err)
			}
			if control := msg.Headers().Get("Tocsin-Control"); control != "" {
				d, err := (&exchange.Block{Number: b.Number, Control: exchange.ControlKind(control)}).Removal(b.Bundle)
				if err != nil {
					return fmt.Errorf("subscribe to %s: %w", collection, err)
				}
				b.Bundle, b.Deleted = nil, d.Versions
				for _, o := range d.Objects {
					b.Withdrawn = append(b.Withdrawn, o.ID)
				}
			}
			if err := each(b); err != nil {
				return err
			}
			last = b.Number
		}
		if err := msg.Ack(); err != nil {
			return fmt.Errorf("acknowledge block %d of %s: %w", b.Number, collection, err)
		}
	}
}

// RefusedOverNATS asks the NATS server for the member's consumer of somebody
// else's collection, and reports whether the server itself refuses.
func (c *Client) RefusedOverNATS(ctx context.Context, server, member string) (bool, error) {
	violations := make(chan error, 16)
	nc, err := nats.Connect(server, nats.UserInfo(c.User, c.Token), nats.CustomInboxPrefix("_INBOX."+c.User),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			select {
			case violations <- err:
			default:
			}
		}))
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", server, err)
	}
	defer nc.Close()
	stream, durable := exchange.Consumer(member, member)
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	answer := make(chan error, 1)
	go func() {
		_, err := nc.RequestWithContext(ctx, "$JS.API.CONSUMER.MSG.NEXT."+stream+"."+durable, []byte(`{"batch":1,"no_wait":true}`))
		answer <- err
	}()
	select {
	case err := <-violations:
		return errors.Is(err, nats.ErrPermissionViolation), nil
	case err := <-answer:
		return err != nil && !errors.Is(err, context.DeadlineExceeded), nil
	}
}
