package archive

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"filippo.io/age"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Source is the exchange's journal.
type Source interface {
	Checkpoint(ctx context.Context) (record.Checkpoint, error)
	Streams(ctx context.Context) (map[string]json.RawMessage, error)
	// Messages calls each with a stream's messages behind a sequence and up to another, and fails where one is lost.
	Messages(ctx context.Context, stream string, after, to uint64, each func(m *record.Message) error) error
}

// Archiver writes an exchange's archive. Its methods may be called at the same time.
type Archiver struct {
	Source Source
	Store  Store
	// Place is where Store is.
	Place string
	// Exchange tells the exchange from others.
	Exchange   string
	Recipients []age.Recipient
	// Dir is the exchange's data directory, where is kept how far the archive is.
	Dir string
	// Room returns why nothing is to be written to Dir, nil where something may.
	Room func() error
	// Whole returns why the journal is not to be believed, nil where it is: then a segment may take another's place.
	Whole func() error
	// Replace writes a file durably, and whole or not at all.
	Replace func(path string, text []byte) error
	Log     *slog.Logger

	mu    sync.Mutex // held while something is written
	state *state
	done  atomic.Int64 // when all was in the archive last, in nanoseconds since 1970
}

// stateFile says how far the archive is, and partFile is the segment that is being written.
const (
	stateFile = "archive.json"
	partFile  = "archive.part"
)

// state is what is kept of an archive in the data directory.
type state struct {
	Place    string `json:"place"`
	Exchange string `json:"exchange"`
	Spans    []span `json:"spans"`
	// Writing is a segment that is being put there, and maybe was.
	Writing *writing `json:"writing,omitempty"`
}

// span is a segment of the archive.
type span struct {
	Name        string              `json:"name"`
	Before      string              `json:"before,omitempty"`
	Begins      map[string]uint64   `json:"begins"`
	Checkpoints []record.Checkpoint `json:"checkpoints"`
	// TakenBack says that it has what a restore has taken back, too.
	TakenBack bool `json:"taken_back,omitempty"`
}

func (s *span) last() *record.Checkpoint { return &s.Checkpoints[len(s.Checkpoints)-1] }

type writing struct {
	span
	SHA256 string `json:"sha256"`
	// Replaces are segments that are deleted once it is there.
	Replaces []string `json:"replaces,omitempty"`
}

// Run archives until ctx ends: each time what is new, then it erases; and each past day is written once more as one segment.
func (a *Archiver) Run(ctx context.Context, every time.Duration, erase func(ctx context.Context) error) error {
	said := ""
	for {
		err := errors.Join(a.Flush(ctx), erase(ctx))
		if err == nil {
			err = a.Compact(ctx, time.Now())
		}
		switch {
		case ctx.Err() != nil: // what is under way then is finished at the next start
		case err != nil && err.Error() != said:
			said = err.Error()
			a.Log.Error("the archive is behind", "error", err)
		case err == nil && said != "":
			said = ""
			a.Log.Info("the archive is up to date again")
		}
		select {
		case <-time.After(every):
		case <-ctx.Done():
			return nil
		}
	}
}

// Lag is for how long not everything has been in the archive.
func (a *Archiver) Lag() time.Duration {
	if at := a.done.Load(); at > 0 {
		return time.Since(time.Unix(0, at))
	}
	return 0
}

// Flush writes what the streams have gained.
func (a *Archiver) Flush(ctx context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	began := time.Now()
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	c, err := a.Source.Checkpoint(ctx)
	if err != nil {
		return err
	}
	next := span{Begins: map[string]uint64{}}
	if n := len(s.Spans); n > 0 {
		last := s.Spans[n-1].last()
		if !moved(last.Ends, c.Ends) {
			a.done.Store(began.UnixNano())
			return nil
		}
		next.Begins, next.Before, c.Number = last.Ends, last.ID, last.Number
	}
	c.Number++
	c.ID = newID()
	next.Checkpoints = []record.Checkpoint{c}
	next.Name = name{first: c.Number, last: c.Number}.String()
	if err := a.write(ctx, &next, nil); err != nil {
		return err
	}
	a.done.Store(began.UnixNano())
	return nil
}

// moved tells whether any stream has gained something.
func moved(before, now map[string]uint64) bool {
	for stream, end := range now {
		if end > before[stream] {
			return true
		}
	}
	return false
}

