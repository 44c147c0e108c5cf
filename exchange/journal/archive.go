package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// The journal as an archive takes it, and as a restore gives it back: the messages of all of the exchange's streams, as they
// are stored.

// StateStream has how far feeds, back-filling and removals are.
const StateStream = "KV_" + stateBucket

// Checkpoint is how far all streams are. Collections hold nothing at it that is not in the intake records up to it: theirs is
// looked at before the others'.
func (j *Journal) Checkpoint(ctx context.Context) (c record.Checkpoint, err error) {
	c.At, c.Delivered = j.now().UTC(), make(map[string]uint64)
	feeds, err := j.Feeds(ctx)
	if err != nil {
		return c, err
	}
	for _, feed := range feeds {
		if c.Delivered[feed], err = j.DeliveredTo(ctx, feed); err != nil {
			return c, err
		}
	}
	if c.Backfilled, _, err = j.Backfilled(ctx); err != nil {
		return c, err
	}
	blocks, err := j.blocks.Info(ctx)
	if err != nil {
		return c, fmt.Errorf("look at stream %s: %w", BlocksStream, err)
	}
	have, err := j.states(ctx)
	if err != nil {
		return c, err
	}
	c.Ends = make(map[string]uint64, len(have))
	for stream, st := range have {
		c.Ends[stream] = st.LastSeq
	}
	c.Ends[BlocksStream] = blocks.State.LastSeq
	return c, nil
}

// Streams are the settings of the exchange's streams, as CreateStreams takes them.
func (j *Journal) Streams(ctx context.Context) (map[string]json.RawMessage, error) {
	all := make(map[string]json.RawMessage)
	list := j.js.ListStreams(ctx)
	for info := range list.Info() {
		if ours(info.Config.Name) {
			text, err := json.Marshal(&info.Config)
			if err != nil {
				return nil, fmt.Errorf("settings of stream %s: %w", info.Config.Name, err)
			}
			all[info.Config.Name] = text
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return all, nil
}

// CreateStreams makes streams that have no messages yet.
func CreateStreams(ctx context.Context, nc *nats.Conn, settings map[string]json.RawMessage) error {
	js, err := jetstream.New(nc)
	if err != nil {
		return fmt.Errorf("make streams: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		var config jetstream.StreamConfig
		if err := json.Unmarshal(settings[name], &config); err != nil || config.Name != name || !ours(name) {
			return fmt.Errorf("make stream %.80q: its settings are none of an exchange's: %w", name, errors.Join(err, ErrDamaged))
		}
		config.Replicas, config.Placement = 1, nil // those of a cluster
		if _, err := js.CreateStream(ctx, config); err != nil {
			return fmt.Errorf("make stream %s: %w", name, err)
		}
	}
	return nil
}

// quiet is after how long without a message it is looked whether there is one at all.
const quiet = 2 * time.Second

// Messages calls each with the messages of a stream behind a sequence and up to another, which is not behind its end. Its error
// is an ErrDamaged where one is not there that nobody has deleted.
func (j *Journal) Messages(ctx context.Context, stream string, after, to uint64, each func(m *record.Message) error) error {
	if to <= after {
		return nil
	}
	c, err := j.js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1})
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	it, err := c.Messages(jetstream.PullMaxMessages(64))
	if err != nil {
		return fmt.Errorf("read stream %s: %w", stream, err)
	}
	stop := context.AfterFunc(ctx, it.Stop)
	defer func() { stop(); it.Stop() }()
	var gone []uint64
	last, tries := after, 0
	for last < to {
		msg, err := it.Next(jetstream.NextMaxWait(quiet))
		if errors.Is(err, nats.ErrTimeout) {
			waits, e := j.waits(ctx, stream, last)
			if e == nil && !waits {
				break
			}
			if err = e; err == nil && tries < 10 {
				tries++
				continue
			}
		}
		if err != nil {
			return errors.Join(ctx.Err(), fmt.Errorf("read stream %s: %w", stream, err))
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("read stream %s: %w", stream, err)
		}
		sequence := meta.Sequence.Stream
		for n := last + 1; n < min(sequence, to+1); n++ {
			gone = append(gone, n)
		}
		if last = sequence; sequence > to {
			break
		}
		m := record.Message{Sequence: sequence, Subject: msg.Subject(), Data: msg.Data(), Time: meta.Timestamp.UnixNano()}
		if len(msg.Headers()) > 0 {
			m.Header = record.EncodeHeader(msg.Headers())
		}
		if err := each(&m); err != nil {
			return err
		}
		if meta.NumPending == 0 {
			break
		}
	}
	for n := last + 1; n <= to; n++ {
		gone = append(gone, n)
	}
	return j.deleted(ctx, stream, gone)
}

// waits tells whether a stream has a message behind a sequence.
func (j *Journal) waits(ctx context.Context, stream string, after uint64) (bool, error) {
	s, err := j.js.Stream(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	_, err = s.GetMsg(ctx, after+1, jetstream.WithGetMsgSubject(">"))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	return true, err
}

// deleted checks that the stream knows of messages that they were deleted, or too old to be kept.
func (j *Journal) deleted(ctx context.Context, stream string, sequences []uint64) error {
	if len(sequences) == 0 {
		return nil
	}
	s, err := j.js.Stream(ctx, stream)
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", stream, err)
	}
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return fmt.Errorf("look at stream %s: %w", stream, err)
	}
	slices.Sort(info.State.Deleted)
	lost := slices.DeleteFunc(sequences, func(n uint64) bool {
		_, found := slices.BinarySearch(info.State.Deleted, n)
		return found || n < info.State.FirstSeq || info.State.Msgs == 0
	})
	if len(lost) > 0 {
		return AsError([]Damage{{Stream: stream, What: "cannot be read at messages " + runs(lost), To: lost[len(lost)-1]}})
	}
	return nil
}

