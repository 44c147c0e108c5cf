package journal

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Known is what others know of the journal: JetStream itself does not notice when a stream has lost
// its end.
type Known struct {
	// Intake and Blocks are the last sequences that the view has applied, 0 for none.
	Intake, Blocks uint64
	// Register is the version of the register in force.
	Register uint64
}

// Whole returns an ErrDamaged where a stream holds less than is known of it: than the view has
// applied, than collections were delivered from intake, or than intake says of the register. An
// exchange that went on from there would acknowledge rows that reach nobody.
func (j *Journal) Whole(ctx context.Context, known Known) error {
	intake, err := j.end(ctx, j.intake, IntakeStream, known.Intake, 0)
	if err != nil {
		return err
	}
	if _, err := j.end(ctx, j.blocks, BlocksStream, known.Blocks, j.replaced.count()); err != nil {
		return err
	}
	if err := j.delivered(ctx, intake); err != nil {
		return err
	}
	return j.decided(ctx, known.Register)
}

// end returns the last sequence of a stream, of which nothing may be missing but so many messages that were replaced,
// and which has to reach as far as the view.
func (j *Journal) end(ctx context.Context, s jetstream.Stream, name string, applied, replaced uint64) (uint64, error) {
	info, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at stream %s: %w", name, err)
	}
	st := &info.State
	switch {
	case st.LastSeq < applied:
		return 0, shorter(name, "ends at message", st.LastSeq, applied, "the view has applied it")
	case st.LastSeq > 0 && (st.FirstSeq > 1 && replaced == 0 || st.Msgs+replaced < st.LastSeq):
		return 0, shorter(name, "has messages:", st.Msgs, st.LastSeq-replaced, "its numbers go")
	}
	return st.LastSeq, nil
}

// delivered checks that intake, which ends at a sequence, has all that was delivered from it.
func (j *Journal) delivered(ctx context.Context, end uint64) error {
	subjects, err := subjectsOf(ctx, j.blocks, blocksPrefix)
	if err != nil {
		return err
	}
	for _, collection := range subjects {
		h, err := j.head(ctx, collection)
		if err != nil {
			return err
		}
		for _, c := range h.delivered {
			if c.Sequence > end {
				return shorter(IntakeStream, "ends at message", end, c.Sequence, "collection "+collection+" was delivered from it")
			}
		}
	}
	keys, err := j.state.ListKeysFiltered(ctx, deliveredPrefix+"*")
	if err != nil {
		return fmt.Errorf("list delivery positions: %w", err)
	}
	for key := range keys.Keys() {
		feed := strings.TrimPrefix(key, deliveredPrefix)
		to, err := j.DeliveredTo(ctx, feed)
		if err != nil {
			return err
		}
		if to > end {
			return shorter(IntakeStream, "ends at message", end, to, "feed "+feed+" was delivered")
		}
	}
	return nil
}

// decided checks that the register has the versions that feeds' last intake records were decided
// under.
func (j *Journal) decided(ctx context.Context, version uint64) error {
	feeds, err := j.Feeds(ctx)
	if err != nil {
		return err
	}
	for _, feed := range feeds {
		msg, err := j.intake.GetLastMsgForSubject(ctx, intakePrefix+feed)
		if err != nil {
			return fmt.Errorf("read the end of feed %s: %w", feed, err)
		}
		text, err := j.Decompress(nil, msg.Data)
		if err != nil {
			return fmt.Errorf("read the end of feed %s: %w", feed, err)
		}
		decided, err := record.DecidedUnder(text)
		if err != nil {
			return fmt.Errorf("read the end of feed %s: %w", feed, err)
		}
		if decided > version {
			return shorter("KV_TOCSIN_REGISTER", "ends at version", version, decided, "rows of feed "+feed+" were decided under it")
		}
	}
	return nil
}

// shorter says that a stream has less than is known.
func shorter(stream, has string, n, known uint64, by string) error {
	return fmt.Errorf("%w: stream %s %s %d, and %s up to %s: data is lost; restore the whole data directory from a backup, or its journal folder and delete its view",
		ErrDamaged, stream, has, n, by, strconv.FormatUint(known, 10))
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
	return list, nil
}
