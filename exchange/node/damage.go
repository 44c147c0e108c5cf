package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// What is known of damage to the journal stays in the data directory until the operator has repaired it: a later start
// might see nothing of it any more.

const (
	// damageFile lists it, and damagedDir has the files as they were found.
	damageFile = "damage.json"
	damagedDir = "damaged"
	// runningFile is there while an exchange has the directory open, and after a crash; stoppedFile has the ends of the
	// streams as they were when the exchange was last stopped in order.
	runningFile = "running"
	stoppedFile = "stopped.json"
	// streamsDir is where the embedded broker keeps streams.
	streamsDir = "journal/jetstream/TOCSIN/streams"
)

// found is damage, and when it was first seen. Accepted says that the operator goes on without what is lost.
type found struct {
	journal.Damage
	At       time.Time `json:"at"`
	Accepted bool      `json:"accepted,omitempty"`
}

// mend looks for what cannot be read in the files of streams, before the broker does, and mends it: the broker would cut off
// what stands behind. What is lost of streams whose messages are counted, the journal finds (journal.Damage); the rest is
// noted. Where the last stop was in order, the files end as they did then, and nothing is known of damage, the broker reads no
// others, and scrub finds what is to be found, unless all are to be read.
func mend(dir string, all bool) (list []journal.Damage, err error) {
	streams := filepath.Join(dir, streamsDir)
	_, err = os.Stat(filepath.Join(dir, runningFile))
	stopped := errors.Is(err, fs.ErrNotExist)
	open, err := note(dir, nil)
	if err != nil {
		return nil, err
	}
	if stopped {
		ends, indexed, err := filestore.Ends(streams)
		if err != nil {
			return nil, err
		}
		known := stoppedAt(dir)
		maps.DeleteFunc(known, func(stream string, _ record.Head) bool { return slices.Contains(journal.Aging, stream) }) // it may be long ago
		list = shortened(known, ends, "it had %d when the exchange was stopped")
		if !all && indexed && len(list)+len(open) == 0 && !slices.ContainsFunc(ends, func(s filestore.Stream) bool { return len(s.Gaps) > 0 }) {
			return nil, nil
		}
	}
	found, err := filestore.Scan(streams, nil)
	if err != nil {
		return nil, err
	}
	for _, s := range found {
		list = append(list, unreadable(&s, stopped)...)
	}
	if _, err := note(dir, list); err != nil { // once it is mended, nobody sees it any more
		return nil, err
	}
	for _, s := range found {
		for _, g := range slices.Backward(s.Gaps) { // where one is mended, those before it stay where they are
			if g.Torn && !stopped { // as a crash leaves it: what was acknowledged others know of
				continue
			}
			if err := keep(dir, &g); err != nil {
				return nil, err
			}
			if g.Torn {
				continue
			}
			if err := filestore.Mend(g); err != nil {
				return nil, err
			}
		}
	}
	return list, filestore.DropIndexes(streams)
}

// shortened lists the streams whose files end before what is known of them.
func shortened(known map[string]record.Head, files []filestore.Stream, by string) (list []journal.Damage) {
	for stream, h := range known {
		for _, s := range files {
			if s.Name == stream && s.Last < h.Sequence {
				list = append(list, journal.Damage{Stream: stream, What: fmt.Sprintf("ends at message %d, and "+by, s.Last, h.Sequence), To: h.Sequence, End: true})
			}
		}
	}
	return list
}

// counted are the streams of which it is known how many messages they have.
var counted = []string{journal.IntakeStream, journal.BlocksStream, journal.AuditStream}

// unreadable lists what cannot be read of a stream that is not counted. torn says that its very end counts too.
func unreadable(s *filestore.Stream, torn bool) (list []journal.Damage) {
	for i := range s.Gaps {
		g := &s.Gaps[i]
		if slices.Contains(counted, s.Name) || g.Torn && !torn || g.Before > 0 && g.Before <= g.After+1 { // of deleted messages
			continue
		}
		list = append(list, journal.Damage{Stream: s.Name, What: "cannot be read in " + g.Place(), End: g.Before == 0})
	}
	return list
}

// scrubEvery is how often the files of streams are read while the exchange runs, and scrubPause the pause after each.
const (
	scrubEvery = 6 * time.Hour
	scrubPause = 50 * time.Millisecond
)