// PositionOf tells whether a message of StateStream says how far something is that a restore takes back, which Rewind writes
// anew.
func PositionOf(subject string) bool {
	key, _ := strings.CutPrefix(subject, "$KV."+stateBucket+".")
	return strings.HasPrefix(key, deliveredPrefix) || strings.HasPrefix(key, replacingPrefix) || key == backfilledKey
}

// restartsKey is where the restarts are kept.
const restartsKey = "restarts"

// Restarts lists how often the exchange was restored, oldest first.
func (j *Journal) Restarts() []record.Restart { return j.restarts }

func (j *Journal) openRestarts(ctx context.Context) error {
	e, err := j.state.Get(ctx, restartsKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(e.Value(), &j.restarts)
	}
	if err != nil {
		return fmt.Errorf("read the restarts: %w", err)
	}
	return nil
}

// Rewind writes that the exchange goes on from a checkpoint, as a new generation: how far feeds and back-filling were, and a
// control block at the end of each collection's chain. last is the last stamp of what is taken back. It is done once, with what was
// restored, before anything is appended.
func (j *Journal) Rewind(ctx context.Context, c *record.Checkpoint, chains []record.Chain, last time.Time) (record.Restart, error) {
	ends, err := j.states(ctx)
	if err != nil {
		return record.Restart{}, err
	}
	r := record.Restart{Generation: len(j.restarts) + 2, To: c.At, At: j.now().UTC().Truncate(time.Microsecond), Ends: make(map[string]uint64), Last: make(map[string]time.Time)}
	for stream, st := range ends {
		r.Ends[stream] = st.LastSeq
	}
	if r.At.Before(last) { // the clock may be behind
		r.At = last
	}
	for _, chain := range chains {
		r.Last[chain.Collection] = chain.Last
		if r.At.Before(chain.Last) {
			r.At = chain.Last
		}
	}
	feeds, err := j.Feeds(ctx)
	if err != nil {
		return r, err
	}
	for _, feed := range feeds { // its own collection, whose stamps are those of its records, and a little behind
		in, _, err := j.lastIntake(ctx, feed)
		if err != nil {
			return r, err
		}
		r.Last[exchange.FeedCollection(feed)] = in.At.Add(time.Second)
	}
	for feed, to := range c.Delivered {
		if err := j.SetDeliveredTo(ctx, feed, min(to, r.Ends[IntakeStream])); err != nil {
			return r, err
		}
	}
	if err := j.SetBackfilled(ctx, c.Backfilled); err != nil {
		return r, err
	}
	j.restarts = append(j.restarts, r)
	text, err := json.Marshal(j.restarts)
	if err == nil {
		_, err = j.state.Put(ctx, restartsKey, text)
	}
	if err != nil {
		return r, fmt.Errorf("write the restart: %w", err)
	}
	for _, chain := range chains {
		post := &record.Post{Share: record.Share{Collection: chain.Collection}, Control: record.ControlRestart, Removal: &record.Removal{}, Added: r.At.Add(time.Microsecond)}
		if _, err := j.Post(post); err != nil {
			return r, err
		}
	}
	return r, nil
}

// capped is what a record of before a restart may still say of a stream.
func (j *Journal) capped(stream string, sequence uint64, of string, h record.Head) record.Head {
	for i := range j.restarts {
		if r := &j.restarts[i]; sequence <= r.Ends[stream] && h.Sequence > r.Ends[of] {
			h = record.Head{Sequence: r.Ends[of]}
		}
	}
	return h
}

// BlockOf reads a message of the stream of blocks as the block, or what stays of it, and its payload, decompressed.
func (j *Journal) BlockOf(m *record.Message) (b *record.Block, text []byte, err error) {
	header, err := record.DecodeHeader(m.Header)
	if err == nil {
		b, err = j.decodeBlock(m.Subject, header, m.Data, m.Sequence)
	}
	if err == nil && !b.Trimmed {
		text, err = j.Decompress(nil, b.Payload)
	}
	return b, text, err
}

// ReplacedBy tells which block's place a message of the stream of blocks has taken, by that one's sequence; replaces is false
// for a block itself.
func ReplacedBy(m *record.Message) (block uint64, replaces bool, err error) {
	if _, replaces = collectionOf(m.Subject); !replaces {
		return 0, false, nil
	}
	header, err := record.DecodeHeader(m.Header)
	if err == nil {
		block, err = strconv.ParseUint(nats.Header(header).Get(sequenceHeader), 10, 64)
	}
	if err != nil {
		return 0, true, fmt.Errorf("replacement at %d: %w: %w", m.Sequence, ErrDamaged, err)
	}
	return block, true, nil
}

// InPlaceOf is what stays of a block, as a message in the place that it had before: the block's own, or that of an earlier
// replacement.
func InPlaceOf(stays *record.Message, block uint64, before *record.Message) (*record.Message, error) {
	header, err := record.DecodeHeader(stays.Header)
	if err != nil {
		return nil, err
	}
	collection, _ := collectionOf(stays.Subject)
	m := &record.Message{Sequence: block, Subject: blocksPrefix + collection, Data: stays.Data, Time: stays.Time}
	delete(header, countHeader)
	if before != nil {
		had, err := record.DecodeHeader(before.Header)
		if err != nil {
			return nil, err
		}
		m.Sequence, m.Subject = before.Sequence, before.Subject
		header[countHeader] = had[countHeader]
	}
	m.Header = record.EncodeHeader(header)
	return m, nil
}
