package node

import (
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/view"
)

// Repaired is what Repair has found, or done.
type Repaired struct {
	// Damage is what was known before.
	Damage []journal.Damage `json:"damage"`
	// PutBack are the messages of each stream that the view has and that were put back, or would be.
	PutBack map[string]int `json:"put_back"`
	// Left is what is known after; without doing anything it is what would be left, as far as that can be told.
	Left []journal.Damage `json:"left"`
}

// Repair puts back what the journal of a stopped exchange has lost and the view has: intake records, and blocks. With accept it
// also forgets damage to streams that collections are not made of: what they have lost is lost. It only looks unless do is
// set.
func Repair(ctx context.Context, dir string, do, accept bool) (*Repaired, error) {
	out := &Repaired{PutBack: make(map[string]int)}
	err := locked(dir, func() error {
		found, lost, err := missing(ctx, dir)
		if err != nil {
			return err
		}
		out.Damage = found
		for stream, list := range lost {
			out.PutBack[stream] = len(list)
		}
		if !do {
			out.Left = slices.DeleteFunc(slices.Clone(found), func(d journal.Damage) bool {
				return len(lost[d.Stream]) > 0 || accept && acceptable(d.Stream)
			})
			return nil
		}
		for stream, list := range lost {
			if err := filestore.Put(filepath.Join(dir, streamsDir), stream, list); err != nil {
				return err
			}
		}
		if err := settle(dir, lost, accept); err != nil {
			return err
		}
		out.Left, _, err = missing(ctx, dir) // what is still lacking is found anew
		return err
	})
	return out, err
}

// acceptable tells whether an exchange can go on without what a stream has lost.
func acceptable(stream string) bool {
	return !slices.Contains([]string{journal.IntakeStream, journal.BlocksStream, journal.RegisterStream}, stream)
}

// settle takes damage to the streams that messages were put back into from what is known of it, and accepts what may be.
func settle(dir string, putBack map[string][]filestore.Message, accept bool) error {
	all, err := noted(dir)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(f found) bool { return len(putBack[f.Stream]) > 0 })
	for i := range all {
		all[i].Accepted = all[i].Accepted || accept && acceptable(all[i].Stream)
	}
	return writeNoted(dir, all)
}

// missing is what is damaged, and the messages of intake and blocks that are lost and that the view has.
func missing(ctx context.Context, dir string) (found []journal.Damage, lost map[string][]filestore.Message, err error) {
	lost = make(map[string][]filestore.Message)
	err = withRegister(ctx, dir, func(r *register.Store, b *broker.Broker, files []journal.Damage) error {
		seal := sealOf(r)
		j, err := journal.Open(ctx, b.Conn(), journal.KeepAsItIs, seal)
		if err != nil {
			return err
		}
		defer j.Close()
		v, err := view.Open(view.Options{
			Dir: filepath.Join(dir, "view"), Decompress: j.Decompress, Continues: journal.Continues, Removal: seal.OpenRemoval,
			MayDelete: func(_, _ uint64) error { return errors.New("the view is damaged, too") },
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, v.Close(ctx)) }()
		k := known(dir, r, v.Applied(), v.AppliedBlocks())
		seen, err := j.Damage(ctx, k)
		if err != nil {
			return err
		}
		all, err := note(dir, slices.Concat(files, seen))
		if err != nil {
			return err
		}
		for _, f := range all {
			found = append(found, f.Damage)
		}
		intake, blocks, err := j.Missing(ctx, k)
		if err == nil {
			lost[journal.IntakeStream], err = intakeOf(v, j, intake)
		}
		if err == nil {
			lost[journal.BlocksStream], err = blocksOf(v, j, blocks)
		}
		return err
	})
	for stream, list := range lost {
		if len(list) == 0 {
			delete(lost, stream)
		}
	}
	return found, lost, err
}

// intakeOf are intake records as the view has them.
func intakeOf(v *view.View, j *journal.Journal, sequences []uint64) (list []filestore.Message, err error) {
	for _, n := range sequences {
		data, found, err := v.IntakeData(n)
		if err != nil {
			return nil, err
		}
		if !found {
			continue
		}
		feed, at, err := j.IntakeOf(data)
		if err != nil {
			return nil, err
		}
		list = append(list, filestore.Message{Sequence: n, Subject: feed, Header: record.EncodeHeader(journal.IntakeHeader), Data: data, Time: at.UnixNano()})
	}
	return list, nil
}

// blocksOf are blocks as they were, made of what the view has.
func blocksOf(v *view.View, j *journal.Journal, sequences []uint64) (list []filestore.Message, err error) {
	at := make(map[uint64]bool, len(sequences))
	for _, n := range sequences {
		at[n] = true
	}
	err = v.Whole(at, func(b *record.Block, objects [][]byte) error {
		subject, err := j.Remake(b, objects)
		if err == nil {
			list = append(list, filestore.Message{Sequence: b.Sequence, Subject: subject, Header: record.EncodeHeader(b.Header()), Data: b.Payload, Time: b.AddedFirst.UnixNano()})
		}
		return err
	})
	slices.SortFunc(list, func(a, b filestore.Message) int { return int(int64(a.Sequence) - int64(b.Sequence)) })
	return list, err
}
