package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// JetStream does not notice when a stream has lost its end, or a file. So each log says how far the others were when
// its last record was written: blocks name the ends of intake, of the audit and of the register; intake records those of the
// blocks, of the audit and of the register; records of the audit those of all streams. The view knows what it has applied.
// What is lost of one is named by the others. Only what came after all of their last records can vanish unnoticed.

// Known is what others know of the journal.
type Known struct {
	// Intake and Blocks are the last sequences that the view has applied, 0 for none.
	Intake, Blocks uint64
	// Register is the version and the hash of the register in force.
	Register record.Head
	// Stopped are the ends of the streams when the exchange was last stopped in order (StreamEnds), nil where that is
	// not known.
	Stopped map[string]record.Head
}

// Damage is what a stream lacks. To is the last message of those concerned, where that is known, and End says that its end
// is lost.
type Damage struct {
	Stream string `json:"stream"`
	What   string `json:"what"`
	To     uint64 `json:"to,omitempty"`
	End    bool   `json:"end,omitempty"`
}

func (d Damage) String() string { return "stream " + d.Stream + " " + d.What }

// The streams that damage can be of, besides IntakeStream and BlocksStream.
const (
	RegisterStream = "KV_TOCSIN_REGISTER"
	AuditStream    = exchange.AuditStream
	StatusStream   = "KV_" + statusBucket
	ReceiptsStream = "KV_" + receiptsBucket
)

// Damage lists what streams lack of what is known of them, by stream.
func (j *Journal) Damage(ctx context.Context, known Known) (list []Damage, err error) {
	said := make(claims)
	said.add(IntakeStream, record.Head{Sequence: known.Intake}, "the view has applied it")
	said.add(BlocksStream, record.Head{Sequence: known.Blocks}, "the view has applied it")
	for stream, h := range known.Stopped {
		said.add(stream, h, "it did when the exchange was stopped")
	}
	if err := errors.Join(j.saidByBlocks(ctx, said), j.saidByFeeds(ctx, said), j.saidByAudit(ctx, said)); err != nil {
		return nil, err
	}
	have, err := j.states(ctx)
	if err != nil {
		return nil, err
	}
	add := func(stream string, to uint64, end bool, format string, args ...any) {
		list = append(list, Damage{stream, fmt.Sprintf(format, args...), to, end})
	}
	for stream, c := range said {
		switch last := have[stream].LastSeq; {
		case stream == registerVersions:
			if r := known.Register; r.Sequence < c.Sequence {
				add(RegisterStream, 0, true, "ends at version %d, and %s up to version %d", r.Sequence, c.by, c.Sequence)
			} else if r.Sequence == c.Sequence && c.Hash != "" && r.Hash != c.Hash {
				add(RegisterStream, 0, true, "has another version %d than %s", r.Sequence, c.by)
			}
		case last < c.Sequence:
			add(stream, c.Sequence, true, "ends at message %d, and %s up to %d", last, c.by, c.Sequence)
		case c.Hash != "":
			hash, err := j.hashAt(ctx, stream, c.Sequence)
			if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) { // what is not there is a hole
				add(stream, c.Sequence, false, "cannot be read at message %d: %v", c.Sequence, err)
			} else if err == nil && hash != c.Hash {
				add(stream, c.Sequence, false, "has another message %d than %s", c.Sequence, c.by)
			}
		}
	}
	for stream, st := range have { // where a file ends before its index says, JetStream keeps the number
		if st.LastSeq == 0 || slices.Contains(Aging, stream) {
			continue
		}
		lost, err := j.lacksLast(ctx, stream, st.LastSeq)
		if err != nil {
			return nil, err
		}
		if lost {
			add(stream, st.LastSeq, true, "lacks its last message, %d", st.LastSeq)
		}
	}
	for stream, gone := range j.gone(have) {
		st := have[stream]
		if st.Msgs+gone < st.LastSeq {
			missing, err := j.missing(ctx, stream)
			if err != nil {
				return nil, err
			}
			to := st.LastSeq
			if len(missing) > 0 {
				to = missing[len(missing)-1]
			}
			add(stream, to, false, "lacks %d messages, of these numbers: %s", st.LastSeq-gone-st.Msgs, runs(missing))
		}
	}
	slices.SortFunc(list, func(a, b Damage) int { return cmp.Or(cmp.Compare(a.Stream, b.Stream), cmp.Compare(a.What, b.What)) })
	return list, nil
}

// Whole returns an ErrDamaged where Damage finds something.
func (j *Journal) Whole(ctx context.Context, known Known) error {
	list, err := j.Damage(ctx, known)
	if err != nil {
		return err
	}
	return AsError(list)
}

// Aging are the streams whose messages go with their time, Counted those of which it is known how many they have.
var (
	Aging   = []string{AuditStream, StatusStream, ReceiptsStream}
	Counted = []string{IntakeStream, BlocksStream, AuditStream}
)

// gone is how many messages of the streams that are Counted are gone for a reason.
func (j *Journal) gone(have map[string]jetstream.StreamState) map[string]uint64 {
	return map[string]uint64{IntakeStream: 0, BlocksStream: j.replaced.count(), AuditStream: j.aged(have[AuditStream])}
}

// Gone is how many messages each of the streams that are Counted has lost for a reason.
func (j *Journal) Gone(ctx context.Context) (map[string]uint64, error) {
	have, err := j.states(ctx)
	if err != nil {
		return nil, err
	}
	return j.gone(have), nil
}