// scrub reads the files of streams again and again: what lies on a disk goes bad, and nobody else looks at what nobody asks for.
func (n *Node) scrub(ctx context.Context) error {
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	look := func() (list []journal.Damage, err error) {
		known, err := n.Journal.StreamEnds(ctx)
		if err != nil {
			return nil, err
		}
		streams, err := filestore.Scan(filepath.Join(n.opt.Dir, streamsDir), func() error { return pause(scrubPause) })
		if err != nil {
			return nil, err
		}
		gone, err := n.Journal.Gone(ctx) // afterwards: what goes meanwhile is not missed
		for i := range streams {
			s := &streams[i]
			list = append(list, unreadable(s, false)...)
			if lost, ok := gone[s.Name]; ok && s.Live+lost < s.Last {
				list = append(list, journal.Damage{Stream: s.Name, What: fmt.Sprintf("lacks %d messages in its files", s.Last-lost-s.Live), To: s.Last})
			}
		}
		return append(list, shortened(known, streams, "%d were written")...), err
	}
	for ctx.Err() == nil {
		list, err := look()
		if err == nil && len(list) > 0 { // or it was being written
			var again []journal.Damage
			again, err = look()
			list = slices.DeleteFunc(list, func(d journal.Damage) bool { return !slices.Contains(again, d) })
		}
		if err != nil && ctx.Err() == nil {
			n.log.Warn("the journal's files cannot be looked at", "error", err)
		}
		if err == nil && len(list) > 0 { // the next start mends it, before the broker reads it
			if err := n.damaged(list, nil); err != nil && !errors.Is(err, journal.ErrDamaged) { // what is in memory is right
				return err
			}
		}
		_ = pause(cmp.Or(n.opt.Scrub, scrubEvery)) // its error is that of ctx
	}
	return nil
}

// dropConsumers takes durable consumers away whose description is damaged. They are made anew, and give all from their start
// once more.
func dropConsumers(dir string, log *slog.Logger) error {
	broken, err := filestore.BrokenConsumers(filepath.Join(dir, streamsDir))
	if err != nil || len(broken) == 0 {
		return err
	}
	if err := os.MkdirAll(filepath.Join(dir, damagedDir), 0o700); err != nil {
		return err
	}
	for _, path := range broken {
		log.Warn("a subscriber's place is damaged: it gets all once more", "consumer", filepath.Base(path))
		if err := os.Rename(path, filepath.Join(dir, damagedDir, filepath.Base(path)+"-"+strconv.FormatInt(time.Now().UnixNano(), 10))); err != nil {
			return fmt.Errorf("take a damaged consumer away: %w", err)
		}
	}
	return nil
}

// keep keeps a damaged file as it was found.
func keep(dir string, g *filestore.Gap) error {
	text, err := os.ReadFile(g.File)
	if err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	to := filepath.Join(dir, damagedDir, g.Stream)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(to, filepath.Base(g.File)+"-"+strconv.FormatInt(time.Now().Unix(), 10)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) { // another gap of the same file
		return nil
	}
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		return fmt.Errorf("keep a damaged file: %w", err)
	}
	return nil
}

// note adds damage to what is known of it, and returns all that is known and was not accepted.
func note(dir string, list []journal.Damage) (open []found, err error) {
	all, err := noted(dir)
	if err != nil {
		return nil, err
	}
	before := len(all)
	for _, d := range list {
		if !slices.ContainsFunc(all, func(f found) bool {
			return f.Damage == d || f.Accepted && f.Stream == d.Stream && d.End && f.End && d.To <= f.To
		}) {
			all = append(all, found{Damage: d, At: time.Now().UTC().Truncate(time.Second)})
		}
	}
	if len(all) > before {
		if err := writeNoted(dir, all); err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(all, func(f found) bool { return f.Accepted }), nil
}

func noted(dir string) (all []found, err error) {
	text, err := os.ReadFile(filepath.Join(dir, damageFile))
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what is known of damage: %w", err)
	}
	return all, nil
}

func writeNoted(dir string, all []found) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err == nil {
		err = writeFile(filepath.Join(dir, damageFile), append(text, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("note damage: %w", err)
	}
	return nil
}

// noteStop notes the ends of the streams.
func (n *Node) noteStop(ctx context.Context) error {
	ends, err := n.Journal.StreamEnds(ctx)
	if err != nil {
		return err
	}
	text, err := json.Marshal(ends)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(n.opt.Dir, stoppedFile), text, 0o600)
}

