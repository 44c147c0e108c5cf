package archive

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// Archive is what an archive has, from its first checkpoint to its last.
type Archive struct {
	store      Store
	identities []age.Identity
	segments   []segment
}

type segment struct {
	name   name
	header *Header
}

// Open reads what an archive has, and holds its segments to each other: none may be missing, and each has to follow the one
// before. Its error names the segment, and is an ErrDamaged where that is at fault.
func Open(ctx context.Context, store Store, identities []age.Identity) (*Archive, error) {
	names, err := segments(ctx, store)
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: there is no segment of an archive there", ErrNotFound)
	}
	a := &Archive{store: store, identities: identities}
	for next := uint64(1); ; {
		i := slices.IndexFunc(names, func(n name) bool { return n.first == next })
		if i < 0 {
			// What lies before is superseded, by what lies further than it.
			if !slices.ContainsFunc(names, func(n name) bool { return n.last >= next }) {
				break
			}
			return nil, fmt.Errorf("%w: the segment from checkpoint %d on is missing", ErrDamaged, next)
		}
		s := segment{name: names[i]}
		if s.header, err = a.header(ctx, s.name); err != nil {
			return nil, err
		}
		if err := a.follows(&s); err != nil {
			return nil, fmt.Errorf("%w: segment %s: %w", ErrDamaged, s.name, err)
		}
		a.segments = append(a.segments, s)
		next = s.name.last + 1
	}
	return a, nil
}

// segments lists the names of segments: of those that begin at one checkpoint the best first, which has most, and of these the
// one that was written last.
func segments(ctx context.Context, store Store) (list []name, err error) {
	all, err := store.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range all {
		if n, ok := parseName(s); ok {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b name) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last), cmp.Compare(b.rewrite, a.rewrite))
	})
	return list, nil
}

// open begins to read a segment.
func (a *Archive) open(ctx context.Context, n name) (r *reader, end func(), err error) {
	from, err := a.store.Get(ctx, n.String())
	if err != nil {
		return nil, nil, err
	}
	var none *age.NoIdentityMatchError
	if r, err = newReader(from, a.identities); err != nil {
		_ = from.Close()
		if errors.As(err, &none) || errors.Is(err, errSealed) {
			return nil, nil, fmt.Errorf("segment %s: %w", n, err)
		}
		return nil, nil, fmt.Errorf("%w: segment %s: %w", ErrDamaged, n, err)
	}
	return r, func() { r.z.Close(); _ = from.Close() }, nil
}

func (a *Archive) header(ctx context.Context, n name) (*Header, error) {
	r, end, err := a.open(ctx, n)
	if err != nil {
		return nil, err
	}
	end()
	return r.h, nil
}

// follows checks that a segment is what its name says, and follows what there is.
func (a *Archive) follows(s *segment) error {
	h := s.header
	known := func(ends map[string]uint64) bool {
		for stream := range ends {
			if _, is := h.Streams[stream]; !is {
				return false
			}
		}
		return ends != nil
	}
	for stream := range h.Streams {
		if !isStream(stream) {
			return fmt.Errorf("it names a stream %.80q", stream)
		}
	}
	before := s.name.first - 1
	for i := range h.Checkpoints { // of a past day not all are kept
		c := &h.Checkpoints[i]
		if c.Number <= before {
			return errors.New("its checkpoints are not those of its name")
		}
		if before = c.Number; !known(c.Ends) {
			return errors.New("a checkpoint has ends of streams that there are not")
		}
	}
	if h.Last().Number != s.name.last {
		return errors.New("its checkpoints are not those of its name")
	}
	if !known(h.Begins) {
		return errors.New("it begins at ends of streams that there are not")
	}
	if len(a.segments) == 0 {
		return nil
	}
	last := a.segments[len(a.segments)-1].header
	switch {
	case h.Exchange != last.Exchange:
		return errors.New("it is of another exchange than the one before")
	case h.Before != last.Last().ID:
		return errors.New("it does not follow the one before: it is of another archive, or of another exchange that was restored from it")
	}
	return nil
}

// isStream tells whether a name can be a stream's: it becomes one of a directory.
func isStream(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return (r < 'A' || r > 'Z') && r != '_' })
}

// Exchange is whose archive it is.
func (a *Archive) Exchange() string { return a.segments[0].header.Exchange }

// Segments is how many segments there are.
func (a *Archive) Segments() int { return len(a.segments) }

// Streams are the streams' settings, as they were last.
func (a *Archive) Streams() map[string]json.RawMessage {
	return a.segments[len(a.segments)-1].header.Streams
}

// Last is the last checkpoint.
func (a *Archive) Last() *record.Checkpoint { return a.segments[len(a.segments)-1].header.Last() }

// At is the last checkpoint that is not after an instant, nil where there is none.
func (a *Archive) At(t time.Time) (last *record.Checkpoint) {
	for _, s := range a.segments {
		for i := range s.header.Checkpoints {
			if c := &s.header.Checkpoints[i]; !c.At.After(t) {
				last = c
			}
		}
	}
	return last
}

// Each calls f with every message that the archive has, in the order of its segments, and so of each stream's sequences. What a
// restore has taken back before a checkpoint is not among them. current is true for what the exchange had at the checkpoint; of
// others, common is up to which sequence of the stream the exchange that wrote them had the same messages. Its error is an ErrDamaged that names the segment where that is at fault.
func (a *Archive) Each(ctx context.Context, at *record.Checkpoint, f func(stream string, m *record.Message, current bool, common uint64) error) error {
	common := maps.Clone(at.Ends)
	for i := range a.segments {
		s := &a.segments[i]
		void, later := a.upTo(i, at), s.name.first > at.Number
		if later {
			lower(common, s.header.Begins)
		}
		err := a.each(ctx, s.name, func(stream string, m *record.Message) error {
			if end, restored := void[stream]; restored && m.Sequence > end {
				return nil
			}
			return f(stream, m, !later && m.Sequence <= at.Ends[stream], common[stream])
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// upTo says up to which sequence of each stream the i-th segment counts for a checkpoint, by the restores between the two.
func (a *Archive) upTo(i int, at *record.Checkpoint) map[string]uint64 {
	void := make(map[string]uint64)
	for _, s := range a.segments[i+1:] {
		if s.name.first > at.Number {
			break
		}
		for stream, end := range s.header.Begins {
			if have, ok := void[stream]; !ok || end < have {
				void[stream] = end
			}
		}
	}
	return void
}

// lower takes the lower of two ends of each stream.
func lower(ends, others map[string]uint64) {
	for stream, end := range others {
		if have, known := ends[stream]; known && end < have {
			ends[stream] = end
		}
	}
}

func (a *Archive) each(ctx context.Context, n name, f func(stream string, m *record.Message) error) error {
	r, end, err := a.open(ctx, n)
	if err != nil {
		return err
	}
	defer end()
	err = r.each(f)
	var who *stopped
	if errors.As(err, &who) {
		return who.error
	}
	if err != nil {
		return fmt.Errorf("%w: segment %s: %w", ErrDamaged, n, err)
	}
	return nil
}