func newID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// load reads how far the archive is, and finishes what was cut short.
func (a *Archiver) load(ctx context.Context) (*state, error) {
	if a.state == nil {
		s := &state{Place: a.Place, Exchange: a.Exchange}
		text, err := os.ReadFile(filepath.Join(a.Dir, stateFile))
		if err == nil {
			err = json.Unmarshal(text, s)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("how far the archive is: %w", err)
		}
		if s, err = a.mine(ctx, s); err != nil {
			return nil, err
		}
		a.state = s
		since := time.Now()
		if n := len(s.Spans); n > 0 {
			since = s.Spans[n-1].last().At
		}
		a.done.CompareAndSwap(0, since.UnixNano())
		_ = os.Remove(filepath.Join(a.Dir, partFile)) // of a process that was cut short
	}
	if w := a.state.Writing; w != nil {
		there, err := a.there(ctx, w)
		if err != nil {
			return nil, err
		}
		if there {
			return a.state, a.commit(ctx, w)
		}
		a.state.Writing = nil
	}
	return a.state, nil
}

// mine is the state of the archive in the store: as it was noted, where that is there, also if it was moved; or of a new one, where
// nothing is.
func (a *Archiver) mine(ctx context.Context, s *state) (*state, error) {
	if s.Place == a.Place && s.Exchange == a.Exchange && (len(s.Spans) > 0 || s.Writing != nil) {
		return s, nil
	}
	names, err := segments(ctx, a.Store)
	if err != nil {
		return nil, err
	}
	moved := s.Exchange == a.Exchange && s.Writing == nil && len(s.Spans) == len(names)
	for _, x := range s.Spans {
		moved = moved && slices.ContainsFunc(names, func(n name) bool { return n.String() == x.Name })
	}
	switch {
	case len(names) == 0:
		if len(s.Spans) > 0 {
			a.Log.Warn("the archive is a new one: it begins with everything", "place", a.Place)
		}
		return &state{Place: a.Place, Exchange: a.Exchange}, nil
	case moved:
		s.Place = a.Place
		return s, nil
	}
	return nil, fmt.Errorf("%w: %s has segments of another archive, or not all of this exchange's: name an empty place, or restore the exchange from there", ErrExists, a.Place)
}

