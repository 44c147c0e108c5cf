package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/broker/filestore"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// Restoring makes the data directory of an exchange from its archive.
type Restoring struct {
	// Dir is the directory, which is not there yet, or empty.
	Dir     string
	Archive *archive.Archive
	// To is the moment that collections are taken back to; zero for all that the archive has.
	To time.Time
	// Place is where the archive goes on, "" where it does not.
	Place string
}

// Restored says what was restored.
type Restored struct {
	// To is the checkpoint that collections have been taken back to, Last the archive's last.
	To         time.Time `json:"to"`
	Last       time.Time `json:"last"`
	Segments   int       `json:"segments"`
	Generation int       `json:"generation"`
	// Messages are those of each stream.
	Messages    map[string]int `json:"messages"`
	Collections []record.Chain `json:"collections"`
	// Removals, Recalls and Raises count what was taken out or raised after To, and is again.
	Removals int `json:"removals_again"`
	Recalls  int `json:"recalls_again"`
	Raises   int `json:"raises_again"`
}

// restoringFile is in a data directory until all of it has been restored.
const restoringFile = "restoring"

// ErrRestoring means that a data directory was not restored to the end.
var ErrRestoring = errors.New("its restore was cut short: delete the directory and restore it again")

// whole tells whether a data directory was restored to the end, where it was restored.
func whole(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, restoringFile)); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: %w", dir, cmp.Or(err, ErrRestoring))
	}
	return nil
}

// Run restores. Registers, credentials, audit, and what was decided since are as they were last: a moment is one of what
// collections had. What has left them since leaves them again.
func (r *Restoring) Run(ctx context.Context) (out *Restored, err error) {
	at := r.Archive.Last()
	if !r.To.IsZero() {
		if at = r.Archive.At(r.To); at == nil {
			return nil, fmt.Errorf("restore: the archive begins after %s", r.To.UTC().Format(time.RFC3339))
		}
	}
	out = &Restored{To: at.At, Last: r.Archive.Last().At, Segments: r.Archive.Segments(), Messages: make(map[string]int)}
	lock, err := r.begin()
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, lock()) }()
	cut := maps.Clone(r.Archive.Last().Ends)
	for _, stream := range takenBack {
		cut[stream] = at.Ends[stream]
	}
	if err := r.files(ctx, at, cut, out.Messages); err != nil {
		return nil, err
	}
	if err := r.settle(ctx, at, cut, out); err != nil {
		return nil, err
	}
	if r.Place != "" {
		if err := r.Archive.Continue(r.Dir, r.Place, cut, filestore.Replace); err != nil {
			return nil, err
		}
	}
	return out, os.Remove(filepath.Join(r.Dir, restoringFile))
}

// takenBack are the streams that a restore takes back to its moment.
var takenBack = []string{journal.IntakeStream, journal.BlocksStream}

// begin makes the directory, and says that it is not whole yet.
func (r *Restoring) begin() (end func() error, err error) {
	entries, err := os.ReadDir(r.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty: name a directory that is not there yet", r.Dir)
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return nil, err
	}
	if err := filestore.Replace(filepath.Join(r.Dir, restoringFile), nil); err != nil {
		return nil, err
	}
	lock, err := takeLock(r.Dir)
	if err != nil {
		return nil, err
	}
	return lock.Unlock, nil
}

// files writes the streams' files.
func (r *Restoring) files(ctx context.Context, at *record.Checkpoint, cut map[string]uint64, messages map[string]int) error {
	b, _, err := startBroker(r.Dir, true, broker.Options{})
	if err != nil {
		return err
	}
	if err := errors.Join(journal.CreateStreams(ctx, b.Conn(), r.Archive.Streams()), stopBroker(r.Dir, b)); err != nil {
		return err
	}
	var stays *overlay
	if at != r.Archive.Last() {
		if stays, err = overlayOf(ctx, r.Archive, at); err != nil {
			return err
		}
	}
	writers := make(map[string]*filestore.Writer)
	for stream := range cut {
		if writers[stream], err = filestore.NewWriter(filepath.Join(r.Dir, streamsDir), stream); err != nil {
			return err
		}
	}
	write := func(stream string, m *record.Message) error {
		if m.Sequence > cut[stream] {
			return nil
		}
		w := writers[stream]
		if w == nil {
			return fmt.Errorf("%w: it has messages of the unknown stream %.80q", archive.ErrDamaged, stream)
		}
		if stream == journal.StateStream && journal.PositionOf(m.Subject) {
			return nil
		}
		messages[stream]++
		return w.Add((*filestore.Message)(m))
	}
	err = r.Archive.Each(ctx, at, func(stream string, m *record.Message, current bool, _ uint64) error {
		if !slices.Contains(takenBack, stream) {
			return write(stream, m)
		}
		if !current {
			return nil
		}
		if stream == journal.BlocksStream {
			for _, before := range stays.before(m.Sequence) {
				if err := write(stream, before); err != nil {
					return err
				}
			}
			m = stays.instead(m)
		}
		return write(stream, m)
	})
	for _, m := range stays.before(cut[journal.BlocksStream] + 1) {
		err = errors.Join(err, write(journal.BlocksStream, m))
	}
	for stream, w := range writers {
		err = errors.Join(err, w.End(cut[stream]))
	}
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return filestore.DropIndexes(filepath.Join(r.Dir, streamsDir))
}

