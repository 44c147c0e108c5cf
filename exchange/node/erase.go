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
)

// What is erased leaves in two steps. First readers have it no more: rows are recalled, members' objects deleted, and who had them
// is told, as with every recall. Then, before the broker opens the streams at the next start, their files are written anew without
// it, the view is made anew, and the archive's segments are, once the exchange runs. The order comes first: what is cut short of
// either step is finished at the next start, and what a restore brings back is erased again.

// erasedFile lists the messages that are others now and that the archive has as they were.
const erasedFile = "erased.json"

// Erase carries out the first step of an order.
func (n *Node) Erase(ctx context.Context, o *erasure.Order) (*api.Erased, error) {
	if len(n.opt.NATSURLs) > 0 {
		return nil, errors.New("erase: the streams' files are not here, but with the NATS servers")
	}
	if erasure.Match([]*erasure.Order{o}).Text([]byte(o.Reason)) {
		return nil, errors.New("the reason names what is to be erased, and would be kept")
	}
	ctx = context.WithoutCancel(ctx) // who asked may go
	if err := n.Journal.SetOrder(ctx, o); err != nil {
		return nil, err
	}
	return n.take(ctx, o)
}

// take takes what an order erases from its readers.
func (n *Node) take(ctx context.Context, o *erasure.Order) (*api.Erased, error) {
	out := &api.Erased{Order: o.ID, Pending: true}
	match := erasure.Match([]*erasure.Order{o})
	feeds, err := n.Journal.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	var until time.Time
	for _, feed := range feeds {
		seen := make(map[exchange.EventID]bool)
		for more := true; more; { // publishers go on meanwhile
			all := &admission.Chunk{Feed: feed, Recall: "erased by order " + o.ID}
			until = n.clock.Now().UTC()
			err := n.Journal.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
				for i := range in.Events {
					if e := &in.Events[i]; match.Event(&e.Event) && !seen[e.ID()] {
						seen[e.ID()] = true
						all.Events = append(all.Events, e.Event)
					}
				}
				return nil
			})
			var taken int64
			if more = len(all.Events) > 0; err == nil && more {
				taken, err = n.admitAgain(ctx, all)
			}
			if err != nil {
				return nil, err
			}
			out.Events += taken
		}
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
	// What recalls have written names it too. What was published since it was looked at last can come again, and stays.
	o.Until = cmp.Or(until, n.clock.Now().UTC())
	return out, n.Journal.SetOrder(ctx, o)
}

// finishErasing takes from readers what a crash has left them of an order.
func (n *Node) finishErasing(ctx context.Context) error {
	if len(n.opt.NATSURLs) > 0 {
		return nil
	}
	orders, err := n.Journal.Orders(ctx)
	for _, o := range orders {
		if err == nil && len(o.Key) > 0 && o.Until.IsZero() {
			_, err = n.take(ctx, o)
		}
	}
	return err
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
	orders []*erasure.Order // to be carried out
	// trim and trimAudit tell what is older than it is kept.
	trim      func(collection, feed string, at time.Time) bool
	trimAudit func(at time.Time) bool
	auditEnd  uint64
	hosts     erasure.Hosts
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
	w := &work{trim: func(string, string, time.Time) bool { return false }, trimAudit: func(time.Time) bool { return false }}
	for _, o := range all {
		if len(o.Key) > 0 && !o.Done.IsZero() && now.Sub(o.At) > window && !doubt {
			o.Key, due = nil, true
			if err := n.Journal.SetOrder(ctx, o); err != nil {
				return nil, err
			}
		}
		if len(o.Key) > 0 && o.Done.IsZero() && !o.Until.IsZero() {
			w.orders, due = append(w.orders, o), true
		}
	}
	if !doubt {
		old, err := n.overdue(ctx, now)
		if err != nil {
			return nil, err
		}
		due = due || old
		w.trim = trimmer(n.Register.Current(), now, true)
		if keep := n.opt.KeepAudit; keep > 0 {
			w.trimAudit = func(at time.Time) bool { return now.Sub(at) > keep }
		}
	}
	if !due {
		return nil, nil
	}
	_, audit := n.Journal.Heads()
	w.auditEnd = audit.Sequence
	if len(w.orders) > 0 {
		w.hosts, err = n.hostsOf(ctx, w.orders)
	}
	return w, err
}

// restoreWindow is for how long an order is carried out again after a restore.
const restoreWindow = 400 * 24 * time.Hour

