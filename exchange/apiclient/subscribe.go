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
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// maxBundle bounds a decompressed block, in bytes.
const maxBundle = 256 << 20

// Block is what came of a block of a collection over NATS. With a Bundle it is its objects, or those of them that are
// still there. With Removed, objects have gone that the subscriber has. Else, a block that takes something out, it has
// neither: what it is about comes as Removed.
type Block struct {
	Collection string
	Number     uint64
	Count      int // of the objects that the block came with
	Bundle     []byte
	Removed    []Removed

	facts *record.Block
}

// Removed is an object that was deleted, or withdrawn because its label was raised. Where it may stay under the higher
// one, it has come again in a later block.
type Removed struct {
	// Position is that of the object in its block, from 0.
	Position int
	// ID is its identifier, "" where this subscriber was given it long ago, or by another run.
	ID string
}

// Positions are those of the Bundle's objects in the block.
func (b *Block) Positions() (list []int) {
	for i := range b.facts.Count {
		if b.facts.Has(i) {
			list = append(list, i)
		}
	}
	return list
}

// Subscribe calls each with the blocks of a collection, each once, as they come, until
// ctx ends or each fails. They come in order, but for those that have lost objects before they came: what stays of such a
// block comes when it does. It has a NATS consumer of its own, so that other subscribers of the member
// get everything as well. from says where it begins: "start", which is meant by "" too, "now" or a
// block's number. A cut connection is made anew, and a consumer that has gone meanwhile. What comes has to be what the
// blocks commit to, and each has to continue the one before.
func (c *Client) Subscribe(ctx context.Context, collection, from string, each func(b *Block) error) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBundle))
	if err != nil {
		return err
	}
	defer z.Close()
	s := &subscriber{c: c, collection: collection, from: from, each: each, z: z, missing: make(map[uint64]bool), given: newGiven()}
	if n, err := strconv.ParseUint(from, 10, 64); err == nil && n > 0 {
		s.last = n - 1
	}
	s.chain.begin(s.last)
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
	last             uint64          // block that was handed out, or that is missing
	passed           uint64          // block up to which nothing is wanted: it began with "now"
	missing          map[uint64]bool // blocks before it that are not there as they were: what stays of them comes later
	began            bool            // a consumer was there
	chain            chain
	given            *given
}

// restoredTitle is the title of the answer that says so.
const restoredTitle = "The exchange was restored"

// ErrRestored means that the exchange was restored, and has taken back what a subscriber has received.
var ErrRestored = errors.New("the exchange was restored")

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
	if s.chain.known && s.chain.number == s.last && s.last > 0 {
		query.Set("hash", s.chain.hash) // by which the exchange knows whether it was restored to before it
	}
	err := s.c.Do(ctx, http.MethodPost, "/v1/collections/"+url.PathEscape(s.collection)+"/subscription", query, []byte{}, &sub)
	var answer *Error
	if err != nil && s.began && (!errors.As(err, &answer) || answer.Status >= http.StatusInternalServerError) {
		return errConsumerGone // the exchange is not there, for now
	}
	if answer != nil && answer.Status == http.StatusConflict && answer.Title == restoredTitle {
		return fmt.Errorf("%w: %s", ErrRestored, answer.Description)
	}
	if err != nil {
		return err
	}
	if sub.NATS == "" {
		return errors.New("the exchange opens no NATS port")
	}
	if sub.Passed > s.last {
		s.last, s.passed = sub.Passed, sub.Passed
		s.chain.begin(s.last)
	}
	if s.last == 0 && s.from == "now" {
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
		case there.Err() != nil, nc.IsClosed(), errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound):
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
	b, err := record.ParseBlock(msg.Headers(), msg.Data())
	if err != nil {
		return fmt.Errorf("subscribe to %s: a message is not a block: %w", s.collection, err)
	}
	replaces := len(b.Removed) > 0
	came := b.Number <= s.last && !s.missing[b.Number]
	switch {
	case came && !replaces, b.Number <= s.passed:
	case came:
		if _, _, err = s.read(b); err != nil {
			return err
		}
		if b.Trimmed {
			break
		}
		if gone := s.given.remove(b); len(gone) > 0 {
			err = s.each(&Block{Collection: b.Collection, Number: b.Number, Removed: gone, facts: b})
		}
	default:
		err = s.give(b)
	}
	if err != nil {
		return err
	}
	if err := msg.Ack(); err != nil {
		return fmt.Errorf("acknowledge block %d of %s: %w", b.Number, s.collection, err)
	}
	return nil
}

// read returns a block's text, and the identifiers of its objects, where it is what it commits to.
func (s *subscriber) read(b *record.Block) (text []byte, ids []string, err error) {
	if b.Trimmed { // its objects are older than they are kept
		return nil, nil, nil
	}
	if text, err = s.z.DecodeAll(b.Payload, nil); err == nil {
		ids, err = committed(b, text)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("block %d of %s: %w", b.Number, s.collection, err)
	}
	return text, ids, nil
}

// give hands a block out that has not come before.
func (s *subscriber) give(b *record.Block) error {
	text, ids, err := s.read(b)
	if err != nil {
		return err
	}
	if err := s.chain.add(b); err != nil {
		return fmt.Errorf("subscribe to %s: %w", s.collection, err)
	}
	out := &Block{Collection: b.Collection, Number: b.Number, Count: b.Count, facts: b}
	if b.Control == "" && !b.Trimmed {
		out.Bundle = text
	}
	if err := s.each(out); err != nil {
		return err
	}
	s.given.add(b, ids)
	for n := s.last + 1; n < b.Number; n++ {
		s.missing[n] = true
	}
	delete(s.missing, b.Number)
	s.last = max(s.last, b.Number)
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