// lacksLast tells whether the last message of a stream is not there, which nobody deletes.
func (j *Journal) lacksLast(ctx context.Context, stream string, sequence uint64) (bool, error) {
	s, err := j.js.Stream(ctx, stream)
	if err != nil {
		return false, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	_, err = s.GetMsg(ctx, sequence)
	if err == nil || !errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, err
	}
	return true, nil
}

// AsError is an ErrDamaged that names what is lacking; nil where nothing is.
func AsError(list []Damage) error {
	if len(list) == 0 {
		return nil
	}
	var texts []string
	for _, d := range list {
		texts = append(texts, d.String())
	}
	return fmt.Errorf("%w: %s: data is lost; tocsin repair puts back what the view has, and the rest wants the whole data directory from a backup", ErrDamaged, strings.Join(texts, "; "))
}

// aged is how many records of the audit have gone with their time: those before the first that there is, unless that one is
// too young for others to have gone before it.
func (j *Journal) aged(st jetstream.StreamState) uint64 {
	first := st.FirstTime
	if st.Msgs == 0 {
		first = st.LastTime
	}
	if j.auditLeast == 0 || time.Since(first) < j.auditLeast/2 {
		return 0
	}
	return max(st.FirstSeq, 1) - 1
}

// StreamEnds are the ends of all streams that have messages, as they are now, the audit's with the hash of its last record.
func (j *Journal) StreamEnds(ctx context.Context) (map[string]record.Head, error) {
	have, err := j.states(ctx)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]record.Head, len(have))
	for stream, st := range have {
		if st.Msgs > 0 {
			ends[stream] = record.Head{Sequence: st.LastSeq}
		}
	}
	if _, ok := ends[AuditStream]; ok {
		ends[AuditStream] = j.ends.audit.get()
	}
	return ends, nil
}

// endsOfAll writes endsHeader.
func (j *Journal) endsOfAll(ctx context.Context) (string, error) {
	have, err := j.states(ctx)
	if err != nil {
		return "", err
	}
	var pairs []string
	for stream, st := range have {
		if stream != AuditStream {
			pairs = append(pairs, stream+" "+strconv.FormatUint(st.LastSeq, 10))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, ","), nil
}

// states are what JetStream says of each stream of the exchange.
func (j *Journal) states(ctx context.Context) (map[string]jetstream.StreamState, error) {
	all := make(map[string]jetstream.StreamState)
	list := j.js.ListStreams(ctx)
	for info := range list.Info() {
		if ours(info.Config.Name) {
			all[info.Config.Name] = info.State
		}
	}
	if err := list.Err(); err != nil {
		return nil, fmt.Errorf("list the streams: %w", err)
	}
	return all, nil
}

func ours(stream string) bool { return strings.HasPrefix(strings.TrimPrefix(stream, "KV_"), "TOCSIN_") }

// hashAt is the hash of the record that a stream has at a sequence; of a block that was replaced it is the block's.
func (j *Journal) hashAt(ctx context.Context, stream string, sequence uint64) (string, error) {
	switch stream {
	case IntakeStream:
		msg, err := j.intake.GetMsg(ctx, sequence)
		if err != nil {
			return "", err
		}
		text, err := j.Decompress(nil, msg.Data)
		return record.IntakeHash(text), err
	case BlocksStream:
		msg, err := j.message(ctx, sequence)
		if err != nil {
			return "", err
		}
		b, err := j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
		if err != nil {
			return "", err
		}
		return b.Hash(), nil
	default:
		msg, err := j.audit.GetMsg(ctx, sequence)
		if err != nil {
			return "", err
		}
		h, err := auditHeadOf(msg.Header, msg.Sequence)
		return h.hash, err
	}
}

// missing lists the numbers that a stream does not have and that no block had that is known to be replaced.
func (j *Journal) missing(ctx context.Context, stream string) ([]uint64, error) {
	s, err := j.js.Stream(ctx, stream)
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	info, err := s.Info(ctx, jetstream.WithDeletedDetails(true))
	if err != nil {
		return nil, fmt.Errorf("look at stream %s: %w", stream, err)
	}
	gone := info.State.Deleted
	if stream != AuditStream || j.aged(info.State) == 0 {
		for n := uint64(1); n < info.State.FirstSeq; n++ {
			gone = append(gone, n)
		}
	}
	slices.Sort(gone)
	return slices.DeleteFunc(gone, func(n uint64) bool { // a stream that is empty says that it has lost 0
		return n == 0 || stream == BlocksStream && j.replaced.where(n) != n
	}), nil
}

// maxRuns is how many runs of numbers are named.
const maxRuns = 20

// runs writes ascending numbers as "1 to 3, 7".
func runs(list []uint64) string {
	var texts []string
	for i := 0; i < len(list); {
		k := i
		for k+1 < len(list) && list[k+1] == list[k]+1 {
			k++
		}
		if len(texts) == maxRuns {
			texts = append(texts, "and more")
			break
		}
		text := strconv.FormatUint(list[i], 10)
		if k > i {
			text += " to " + strconv.FormatUint(list[k], 10)
		}
		texts, i = append(texts, text), k+1
	}
	return strings.Join(texts, ", ")
}

// subjectsOf lists the names behind a prefix that a stream has messages of.
func subjectsOf(ctx context.Context, s jetstream.Stream, prefix string) (list []string, err error) {
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("list subjects: %w", err)
	}
	for subject := range info.State.Subjects {
		list = append(list, subject[len(prefix):])
	}
	slices.Sort(list)
	return list, nil
}
