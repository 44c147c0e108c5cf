package apiclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// maxBundle bounds a decompressed block, in bytes.
const maxBundle = 256 << 20

// Block is one block of a collection as it came over NATS: a STIX bundle, or,
// where one of the last three is not empty, what was taken out of the collection: versions that
// were deleted, objects of hosts, by id and in all versions, whose label was raised, and versions that members have
// posted and whose label was raised; those that may stay come again behind it, newly marked.
type Block struct {
	Collection string
	Number     uint64
	Count      int
	Bundle     []byte
	Deleted    []record.Version
	Withdrawn  []string
	Raised     []record.Version
}

// Subscribe calls each with the blocks of a collection, in order and each once, as they come, until
// ctx ends or each fails. It has a NATS consumer of its own, so that other subscribers of the member
// get everything as well. from says where it begins: "start", which is meant by "" too, "now" or a
// block's number. A cut connection is made anew, and a consumer that has gone meanwhile.
func (c *Client) Subscribe(ctx context.Context, collection, from string, each func(b *Block) error) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBundle))
	if err != nil {
		return err
	}
	defer z.Close()
	s := &subscriber{c: c, collection: collection, from: from, each: each, z: z}
	for {
		err := s.consume(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !errors.Is(err, errConsumerGone) {
			return err
		}
		if s.last > 0 {
			s.from = strconv.FormatUint(s.last, 10) // which comes again, and is passed over
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscriber receives a collection over NATS.
type subscriber struct {
	c                *Client
	collection, from string
	each             func(b *Block) error
	z                *zstd.Decoder
	last             uint64 // block that was handed out
	began            bool   // a consumer was there
}

// errConsumerGone means that the exchange has the consumer no more: another has to be made.
var errConsumerGone = errors.New("the consumer is gone")

// consume receives from one consumer until that is gone.
func (s *subscriber) consume(ctx context.Context) error {
	var sub struct {
		NATS, Stream, Durable string
		Passed                uint64
	}
	query := url.Values{"ephemeral": {"true"}}
	if s.from != "" {
		query.Set("from", s.from)
	}
	err := s.c.Do(ctx, http.MethodPost, "/v1/collections/"+url.PathEscape(s.collection)+"/subscription", query, []byte{}, &sub)
	var answer *Error
	if err != nil && s.began && (!errors.As(err, &answer) || answer.Status >= http.StatusInternalServerError) {
		return errConsumerGone // the exchange is not there, for now
	}
	if err != nil {
		return err
	}
	if sub.NATS == "" {
		return errors.New("the exchange opens no NATS port")
	}
	if s.last = max(s.last, sub.Passed); s.last == 0 && s.from == "now" {
		s.from = "start" // there is nothing yet: what comes from now on is all
	}
	there, gone := context.WithCancel(ctx)
	defer gone()
	nc, err := nats.Connect(sub.NATS, nats.UserInfo(s.c.User, s.c.Token), nats.CustomInboxPrefix("_INBOX."+s.c.User),
		nats.Name("tocsin subscribe"), nats.MaxReconnects(-1), nats.ReconnectWait(500*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) { // a connection that was made anew has no right to what is gone
				gone()
			}
		}))
	if err != nil && s.began {
		return errConsumerGone
	}
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
		return fmt.Errorf("subscribe to %s: %w", s.collection, err)
	}
	it, err := consumer.Messages(jetstream.PullMaxMessages(16), jetstream.PullHeartbeat(15*time.Second))
	if err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.collection, err)
	}
	s.began = true
	stop := context.AfterFunc(there, it.Stop)
	defer func() { stop(); it.Stop() }()
	for {
		msg, err := it.Next()
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case there.Err() != nil, errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
			return errConsumerGone
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// Either the connection is being made anew, or nobody answers for the consumer.
			if _, err := consumer.Info(ctx); err != nil && nc.IsConnected() {
				return errConsumerGone
			}
			continue
		case err != nil:
			return fmt.Errorf("subscribe to %s: %w", s.collection, err)
		}
		if err := s.take(msg); err != nil {
			return err
		}
	}
}

// take hands a message's block out, unless it came before, and acknowledges it.
func (s *subscriber) take(msg jetstream.Msg) error {
	b := &Block{Collection: msg.Headers().Get("Tocsin-Collection")}
	var err error
	if b.Number, err = strconv.ParseUint(msg.Headers().Get("Tocsin-Block"), 10, 64); err != nil {
		return fmt.Errorf("subscribe to %s: a message is not a block: %w", s.collection, err)
	}
	b.Count, _ = strconv.Atoi(msg.Headers().Get("Tocsin-Count"))
	if b.Number > s.last {
		if b.Bundle, err = s.z.DecodeAll(msg.Data(), nil); err != nil {
			return fmt.Errorf("block %d of %s: %w", b.Number, s.collection, err)
		}
		if control := msg.Headers().Get("Tocsin-Control"); control != "" {
			d, err := (&record.Block{Number: b.Number, Control: record.ControlKind(control)}).Removal(b.Bundle)
			if err != nil {
				return fmt.Errorf("subscribe to %s: %w", s.collection, err)
			}
			b.Bundle, b.Deleted, b.Raised = nil, d.Versions, slices.Concat(d.Withdrawn, d.Raised)
			for _, o := range d.Objects {
				b.Withdrawn = append(b.Withdrawn, o.ID)
			}
		}
		if err := s.each(b); err != nil {
			return err
		}
		s.last = b.Number
	}
	if err := msg.Ack(); err != nil {
		return fmt.Errorf("acknowledge block %d of %s: %w", b.Number, s.collection, err)
	}
	return nil
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
