package view

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/index"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/members"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// batch is what one record changes.
type batch struct {
	*pebble.Batch
	v      *View
	before *store.Filtered // the view before it
}

// begin starts a batch. One that is indexed reads what it writes, which is slower.
func (v *View) begin(indexed bool) (*batch, error) {
	b := &batch{v: v}
	if indexed {
		b.Batch = v.db.NewIndexedBatch()
	} else {
		b.Batch = v.db.NewBatch()
	}
	var err error
	if b.before, err = store.NewFiltered(v.db); err != nil {
		_ = b.Close()
	}
	return b, err
}

// end ends a batch, committed or not.
func (b *batch) end() {
	_ = b.before.Close() // its errors came with its answers
	_ = b.Close()
}

// commit writes the batch with the stream's sequence, and publishes what a writer has put into it, nil for none.
func (b *batch) commit(stream string, sequence uint64, w *index.Writer) error {
	_ = b.Set(metaKey(stream), binary.BigEndian.AppendUint64(nil, sequence), nil) // which fails only when the batch is misused
	if w != nil {
		w.Write()
	}
	if b.v.opt.Tap != nil {
		b.v.opt.Tap(b.Repr())
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("write view: %w", store.Failed(err))
	}
	b.v.unwritten.Add(int64(b.Len()))
	if w != nil {
		w.Done()
	}
	b.v.advance(stream, sequence)
	return nil
}

// ApplyIntake adds an intake record: what admission asks of the past, and the
// feed's own collection, which refers to the record.
func (v *View) ApplyIntake(ctx context.Context, sequence uint64, data []byte) error {
	if sequence <= v.Applied() {
		return nil
	}
	if err := v.Note(v.applyIntake(ctx, sequence, data)); err != nil {
		return fmt.Errorf("intake %d: %w", sequence, err)
	}
	return nil
}

func (v *View) applyIntake(ctx context.Context, sequence uint64, data []byte) error {
	text, err := v.opt.Decompress(nil, data)
	if err != nil {
		return err
	}
	in, err := record.DecodeIntake(text)
	if err != nil {
		return err
	}
	b, err := v.begin(false)
	if err != nil {
		return err
	}
	defer b.end()
	if err := v.Hosts.Add(b.Batch, b.before, in, sequence, data); err != nil {
		return err
	}
	shares, err := own(ctx, in, v.opt.Shares)
	if err != nil {
		return err
	}
	w := v.Begin(b.Batch, b.before, exchange.FeedCollection(in.Feed))
	added, err := w.AddOwn(in, sequence, shares)
	if err != nil {
		return err
	}
	if !added {
		w = nil
	}
	return b.commit("intake", sequence, w)
}

// ApplyBlock adds a block of the journal. A block that does not continue its
// collection's chain marks the collection as broken: it is served as it was,
// and takes nothing more until the view is built from a journal that is whole.
func (v *View) ApplyBlock(r *record.Block) error {
	if r.Sequence <= v.AppliedBlocks() {
		return nil
	}
	err := v.applyBlock(r)
	if errors.Is(err, index.ErrContent) || errors.Is(err, members.ErrContent) || errors.Is(err, exchange.ErrRecord) {
		err = v.skip(r, err)
	}
	return v.Note(err)
}

func (v *View) applyBlock(r *record.Block) error {
	if r.Number == 0 || v.Sound(r.Collection) != nil { // a replacement of what is in already, or what the chain does not hold
		return v.skip(r, nil)
	}
	b, err := v.begin(r.Control != "")
	if err != nil {
		return err
	}
	defer b.end()
	w := v.Begin(b.Batch, b.before, r.Collection)
	err = w.Continues(func(number uint64, hash string, added time.Time) error {
		if err := v.opt.Continues(r, number, hash, added); err != nil {
			return fmt.Errorf("%w: %w", index.ErrContent, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if r.Trimmed {
		w.Trimmed(r)
		w.End(r)
		w.Keep(r)
		return b.commit("blocks", r.Sequence, w)
	}
	text, err := v.opt.Decompress(v.text[:0], r.Payload)
	v.text = text[:0] // good until the next block
	if err != nil {
		return err
	}
	if r.Control != "" {
		err = v.takeOut(b, w, r, text)
	} else {
		err = w.Add(r, text, func(i int, raw []byte, brief stix.Brief) error {
			if r.By == "" || i >= len(r.Labels) || r.Labels[i] == 0 {
				return nil
			}
			return members.Add(b.Batch, w.Collection(), brief, raw, r.By, r.Labels[i])
		})
	}
	if err != nil {
		return err
	}
	w.End(r)
	w.Keep(r)
	return b.commit("blocks", r.Sequence, w)
}

// skip passes over a block; why, where it is not nil, is what is wrong with its collection: what the journal holds, not the
// view.
func (v *View) skip(r *record.Block, why error) error {
	b, err := v.begin(false)
	if err != nil {
		return err
	}
	defer b.end()
	if why != nil {
		v.Break(b.Batch, r.Collection, why)
	}
	return b.commit("blocks", r.Sequence, nil)
}

// takeOut does what a control block says.
func (v *View) takeOut(b *batch, w *index.Writer, r *record.Block, text []byte) error {
	leaves := record.NewLeaves(r.Seed)
	leaves.Add(text)
	if err := index.Committed(r, leaves); err != nil {
		return err
	}
	d, err := v.opt.Removal(r, text)
	if err != nil {
		return fmt.Errorf("%w: %w", index.ErrContent, err)
	}
	w.Locate(r)
	for i, o := range slices.Concat(d.Versions, d.Withdrawn, d.Raised) {
		id, ok := key.Of(o)
		if !ok {
			return fmt.Errorf("%w: removal %d has no id", index.ErrContent, i)
		}
		ver, comesAgain := key.VersionOf(o.Version), i >= len(d.Versions)+len(d.Withdrawn)
		if err := w.Remove(id, ver, comesAgain); err != nil {
			return err
		}
		members.Forget(b.Batch, w.Collection(), id, ver)
	}
	for i, o := range d.Objects {
		id, ok := key.ParseID([]byte(o.ID))
		if !ok {
			return fmt.Errorf("%w: withdrawal %d has no id", index.ErrContent, i)
		}
		if _, err := w.Withdraw(id); err != nil {
			return err
		}
	}
	unreferred, err := withdrawUnreferred(b, w)
	if err != nil {
		return err
	}
	for i := range d.Remembered {
		if err := members.Remember(b.Batch, w.Collection(), &d.Remembered[i], r.By); err != nil {
			return err
		}
	}
	if len(d.Objects)+len(d.Versions)+len(d.Withdrawn)+len(d.Raised) == 0 {
		return nil
	}
	return w.TookOut(r, d, unreferred)
}

// withdrawUnreferred takes out the observables that what was taken out refers to, and what they alone refer to: one that a
// feed has made leaves a collection with the last object there that refers to it.
func withdrawUnreferred(b *batch, w *index.Writer) (list []string, err error) {
	for {
		done := true
		for _, id := range w.Loose() {
			stays, err := members.Holds(b.Batch, w.Collection(), id)
			if err == nil && !stays {
				stays, err = w.Referred(id)
			}
			if err != nil {
				return nil, err
			}
			if stays {
				continue
			}
			w.Fasten(id)
			done = false
			switch found, err := w.Withdraw(id); {
			case err != nil:
				return nil, err
			case found:
				list = append(list, id.String())
			}
		}
		if done {
			return list, nil
		}
	}
}
