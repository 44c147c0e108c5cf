package node

import (
	"cmp"
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
// also goes on without what streams have lost that collections are not made of. Unless do is set nothing is put back or accepted;
// files that cannot be read are mended either way, and noted.
func Repair(ctx context.Context, dir string, do, accept bool) (*Repaired, error) {
	out := &Repaired{PutBack: make(map[string]int)}
	err := locked(dir, func() error {
		l, err := look(ctx, dir)
		if err != nil {
			return err
		}
		out.Damage = l.damage
		for stream, list := range l.there {
			if len(list) > 0 {
				out.PutBack[stream] = len(list)
			}
		}
		if !do {
			out.Left = slices.DeleteFunc(slices.Clone(l.damage), func(d journal.Damage) bool {
				return l.missing[d.Stream] > 0 && len(l.there[d.Stream]) == l.missing[d.Stream] || accept && acceptable(d)
			})
			return nil
		}
		for stream := range out.PutBack {
			if err := filestore.Put(filepath.Join(dir, streamsDir), stream, l.there[stream]); err != nil {
				return err
			}
		}
		if err := settle(dir, accept); err != nil {
			return err
		}
		l, err = look(ctx, dir)
		out.Left = l.damage
		return err
	})
	return out, err
}

// acceptable tells whether an exchange can go on without what a stream has lost: of the register an older version.
func acceptable(d journal.Damage) bool {
	return d.Stream != journal.IntakeStream && d.Stream != journal.BlocksStream && (d.Stream != journal.RegisterStream || !d.End)
}

// settle accepts damage where that may be, and forgets what is found anew where it still is so.
func settle(dir string, accept bool) error {
	all, err := noted(dir)
	if err != nil {
		return err
	}
	for i := range all {
		all[i].Accepted = all[i].Accepted || accept && acceptable(all[i].Damage)
	}
	return writeNoted(dir, slices.DeleteFunc(all, func(f finding) bool { return !f.Accepted && f.To > 0 }))
}

// looked is what a look at a journal finds: what is damaged, how many messages are missing of intake and of blocks, and those of
// them that the view has.
type looked struct {
	damage  []journal.Damage
	missing map[string]int
	there   map[string][]filestore.Message
}

// look looks at the journal of a stopped exchange.
func look(ctx context.Context, dir string) (l looked, err error) {
	l.missing, l.there = make(map[string]int), make(map[string][]filestore.Message)
	err = withRegister(ctx, dir, func(r *register.Store, b *broker.Broker, files []journal.Damage) (err error) {
		seal := sealOf(r)
		j, err := journal.Open(ctx, b.Conn(), journal.KeepAsItIs, seal)
		if err != nil {
			return beside(err, files)
		}
		defer j.Close()
		// A view that cannot be opened has nothing to put back.
		v, noView := view.Open(view.Options{
			Dir: filepath.Join(dir, "view"), Decompress: j.Decompress, Continues: journal.Continues, Removal: seal.OpenRemoval,
			MayDelete: func(_, _ uint64) error { return errors.New("it is of another version, or damaged") },
		})
		var intake, blocks uint64
		if noView == nil {
			defer func() { err = errors.Join(err, v.Close(ctx)) }()
			intake, blocks = v.Applied(), v.AppliedBlocks()
		} else if intake, blocks, err = view.Ends(filepath.Join(dir, "view")); err != nil {
			intake, blocks = 0, 0
		}
		k := known(dir, r, intake, blocks)
		seen, err := j.Damage(ctx, k)
		if err != nil {
			return err
		}
		open, err := note(dir, slices.Concat(files, seen))
		if err != nil {
			return err
		}
		l.damage = damagesOf(open)
		lostIntake, lostBlocks, err := j.Missing(ctx, seen)
		l.missing[journal.IntakeStream], l.missing[journal.BlocksStream] = len(lostIntake), len(lostBlocks)
		if err != nil || noView != nil {
			return err
		}
		if l.there[journal.IntakeStream], err = intakeOf(v, j, lostIntake); err == nil {
			l.there[journal.BlocksStream], err = blocksOf(v, j, lostBlocks)
		}
		return err
	})
	return l, err
}

func damagesOf(list []finding) (all []journal.Damage) {
	for _, f := range list {
		all = append(all, f.Damage)
	}
	return all
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
	slices.SortFunc(list, func(a, b filestore.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return list, err
}
