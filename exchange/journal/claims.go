package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// claim is what somebody says of a stream: that it had a message, of a hash where that is known.
type claim struct {
	record.Head
	by string
}

// claims are the furthest of each stream.
type claims map[string]claim

func (c claims) add(stream string, h record.Head, by string) {
	if h.Sequence > c[stream].Sequence {
		c[stream] = claim{h, by}
	}
}

// registerVersions stands for the register's versions among claims: others name them, and not the messages of its stream.
const registerVersions = "register's versions"

// saidByBlocks adds what the last block of each collection says, and how far feeds are said to be delivered.
func (j *Journal) saidByBlocks(ctx context.Context, said claims) error {
	subjects, err := subjectsOf(ctx, j.blocks, blocksPrefix)
	if err != nil {
		return err
	}
	for _, collection := range subjects {
		b, err := j.lastBlock(ctx, collection)
		if err != nil {
			return err
		}
		by := "the last block of collection " + collection + " names it"
		said.add(IntakeStream, j.capped(BlocksStream, b.Sequence, IntakeStream, b.Intake), by)
		said.add(AuditStream, j.capped(BlocksStream, b.Sequence, AuditStream, b.Audit), by)
		said.add(registerVersions, b.Register, by)
		for _, d := range b.Delivered {
			said.add(IntakeStream, record.Head{Sequence: d.Sequence}, "collection "+collection+" was delivered from it")
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
		said.add(IntakeStream, record.Head{Sequence: to}, "feed "+feed+" was delivered")
	}
	return nil
}

// saidByFeeds adds what the last record of each feed says.
func (j *Journal) saidByFeeds(ctx context.Context, said claims) error {
	feeds, err := j.Feeds(ctx)
	if err != nil {
		return err
	}
	for _, feed := range feeds {
		in, sequence, err := j.lastIntake(ctx, feed)
		if err != nil {
			return err
		}
		by := "the last record of feed " + feed + " names it"
		said.add(BlocksStream, j.capped(IntakeStream, sequence, BlocksStream, in.Blocks), by)
		said.add(AuditStream, j.capped(IntakeStream, sequence, AuditStream, in.Audit), by)
		said.add(registerVersions, record.Head{Sequence: in.Register, Hash: in.RegisterHash}, "rows of feed "+feed+" were decided under it")
	}
	return nil
}

func (j *Journal) lastIntake(ctx context.Context, feed string) (in *record.Intake, sequence uint64, err error) {
	msg, err := j.intake.GetLastMsgForSubject(ctx, intakePrefix+feed)
	var text []byte
	if err == nil {
		text, err = j.Decompress(nil, msg.Data)
	}
	if err == nil {
		in, err = record.DecodeBeginning(text)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read the end of feed %s: %w", feed, err)
	}
	return in, msg.Sequence, nil
}

// endsHeader of a record of the audit has the last sequences of all other streams: "name sequence", separated by commas.
const endsHeader = "Tocsin-Ends"

// saidByAudit adds what the audit's last record says.
func (j *Journal) saidByAudit(ctx context.Context, said claims) error {
	msg, err := j.audit.GetLastMsgForSubject(ctx, auditSubject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the end of the audit: %w", err)
	}
	for pair := range strings.SplitSeq(msg.Header.Get(endsHeader), ",") {
		stream, number, _ := strings.Cut(pair, " ")
		if sequence, err := strconv.ParseUint(number, 10, 64); err == nil {
			said.add(stream, j.capped(AuditStream, msg.Sequence, stream, record.Head{Sequence: sequence}), "the audit's last record names it")
		}
	}
	return nil
}
