package journal

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// end is the end of a log, as far as it is known here: what records of other logs say of it (Damage).
type end struct{ at atomic.Pointer[record.Head] }

func (e *end) get() record.Head {
	if h := e.at.Load(); h != nil {
		return *h
	}
	return record.Head{}
}

// advance moves the end on, unless it is further.
func (e *end) advance(h record.Head) {
	for {
		have := e.at.Load()
		if have != nil && have.Sequence >= h.Sequence || e.at.CompareAndSwap(have, &h) {
			return
		}
	}
}

// Heads are the ends of the collections' blocks and of the audit as far as they are known here.
func (j *Journal) Heads() (blocks, audit record.Head) { return j.ends.blocks.get(), j.ends.audit.get() }

// openEnds looks where the streams end.
func (j *Journal) openEnds(ctx context.Context) error {
	if end, err := j.auditHead(ctx); err != nil {
		return err
	} else if end.sequence > 0 {
		j.ends.audit.advance(record.Head{Sequence: end.sequence, Hash: end.hash})
	}
	msg, err := j.intake.GetLastMsgForSubject(ctx, intakePrefix+"*")
	if err == nil {
		var text []byte
		if text, err = j.Decompress(nil, msg.Data); err == nil {
			j.ends.intake.advance(record.Head{Sequence: msg.Sequence, Hash: record.IntakeHash(text)})
		}
	}
	if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("read the end of stream %s: %w", IntakeStream, err)
	}
	msg, err = j.blocks.GetLastMsgForSubject(ctx, blocksPrefix+"*")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the end of stream %s: %w", BlocksStream, err)
	}
	b, err := j.decodeBlock(msg.Subject, msg.Header, msg.Data, msg.Sequence)
	if err == nil {
		j.ends.blocks.advance(record.Head{Sequence: b.Sequence, Hash: b.Hash()})
	}
	return err
}
