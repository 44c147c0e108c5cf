package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// What is erased leaves in two steps. First readers have it no more: rows are recalled, members' objects deleted, and who had them
// is told, as with every recall. Then, before the broker opens the streams at the next start, their files are written anew without
// it, the view is made anew, and the archive's segments are, once the exchange runs. The order comes first: what is cut short is
// finished at the next start, and what a restore brings back is erased again.

// erasedFile lists the messages that are others now and that the archive has as they were.
const erasedFile = "erased.json"

// Erase carries out the first step of an order.
func (n *Node) Erase(ctx context.Context, o *erasure.Order) (*api.Erased, error) {
	if len(n.opt.NATSURLs) > 0 {
		return nil, errors.New("erase: the streams' files are not here, but with the NATS servers")
	}
	ctx = context.WithoutCancel(ctx) // who asked may go
	if err := n.Journal.SetOrder(ctx, o); err != nil {
		return nil, err
	}
	out := &api.Erased{Order: o.ID, Pending: true}
	match := erasure.Match([]*erasure.Order{o})
	feeds, err := n.Journal.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	for _, feed := range feeds {
		all := &admission.Chunk{Feed: feed, Recall: "erased by order " + o.ID}
		seen := make(map[exchange.EventID]bool)
		err := n.Journal.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
			for i := range in.Events {
				if e := &in.Events[i]; match.Event(&e.Event) && !seen[e.ID()] {
					seen[e.ID()] = true
					all.Events = append(all.Events, e.Event)
				}
			}
			return nil
		})
		if err == nil {
			err = n.admitAgain(ctx, all)
		}
		if err != nil {
			return nil, err
		}
		out.Events += int64(len(all.Events))
	}
	posted, err := n.posted(ctx, match)
	if err != nil {
		return nil, err
	}
	for of := range posted {
		if err := n.api.DeleteObject(ctx, of.collection, of.id); err != nil {
			return nil, err
		}
		out.Objects++
	}
	n.Journal.Audit(exchange.AuditEntry{
		Action: exchange.AuditErased, Member: o.By, Count: int64(len(o.Hashes)),
		Detail: fmt.Sprintf("order %s: %d events, %d objects of members: %s", o.ID, out.Events, out.Objects, o.Reason),
	})
	return out, nil
}

// postedObject is an object that a member has posted to a collection.
type postedObject struct{ collection, id string }

// posted finds those that name what is erased.
func (n *Node) posted(ctx context.Context, match *erasure.Matcher) (map[postedObject]bool, error) {
	found := make(map[postedObject]bool)
	_, end, err := n.Journal.Ends(ctx)
	if err != nil {
		return nil, err
	}
	err = n.Journal.Messages(ctx, journal.BlocksStream, 0, end, func(m *record.Message) error {
		b, text, err := n.Journal.BlockOf(m)
		if err != nil || b.By == "" || b.Control != "" || b.Collection == exchange.Quarantine {
			return err
		}
		gone, objects, err := match.Objects(b, text, nil)
		for _, i := range gone {
			found[postedObject{b.Collection, erasure.IDOf(objects[i])}] = true
		}
		return err
	})
	return found, err
}

// work is what is to be done to the streams' files while nobody has them open.
type work struct {
	orders []*erasure.Order // to be carried out, and those that were
	// trim and trimAudit tell what is older than it is kept.
	trim      func(collection, feed string, at time.Time) bool
	trimAudit func(at time.Time) bool
}

// due returns what there is to be done to the files, nil for nothing. It destroys the keys of orders whose time is over.
func (n *Node) due(ctx context.Context) (*work, error) {
	if len(n.opt.NATSURLs) > 0 {
		return nil, nil
	}
	all, err := n.Journal.Orders(ctx)
	if err != nil {
		return nil, err
	}
	now, doubt := n.clock.Now(), n.clock.Doubt()
	window := cmp.Or(n.opt.RestoreWindow, restoreWindow)
	due := false
	for _, o := range all {
		if len(o.Key) > 0 && !o.Done.IsZero() && now.Sub(o.At) > window && !doubt {
			o.Key, due = nil, true
			if err := n.Journal.SetOrder(ctx, o); err != nil {
				return nil, err
			}
		}
		due = due || len(o.Key) > 0 && o.Done.IsZero()
	}
	w := &work{
		orders: all, trim: func(string, string, time.Time) bool { return false }, trimAudit: func(time.Time) bool { return false },
	}
	if !doubt {
		old, err := n.overdue(ctx, now)
		if err != nil {
			return nil, err
		}
		due = due || old
		w.trim = trimmer(n.Register.Current(), now)
		if keep := n.opt.KeepAudit; keep > 0 {
			w.trimAudit = func(at time.Time) bool { return now.Sub(at) > keep }
		}
	}
	if !due {
		return nil, nil
	}
	return w, nil
}

