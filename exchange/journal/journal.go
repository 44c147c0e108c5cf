// Package journal keeps the truth in JetStream: intake records, and blocks.
//
//	tocsin.e.<feed>        intake: a chunk as accepted, with its decisions
//	tocsin.c.<collection>  blocks: what a collection gained in one append
//	tocsin.r.<collection>  what stays of blocks that have lost objects
//
// Each subject is a log with one writer at a time. Every append says which
// sequence it follows, so that a second writer is refused and never forks the
// log; blocks moreover are numbered and chained by hash. An append returns once
// it is on disk. Order is the stream's sequence; timestamps of NATS are not
// looked at.
//
// What survives a crash is what was acknowledged. An intake record whose blocks
// are not all there is delivered again from the position that each collection's
// last block holds, so nothing is missing and nothing is twice.
package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// The streams, and the subjects' prefixes.
const (
	IntakeStream    = exchange.IntakeStream
	BlocksStream    = exchange.BlocksStream
	intakePrefix    = "tocsin.e."
	blocksPrefix    = "tocsin.c."
	replacedPrefix  = "tocsin.r."
	stateBucket     = "TOCSIN_STATE"
	backfilledKey   = "backfilled"
	deliveredPrefix = "delivered."
	replacingPrefix = "replaced."
	usedPrefix      = "used."
	statusBucket    = "TOCSIN_STATUS"
	keptBucket      = "TOCSIN_KEPT"
	receiptsBucket  = "TOCSIN_RECEIPTS"
	quarantined     = "TOCSIN_QUARANTINE"
)

// ErrDamaged means that the log does not hold what was written to it.
var ErrDamaged = errors.New("the journal is damaged")

// Journal gives access to both logs. It is safe for concurrent use.
type Journal struct {
	js               jetstream.JetStream
	intake           jetstream.Stream
	blocks           jetstream.Stream
	state            jetstream.KeyValue
	status, receipts texts
	held, kept       texts
	audit            jetstream.Stream
	auditLeast       time.Duration // the shortest time that the audit was ever kept for, 0 for ever
	entries          chan exchange.AuditEntry
	crowded          crowd
	enc              *zstd.Encoder
	dec              *zstd.Decoder
	room             func(takesOut bool) error
	now              func() time.Time
	seal             record.Seal
	ends             struct{ intake, blocks, audit end } // as far as is known here
	register         func() record.Head                  // the version in force
	making           sync.Mutex                          // held while a subscriber's consumer is made
	handedOut        natsAudit
	replaced         replacements
	restarts         []record.Restart
	packed           packed

	mu      sync.Mutex
	packers map[string]*packer
	wg      sync.WaitGroup
	ctx     context.Context //nolint:containedctx // the packers' life, from Open to Close
	cancel  context.CancelFunc
	closed  bool
	// writes is the life of appends, until Break.
	writes context.Context //nolint:containedctx // as above
	halt   context.CancelCauseFunc
}

// Open opens the streams, and makes them where they are not there.
//
// keepAudit is how long the audit is kept, 0 for ever, or KeepAsItIs; seal hides what readers of blocks are not to see.
func Open(ctx context.Context, nc *nats.Conn, keepAudit time.Duration, seal record.Seal) (*Journal, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{js: js, packers: make(map[string]*packer), seal: seal, room: func(bool) error { return nil }, now: time.Now, register: func() record.Head { return record.Head{} }}
	if err := j.openAudit(ctx, keepAudit); err != nil {
		return nil, err
	}
	if j.intake, err = openStream(ctx, js, IntakeStream, "Publishers' chunks as accepted, with their decisions", intakePrefix+"*"); err != nil {
		return nil, err
	}
	if j.blocks, err = openStream(ctx, js, BlocksStream, "Collections' blocks", blocksPrefix+"*", replacedPrefix+"*"); err != nil {
		return nil, err
	}
	j.state, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: stateBucket, Description: "How far feeds, webhooks and removals are, what members have used, and when credentials were"})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", stateBucket, err)
	}
	if j.status, err = j.openTexts(ctx, statusBucket, "What became of members' submissions"); err != nil {
		return nil, err
	}
	if j.kept, err = j.openTexts(ctx, keptBucket, "What later submissions have to know of earlier ones, and what was cut short"); err != nil {
		return nil, err
	}
	if j.receipts, err = j.openTexts(ctx, receiptsBucket, "Publishers' receipts"); err != nil {
		return nil, err
	}
	if j.held, err = j.openTexts(ctx, quarantined, "What is in quarantine, and what was decided about it"); err != nil {
		return nil, err
	}
	// Each of the two keeps twice its window, and what is compressed is seldom larger than this one.
	j.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, err
	}
	if j.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(2)); err != nil {
		return nil, err
	}
	if err := errors.Join(j.openEnds(ctx), j.openRestarts(ctx)); err != nil {
		return nil, err
	}
	if err := errors.Join(j.lookForReplacements(ctx), j.finishReplacing(ctx)); err != nil {
		return nil, err
	}
	j.ctx, j.cancel = context.WithCancel(context.Background())
	j.writes, j.halt = context.WithCancelCause(context.Background())
	return j, nil
}