// settle opens what was restored, holds it to what it says of itself, and has the exchange begin a new generation.
func (r *Restoring) settle(ctx context.Context, at *record.Checkpoint, cut map[string]uint64, out *Restored) error {
	return withRegister(ctx, r.Dir, func(reg *register.Store, b *broker.Broker, files []journal.Damage) error {
		if len(files) > 0 {
			return journal.AsError(files)
		}
		if id := exchangeID(reg); id != r.Archive.Exchange() {
			return fmt.Errorf("%w: it says that it is of the exchange %s, and the register in it is of %s", archive.ErrDamaged, r.Archive.Exchange(), id)
		}
		j, err := journal.Open(ctx, b.Conn(), journal.KeepAsItIs, sealOf(reg))
		if err != nil {
			return err
		}
		defer j.Close()
		j.SetRegister(func() record.Head { return version(reg) })
		ends, err := j.StreamEnds(ctx)
		if err != nil {
			return err
		}
		for stream, end := range cut {
			if end > 0 && ends[stream].Sequence < end && !slices.Contains(journal.Aging, stream) {
				return fmt.Errorf("%w: stream %s ends at message %d, and had %d", archive.ErrDamaged, stream, ends[stream].Sequence, end)
			}
		}
		if out.Collections, err = j.Verify(ctx); err != nil {
			return err
		}
		for _, c := range out.Collections {
			if c.Problem != "" {
				return fmt.Errorf("%w: collection %s: %s", archive.ErrDamaged, c.Collection, c.Problem)
			}
		}
		since, err := sinceOf(ctx, r.Archive, at, j, sealOf(reg))
		if err != nil {
			return err
		}
		if err := orderedAgain(ctx, j); err != nil {
			return err
		}
		restart, err := j.Rewind(ctx, at, out.Collections, since.last)
		if err != nil {
			return err
		}
		if err := since.again(ctx, j); err != nil {
			return err
		}
		if err := j.Whole(ctx, journal.Known{Register: version(reg)}); err != nil {
			return err
		}
		out.Generation, out.Removals, out.Recalls, out.Raises = restart.Generation, len(since.removals), len(since.todo.Recalls), len(since.todo.Raises)
		err = j.AuditNow(exchange.AuditEntry{
			Action: exchange.AuditRestored, Member: exchange.Admin,
			Detail: fmt.Sprintf("generation %d: collections are as of %s, all else as of %s", restart.Generation, out.To.UTC().Format(time.RFC3339), out.Last.UTC().Format(time.RFC3339)),
		})
		if err != nil {
			return err
		}
		text, err := json.Marshal(&since.todo)
		if err != nil {
			return err
		}
		return filestore.Replace(filepath.Join(r.Dir, restoredFile), text)
	})
}

// orderedAgain has what was restored erased as it was ordered, before it is served.
func orderedAgain(ctx context.Context, j *journal.Journal) error {
	orders, err := j.Orders(ctx)
	for _, o := range orders {
		if err == nil && len(o.Key) > 0 {
			o.Done = time.Time{}
			err = j.SetOrder(ctx, o)
		}
	}
	return err
}

// overlay is what has taken the place of blocks after a moment: they come back as what stays of them.
type overlay struct {
	// at are by the sequence that they are put at: that of the block, or of what had its place at the moment.
	at     map[uint64]*record.Message
	blocks []*record.Message // those in a block's own place, ascending
}

// overlayOf looks for it.
func overlayOf(ctx context.Context, a *archive.Archive, at *record.Checkpoint) (*overlay, error) {
	type replacement struct {
		before, after *record.Message
	}
	of := make(map[uint64]*replacement)
	err := a.Each(ctx, at, func(stream string, m *record.Message, current bool, common uint64) error {
		if stream != journal.BlocksStream {
			return nil
		}
		block, replaces, err := journal.ReplacedBy(m)
		if err != nil || !replaces {
			return err
		}
		r := of[block]
		if r == nil {
			r = new(replacement)
			of[block] = r
		}
		switch {
		case current:
			r.before = &record.Message{Sequence: m.Sequence, Subject: m.Subject, Header: m.Header, Time: m.Time}
		case block <= common: // else it is another block of that sequence, of after a restore
			r.after = m
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	o := &overlay{at: make(map[uint64]*record.Message)}
	for block, r := range of {
		if r.after == nil {
			continue
		}
		m, err := journal.InPlaceOf(r.after, block, r.before)
		if err != nil {
			return nil, err
		}
		o.at[m.Sequence] = m
		if r.before == nil {
			o.blocks = append(o.blocks, m)
		}
	}
	slices.SortFunc(o.blocks, func(a, b *record.Message) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return o, nil
}

// before takes those in blocks' own places before a sequence.
func (o *overlay) before(sequence uint64) (list []*record.Message) {
	if o == nil {
		return nil
	}
	i, _ := slices.BinarySearchFunc(o.blocks, sequence, func(m *record.Message, n uint64) int { return cmp.Compare(m.Sequence, n) })
	list, o.blocks = o.blocks[:i], o.blocks[i:]
	return list
}

// instead is what is written for a message.
func (o *overlay) instead(m *record.Message) *record.Message {
	if o == nil || o.at[m.Sequence] == nil {
		return m
	}
	o.before(m.Sequence + 1)
	return o.at[m.Sequence]
}