// there tells whether the segment that was being put into the archive is there.
func (a *Archiver) there(ctx context.Context, w *writing) (bool, error) {
	from, err := a.Store.Get(ctx, w.Name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = from.Close() }()
	sum := sha256.New()
	if _, err := io.Copy(sum, from); err != nil {
		return false, fmt.Errorf("read the archive: %w", err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != w.SHA256 {
		return false, fmt.Errorf("%w: %s has a segment %s that this exchange has not written: another one writes there, or this one was put back from a copy: give it an archive of its own, or restore it from this one", ErrExists, a.Place, w.Name)
	}
	return true, nil
}

// write writes a segment from the journal, in place of others where it replaces some.
func (a *Archiver) write(ctx context.Context, s *span, replaces []string) error {
	if err := a.Room(); err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	path := filepath.Join(a.Dir, partFile)
	sum, err := a.spool(ctx, path, s)
	defer func() { _ = os.Remove(path) }()
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	w := &writing{span: *s, SHA256: sum, Replaces: replaces}
	a.state.Writing = w
	if err := a.save(); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("archive: %w", err)
	}
	err = a.Store.Put(ctx, s.Name, f, info.Size())
	if errors.Is(err, ErrExists) {
		_, err = a.there(ctx, w)
	}
	if err != nil { // whether it is there is looked at next time
		return err
	}
	return a.commit(ctx, w)
}

// commit notes that a segment is in the archive, and deletes what it has taken the place of.
func (a *Archiver) commit(ctx context.Context, w *writing) error {
	s := a.state
	if len(w.Replaces) == 0 {
		s.Spans = append(s.Spans, w.span)
	} else {
		at := slices.IndexFunc(s.Spans, func(x span) bool { return slices.Contains(w.Replaces, x.Name) })
		if at >= 0 { // else it was noted, and not all was deleted
			s.Spans = slices.DeleteFunc(s.Spans, func(x span) bool { return slices.Contains(w.Replaces, x.Name) })
			s.Spans = slices.Insert(s.Spans, at, w.span)
		}
		if err := a.save(); err != nil {
			return err
		}
		for _, old := range w.Replaces {
			if err := a.Store.Delete(ctx, old); err != nil {
				return err
			}
		}
	}
	s.Writing = nil
	return a.save()
}

func (a *Archiver) save() error {
	text, err := json.Marshal(a.state)
	if err == nil {
		err = a.Replace(filepath.Join(a.Dir, stateFile), text)
	}
	if err != nil {
		return fmt.Errorf("note how far the archive is: %w", err)
	}
	return nil
}

// spool writes a segment to a file, and returns its SHA-256.
func (a *Archiver) spool(ctx context.Context, path string, s *span) (sum string, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	err = write(ctx, io.MultiWriter(f, h), a.Source, a.Recipients, &Header{Exchange: a.Exchange, Before: s.Before, Begins: s.Begins, Checkpoints: s.Checkpoints})
	return hex.EncodeToString(h.Sum(nil)), errors.Join(err, f.Close())
}

// write writes a segment of what a journal has between its header's begins and last checkpoint.
func write(ctx context.Context, to io.Writer, from Source, recipients []age.Recipient, h *Header) (err error) {
	h.Format, h.Written = format, time.Now().UTC()
	if h.Streams, err = from.Streams(ctx); err != nil {
		return err
	}
	out := bufio.NewWriterSize(to, 256<<10)
	w, err := newWriter(out, recipients, h)
	if err != nil {
		return err
	}
	for _, stream := range slices.Sorted(maps.Keys(h.Last().Ends)) {
		err := from.Messages(ctx, stream, h.Begins[stream], h.Last().Ends[stream], func(m *record.Message) error { return w.add(stream, m) })
		if err != nil {
			_ = w.z.Close()
			return err
		}
	}
	return errors.Join(w.close(), out.Flush())
}

// Backup writes all that a journal has as the one segment of an archive.
func Backup(ctx context.Context, to io.Writer, from Source, exchange string) error {
	c, err := from.Checkpoint(ctx)
	if err != nil {
		return err
	}
	c.Number, c.ID = 1, newID()
	return write(ctx, to, from, nil, &Header{Exchange: exchange, Begins: map[string]uint64{}, Checkpoints: []record.Checkpoint{c}})
}

// Keep puts what Backup has written into a store, once it is there whole. spool is a directory for it until then.
func Keep(ctx context.Context, store Store, from io.Reader, recipients []age.Recipient, spool string) (err error) {
	f, err := os.CreateTemp(spool, unfinished)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	defer func() { _ = f.Close(); _ = os.Remove(f.Name()) }()
	var to io.WriteCloser = f
	if len(recipients) > 0 {
		if to, err = age.Encrypt(f, recipients...); err != nil {
			return fmt.Errorf("back up: %w", err)
		}
	}
	r, err := newReader(io.TeeReader(from, to), nil)
	if err == nil {
		err = r.each(func(string, *record.Message) error { return nil })
		r.z.Close()
	}
	if err == nil && len(recipients) > 0 {
		err = to.Close()
	}
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return store.Put(ctx, name{first: 1, last: 1}.String(), f, size)
}

// Compact puts the segments of each day before today's together, as the journal is now: what was deleted since is not in them
// any more.
func (a *Archiver) Compact(ctx context.Context, now time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	today := now.UTC().Truncate(24 * time.Hour)
	for i := 0; i < len(s.Spans); i++ {
		day := s.Spans[i].last().At.Truncate(24 * time.Hour)
		k := i + 1
		for k < len(s.Spans) && s.Spans[k].last().At.Truncate(24*time.Hour).Equal(day) {
			k++
		}
		if k == i+1 || !day.Before(today) {
			continue
		}
		if err := a.together(ctx, s.Spans[i:k], hourly); err != nil {
			return err
		}
	}
	return nil
}

// hourly are the last checkpoints of each hour: a year has some half a million minutes.
func hourly(list []record.Checkpoint) (some []record.Checkpoint) {
	for i, c := range list {
		if i+1 == len(list) || !list[i+1].At.Truncate(time.Hour).Equal(c.At.Truncate(time.Hour)) {
			some = append(some, c)
		}
	}
	return some
}

// Rewrite writes the segments anew that have messages of a stream which are in the journal no more, or are others now: of all
// that concerned names.
func (a *Archiver) Rewrite(ctx context.Context, concerned func(stream string, after, to uint64) bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, err := a.load(ctx)
	if err != nil {
		return err
	}
	for i := range s.Spans {
		x := &s.Spans[i]
		for stream, to := range x.last().Ends {
			if x.TakenBack || concerned(stream, x.Begins[stream], to) { // what was taken back is in no journal any more
				if err := a.together(ctx, s.Spans[i:i+1], slices.Clone); err != nil {
					return err
				}
				break
			}
		}
	}
	return nil
}

// together writes one segment in place of some that follow each other, with some of their checkpoints.
func (a *Archiver) together(ctx context.Context, list []span, some func([]record.Checkpoint) []record.Checkpoint) error {
	if err := a.Whole(); err != nil {
		return fmt.Errorf("put segments of the archive together: %w", err)
	}
	first, last := list[0], list[len(list)-1]
	out := span{Before: first.Before, Begins: first.Begins}
	from, _ := parseName(first.Name)
	n := name{first: from.first, last: last.last().Number}
	var replaces []string
	for _, x := range list {
		out.Checkpoints = append(out.Checkpoints, x.Checkpoints...)
		replaces = append(replaces, x.Name)
		if old, ok := parseName(x.Name); ok && old.first == n.first && old.last == n.last {
			n.rewrite = old.rewrite + 1
		}
	}
	out.Name, out.Checkpoints = n.String(), some(out.Checkpoints)
	return a.write(ctx, &out, replaces)
}