func openStream(ctx context.Context, js jetstream.JetStream, name, what string, subjects ...string) (jetstream.Stream, error) {
	s, err := js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: subjects, Description: what,
		Storage: jetstream.FileStorage, Discard: jetstream.DiscardNew, AllowDirect: true, DenyPurge: true,
		ConsumerLimits: jetstream.StreamConsumerLimits{},
	})
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", name, err)
	}
	return s, nil
}

// SetRoom sets what says, as an exchange.ErrFull, that there is no room for more, or for what takes something out, or, as an
// exchange.ErrDamaged, that nothing is to be appended. It is asked before anything is taken in; what was taken in is delivered all the same. It is set before the first append.
func (j *Journal) SetRoom(room func(takesOut bool) error) { j.room = room }

// SetClock sets what says the time; it is time.Now until then. It is set before the first append.
func (j *Journal) SetClock(now func() time.Time) { j.now = now }

// SetRegister sets what says which version of the register is in force, and its hash. It is set before the first append.
func (j *Journal) SetRegister(version func() record.Head) { j.register = version }

// Break ends appends under way, and lets none begin any more: the disk has refused one, for a reason.
func (j *Journal) Break(why error) { j.halt(why) }

// Close stops the packers, which finish the append under way and refuse the
// rest. Whoever decompresses has stopped by now.
func (j *Journal) Close() {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	j.cancel()
	j.wg.Wait()
	_ = j.enc.Close()
	j.dec.Close()
}

// lastSequence returns the last sequence of a subject, 0 where it has none.
func lastSequence(ctx context.Context, s jetstream.Stream, subject string) (uint64, error) {
	msg, err := s.GetLastMsgForSubject(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return msg.Sequence, nil
}

// LastIntake returns the end of a feed's records, zero where it has none, and the number of the last.
func (j *Journal) LastIntake(ctx context.Context, feed string) (h record.Head, number uint64, err error) {
	msg, err := j.intake.GetLastMsgForSubject(ctx, intakePrefix+feed)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return h, 0, nil
	}
	var text []byte
	if err == nil {
		text, err = j.Decompress(nil, msg.Data)
	}
	in := new(record.Intake)
	if err == nil {
		in, err = record.DecodeBeginning(text)
	}
	if err != nil {
		return h, 0, fmt.Errorf("read the end of feed %s: %w", feed, err)
	}
	return record.Head{Sequence: msg.Sequence, Hash: record.IntakeHash(text)}, in.Number, nil
}

// IntakeHeader are the headers of an intake record.
var IntakeHeader = map[string][]string{"Content-Encoding": {"zstd"}}

// AppendIntake appends an encoded record that follows the one of the given
// sequence in its feed, and returns where it is once it is on disk. After an
// error that is exchange.ErrFenced nothing more may be appended.
func (j *Journal) AppendIntake(ctx context.Context, feed string, text []byte, after uint64) (record.Head, error) {
	h := record.Head{Hash: record.IntakeHash(text)}
	if err := j.room(false); err != nil {
		return h, fmt.Errorf("append intake of feed %s: %w", feed, err)
	}
	msg := nats.NewMsg(intakePrefix + feed)
	msg.Header = nats.Header(maps.Clone(IntakeHeader))
	msg.Data = j.enc.EncodeAll(text, make([]byte, 0, len(text)/4))
	// A publisher that hangs up does not cut an append under way.
	write, cancel := context.WithTimeout(j.writes, 10*time.Second)
	defer cancel()
	ack, err := j.js.PublishMsg(write, msg, jetstream.WithExpectLastSequencePerSubject(after))
	if err == nil {
		h.Sequence = ack.Sequence
		j.ends.intake.advance(h)
		return h, nil
	}
	// Whether it was written is unknown: look.
	check, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	last, e := j.intake.GetLastMsgForSubject(check, msg.Subject)
	switch {
	case e == nil && last.Sequence > after && string(last.Data) == string(msg.Data):
		h.Sequence = last.Sequence
		j.ends.intake.advance(h)
		return h, nil
	case e == nil && last.Sequence == after, errors.Is(e, jetstream.ErrMsgNotFound) && after == 0:
		return h, fmt.Errorf("append intake of feed %s: %w", feed, err)
	}
	return h, fmt.Errorf("append intake of feed %s: %w: %w", feed, exchange.ErrFenced, errors.Join(err, e))
}