// restoreWindow is for how long an order is carried out again after a restore.
const restoreWindow = 400 * 24 * time.Hour

// rewrite writes the streams' files anew without what is erased or too old. Nobody has them open.
func (n *Node) rewrite(w *work) error {
	began := time.Now()
	dir := n.opt.Dir
	for _, of := range []string{"view", damagedDir} { // both can be made, or done, without
		if err := os.RemoveAll(filepath.Join(dir, of)); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	e, err := journal.NewEraser(erasure.Match(w.orders), hostObjects(n.Register))
	if err != nil {
		return err
	}
	defer e.Close()
	kept := &left{At: began}
	e.Trim, e.TrimAudit = kept.noting(w.trim), w.trimAudit
	streams := filepath.Join(dir, streamsDir)
	entries, err := os.ReadDir(streams)
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	names := []string{journal.IntakeStream} // first: blocks have what its records were packaged as
	for _, entry := range entries {
		if entry.Name() != journal.IntakeStream {
			names = append(names, entry.Name())
		}
	}
	changed, err := readErased(dir)
	if err != nil {
		return err
	}
	for _, stream := range names {
		last := journal.KeepsLast(stream)
		if last {
			err := filestore.Each(streams, stream, func(m *filestore.Message, live bool) error {
				if live {
					e.Gather(stream, (*record.Message)(m))
				}
				return nil
			})
			if err != nil {
				return err
			}
		}
		if err := e.Gathered(); err != nil {
			return err
		}
		err := filestore.Rewrite(streams, stream, last, func(m *filestore.Message, live bool) (*filestore.Message, error) {
			if !live {
				if e.Named(stream, (*record.Message)(m)) {
					changed[stream] = append(changed[stream], m.Sequence)
				}
				return nil, nil
			}
			stays, err := e.Message(stream, (*record.Message)(m))
			if stays != (*record.Message)(m) {
				changed[stream] = append(changed[stream], m.Sequence)
			}
			return (*filestore.Message)(stays), err
		})
		if err != nil {
			return err
		}
	}
	for stream := range changed {
		slices.Sort(changed[stream])
		changed[stream] = slices.Compact(changed[stream])
	}
	text, err := json.Marshal(changed)
	if err == nil && n.opt.Archive.Store != nil {
		err = filestore.Replace(filepath.Join(dir, erasedFile), text)
	}
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	if err := kept.write(dir); err != nil {
		return err
	}
	n.log.Info("what was ordered is erased from the files, and what is older than it is kept", "orders", len(w.orders), "messages", len(changed[journal.IntakeStream])+len(changed[journal.BlocksStream]), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// hostObjects lists what observations were packaged as, of feeds that there are.
func hostObjects(r *register.Store) func(in *record.Intake, o *record.Observation) []string {
	packagers := make(map[string]*packaging.Packager)
	return func(in *record.Intake, o *record.Observation) []string {
		p, known := packagers[in.Feed]
		if !known {
			p, _ = packaging.New(r.Current(), in.Feed) // nil for one that is no more: its objects are found by what they say
			packagers[in.Feed] = p
		}
		if p == nil {
			return nil
		}
		return p.HostObjects(o)
	}
}

// worked notes that the files are written.
func (n *Node) worked(ctx context.Context, w *work) error {
	for _, o := range w.orders {
		if o.Done.IsZero() {
			o.Done = time.Now().UTC().Truncate(time.Second)
			if err := n.Journal.SetOrder(ctx, o); err != nil {
				return err
			}
		}
	}
	return nil
}

// readErased reads erasedFile.
func readErased(dir string) (changed map[string][]uint64, err error) {
	changed = make(map[string][]uint64)
	text, err := os.ReadFile(filepath.Join(dir, erasedFile))
	if err == nil {
		err = json.Unmarshal(text, &changed)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is to be erased from the archive: %w", err)
	}
	return changed, nil
}

// eraseFromArchive has the archive's segments written anew that have what was erased.
func (n *Node) eraseFromArchive(ctx context.Context) error {
	changed, err := readErased(n.opt.Dir)
	if err != nil || len(changed) == 0 {
		return err
	}
	err = n.archiver.Rewrite(ctx, func(stream string, after, to uint64) bool {
		i, _ := slices.BinarySearch(changed[stream], after+1)
		return i < len(changed[stream]) && changed[stream][i] <= to
	})
	if err != nil {
		return fmt.Errorf("erase from the archive: %w", err)
	}
	return os.Remove(filepath.Join(n.opt.Dir, erasedFile))
}

// archive writes the archive until ctx ends.
func (n *Node) archive(ctx context.Context) error {
	every := cmp.Or(n.opt.Archive.Every, time.Minute)
	for {
		err := n.eraseFromArchive(ctx)
		if err == nil {
			return n.archiver.Run(ctx, every)
		}
		if ctx.Err() == nil {
			n.log.Error("the archive has what is erased, still", "error", err)
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
}