// hostsOf are the ids of what was made of the hosts that orders erase.
func (n *Node) hostsOf(ctx context.Context, orders []*erasure.Order) (erasure.Hosts, error) {
	match, hosts := erasure.Match(orders), make(erasure.Hosts)
	feeds, err := n.Journal.Feeds(ctx)
	if err != nil {
		return nil, err
	}
	for _, feed := range feeds {
		made := make(map[uint64]*packaging.Packager) // by the register's version
		err := n.Journal.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
			match.Of(in.At)
			for i := range in.Observations {
				o := &in.Observations[i]
				if !match.Observation(o) {
					continue
				}
				p := made[in.Register]
				if p == nil {
					r, err := n.Register.At(ctx, in.Register)
					if err == nil {
						p, err = packaging.New(r, feed)
					}
					if err != nil {
						return err
					}
					made[in.Register] = p
				}
				for _, id := range p.HostObjects(o) {
					hosts[id] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return hosts, nil
}

// rewrite writes the streams' files anew without what is erased or too old. Nobody has them open.
func (n *Node) rewrite(w *work) error {
	began := time.Now()
	dir := n.opt.Dir
	changed, err := readErased(dir)
	if err != nil {
		return err
	}
	archived := n.opt.Archive.Store != nil
	if _, err := os.Stat(filepath.Join(dir, "archive.json")); err == nil { // it has an archive, though it may be opened without
		archived = true
	}
	if archived { // where this is cut short, any message may be another
		if err := changed.write(dir, true); err != nil {
			return err
		}
	}
	for _, of := range []string{"view", damagedDir} { // both can be made, or done, without
		if err := os.RemoveAll(filepath.Join(dir, of)); err != nil {
			return fmt.Errorf("erase: %w", err)
		}
	}
	e, err := journal.NewEraser(erasure.Match(w.orders), w.hosts)
	if err != nil {
		return err
	}
	defer e.Close()
	kept := &left{At: n.clock.Now()}
	e.Trim, e.TrimAudit, e.AuditEnd = kept.noting(w.trim), w.trimAudit, w.auditEnd
	streams := filepath.Join(dir, streamsDir)
	entries, err := os.ReadDir(streams)
	if err != nil {
		return fmt.Errorf("erase: %w", err)
	}
	// Intake goes last: what its records were made into is found by them.
	var names []string
	for _, entry := range entries {
		if entry.Name() != journal.IntakeStream {
			names = append(names, entry.Name())
		}
	}
	for _, stream := range append(names, journal.IntakeStream) {
		if err := n.rewriteStream(e, streams, stream, changed); err != nil {
			return err
		}
	}
	if archived {
		if err := changed.write(dir, changed.All); err != nil {
			return err
		}
	}
	if err := kept.write(dir); err != nil {
		return err
	}
	n.log.Info("what was ordered is erased from the files, and what is older than it is kept", "orders", len(w.orders),
		"messages", len(changed.Of[journal.IntakeStream])+len(changed.Of[journal.BlocksStream]), "took", time.Since(began).Round(time.Millisecond))
	return nil
}

func (n *Node) rewriteStream(e *journal.Eraser, streams, stream string, changed *changes) error {
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
		if bad := e.Gathered(); len(bad) > 0 {
			n.log.Error("what cannot be read is left as it is", "texts", bad)
		}
	}
	before := uint64(0)
	return filestore.Rewrite(streams, stream, last, func(m *filestore.Message, live bool) (*filestore.Message, error) {
		// A block that was replaced is gone from here, and the archive may have it, in another segment than what has changed.
		for gone := before + 1; stream == journal.BlocksStream && gone < m.Sequence; gone++ {
			changed.add(stream, gone)
		}
		before = m.Sequence
		if !live {
			if e.Named(stream, (*record.Message)(m)) {
				changed.add(stream, m.Sequence)
			}
			return nil, nil
		}
		stays, err := e.Message(stream, (*record.Message)(m))
		if stays != (*record.Message)(m) {
			changed.add(stream, m.Sequence)
		}
		return (*filestore.Message)(stays), err
	})
}

// changes are the messages of each stream that are others now; All says that any may be.
type changes struct {
	All bool                `json:"all,omitempty"`
	Of  map[string][]uint64 `json:"of"`
}

func (c *changes) add(stream string, sequence uint64) {
	c.Of[stream] = append(c.Of[stream], sequence)
}

func (c *changes) write(dir string, all bool) error {
	for stream := range c.Of {
		slices.Sort(c.Of[stream])
		c.Of[stream] = slices.Compact(c.Of[stream])
	}
	text, err := json.Marshal(changes{all, c.Of})
	if err == nil {
		err = filestore.Replace(filepath.Join(dir, erasedFile), text)
	}
	if err != nil {
		return fmt.Errorf("note what is to be erased from the archive: %w", err)
	}
	return nil
}

// between tells whether any message behind a sequence and up to another is another now.
func (c *changes) between(stream string, after, to uint64) bool {
	i, _ := slices.BinarySearch(c.Of[stream], after+1)
	return c.All || i < len(c.Of[stream]) && c.Of[stream][i] <= to
}

// worked notes that the files are written.
func (n *Node) worked(ctx context.Context, w *work) error {
	for _, o := range w.orders {
		o.Done = n.clock.Now().UTC().Truncate(time.Second)
		if err := n.Journal.SetOrder(ctx, o); err != nil {
			return err
		}
	}
	return nil
}

// readErased reads erasedFile.
func readErased(dir string) (*changes, error) {
	c := &changes{Of: make(map[string][]uint64)}
	text, err := os.ReadFile(filepath.Join(dir, erasedFile))
	if err == nil {
		err = json.Unmarshal(text, c)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is to be erased from the archive: %w", err)
	}
	return c, nil
}

// eraseFromArchive has the archive's segments written anew that have what was erased.
func (n *Node) eraseFromArchive(ctx context.Context) error {
	c, err := readErased(n.opt.Dir)
	if err != nil || !c.All && len(c.Of) == 0 {
		return err
	}
	if err := n.archiver.Rewrite(ctx, c.between); err != nil {
		return fmt.Errorf("the archive has what is erased, still: %w", err)
	}
	return os.Remove(filepath.Join(n.opt.Dir, erasedFile))
}