// Message is one intake record as it is in the journal.
type Message struct {
	Feed     string
	Sequence uint64
	// Data is the record, compressed; Decompress gives what was appended.
	Data []byte
}

// Decompress appends what a compressed record or block holds to dst. Its error is
// an exchange.ErrRecord when the data is at fault.
func (j *Journal) Decompress(dst, data []byte) ([]byte, error) {
	out, err := j.dec.DecodeAll(data, dst)
	if errors.Is(err, zstd.ErrDecoderClosed) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", exchange.ErrRecord, err)
	}
	return out, nil
}

// FollowIntake calls each with every intake record from the sequence on, in
// order, until ctx ends or each fails. pending is how many more there are.
func (j *Journal) FollowIntake(ctx context.Context, from uint64, each func(m Message, pending uint64) error) error {
	next := max(from, 1)
	return follow(ctx, j.js, IntakeStream, nil, from, false, func(msg jetstream.Msg, seq, pending uint64) error {
		if seq != next {
			return AsError([]Damage{{IntakeStream, fmt.Sprintf("lacks messages %d to %d", next, seq-1), seq - 1, false}})
		}
		next++
		return each(Message{Feed: msg.Subject()[len(intakePrefix):], Sequence: seq, Data: msg.Data()}, pending)
	})
}

// EachIntake calls each with every intake record of one feed after a sequence,
// up to the last there is now.
func (j *Journal) EachIntake(ctx context.Context, feed string, after uint64, each func(in *record.Intake, sequence uint64) error) error {
	last, err := lastSequence(ctx, j.intake, intakePrefix+feed)
	if err != nil || last <= after {
		return err
	}
	err = follow(ctx, j.js, IntakeStream, []string{intakePrefix + feed}, after+1, false, func(msg jetstream.Msg, seq, _ uint64) error {
		in, err := j.decodeIntake(msg.Data())
		if err == nil {
			err = each(in, seq)
		}
		if err == nil && seq >= last {
			err = errDone
		}
		return err
	})
	if errors.Is(err, errDone) {
		return nil
	}
	return err
}

func (j *Journal) decodeIntake(data []byte) (*record.Intake, error) {
	text, err := j.Decompress(nil, data)
	if err != nil {
		return nil, err
	}
	return record.DecodeIntake(text)
}

// Feeds lists the feeds that have intake records.
func (j *Journal) Feeds(ctx context.Context) ([]string, error) {
	return subjectsOf(ctx, j.intake, intakePrefix)
}

var errDone = errors.New("done")

// follow reads a stream in order with one ordered consumer, all of its messages or their headers.
func follow(ctx context.Context, js jetstream.JetStream, stream string, subjects []string, from uint64, headers bool, each func(msg jetstream.Msg, seq, pending uint64) error) error {
	c, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: max(from, 1), HeadersOnly: headers,
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return fmt.Errorf("follow %s: %w", stream, err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer func() { stop(); it.Stop() }()
	for {
		msg, err := it.Next()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("follow %s: %w", stream, err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w", stream, err)
		}
		if err := each(msg, meta.Sequence.Stream, meta.NumPending); err != nil {
			return err
		}
	}
}

// Ends returns the last sequences of both streams.
func (j *Journal) Ends(ctx context.Context) (intake, blocks uint64, err error) {
	i, err := j.intake.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("journal: %w", err)
	}
	b, err := j.blocks.Info(ctx)
	if err != nil {
		return 0, 0, fmt.Errorf("journal: %w", err)
	}
	return i.State.LastSeq, b.State.LastSeq, nil
}