// known is what is known of the journal of a data directory, whose view has applied intake and blocks.
func known(dir string, r *register.Store, intake, blocks uint64) journal.Known {
	return journal.Known{Intake: intake, Blocks: blocks, Register: version(r), Stopped: stoppedAt(dir)}
}

// stoppedAt are the ends of the streams when the exchange was last stopped in order.
func stoppedAt(dir string) (ends map[string]record.Head) {
	if text, err := os.ReadFile(filepath.Join(dir, stoppedFile)); err == nil {
		_ = json.Unmarshal(text, &ends) // a file that says nothing is as good as none
	}
	return ends
}

// version is the version of the register in force, and its hash.
func version(s *register.Store) record.Head {
	r := s.Current()
	return record.Head{Sequence: r.Version, Hash: r.Hash}
}

// spared are the streams that an exchange does without, of the register's older versions: it says that they are damaged, and
// goes on.
var spared = []string{journal.AuditStream, journal.StatusStream, journal.ReceiptsStream, journal.RegisterStream}

// damaged takes note of all damage, and returns what keeps the exchange from starting: what is lost of the register's end, as a
// credential could be valid again that was revoked, and what the view does not have either. What is lost of what others build
// on keeps it from taking anything in; the rest is told.
func (n *Node) damaged(files, seen []journal.Damage) error {
	all, err := note(n.opt.Dir, slices.Concat(files, seen))
	if err != nil {
		return err
	}
	n.damage.Store(&all)
	for _, f := range all {
		n.log.Error("the journal is damaged", "stream", f.Stream, "what", f.What, "since", f.At)
	}
	if err := n.takesNothing(); err != nil {
		n.log.Error("nothing is taken in, what there is can be read", "reason", err)
	}
	applied := map[string]uint64{journal.IntakeStream: n.View.Applied(), journal.BlocksStream: n.View.AppliedBlocks()}
	for _, f := range all {
		have, ok := applied[f.Stream]
		if f.Stream == journal.RegisterStream && f.End || ok && have < f.To && slices.Contains(seen, f.Damage) {
			return journal.AsError([]journal.Damage{f.Damage})
		}
	}
	return nil
}

// takesNothing is an exchange.ErrDamaged where so much is lost that nothing may be taken in. It says no more: what is lost
// names collections and feeds, and strangers are told of this too. The log has the rest.
func (n *Node) takesNothing() error {
	if all := n.damage.Load(); all != nil {
		for _, f := range *all {
			if !slices.Contains(spared, f.Stream) || f.Stream == journal.RegisterStream && f.End {
				return exchange.ErrDamaged
			}
		}
	}
	return nil
}

// damageOf is what is known of damage to a stream.
func (n *Node) damageOf(stream string) error {
	var list []journal.Damage
	if all := n.damage.Load(); all != nil {
		for _, f := range *all {
			if f.Stream == stream {
				list = append(list, f.Damage)
			}
		}
	}
	return journal.AsError(list)
}

// beside adds what is known of damage to an error that may come of it.
func beside(err error, files []journal.Damage) error {
	if why := journal.AsError(files); why != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return err
}

// startBroker starts the broker on a data directory whose files were looked at, all of them or those that it looks at.
func startBroker(dir string, all bool, o broker.Options) (*broker.Broker, []journal.Damage, error) {
	files, err := mend(dir, all)
	if err == nil {
		log := o.Log
		if log == nil {
			log = slog.New(slog.DiscardHandler)
		}
		err = dropConsumers(dir, log)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := markRunning(dir); err != nil {
		return nil, nil, fmt.Errorf("open the journal: %w", err)
	}
	o.Dir = filepath.Join(dir, "journal")
	b, err := broker.Start(o)
	return b, files, err
}

// markRunning notes, durably, that the directory is open.
func markRunning(dir string) error {
	f, err := os.Create(filepath.Join(dir, runningFile))
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// stopBroker stops it.
func stopBroker(dir string, b *broker.Broker) error {
	err := b.Close()
	if err == nil {
		err = os.Remove(filepath.Join(dir, runningFile))
	}
	if errors.Is(err, fs.ErrNotExist) { // the broker is elsewhere
		return nil
	}
	return err
}
