package node

import (
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
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A restore to a moment never gives back what was taken from readers since: what was deleted, withdrawn or recalled goes again,
// and what was given a higher label has it again.

// restoredFile says what is to be done at the first start after a restore, before anybody is answered.
const restoredFile = "restored.json"

// restored is what it says.
type restored struct {
	Recalls []recall `json:"recalls,omitempty"`
	Raises  []raise  `json:"raises,omitempty"`
}

// recall is of events of a feed, raise of a host's day that got a higher label.
type recall struct {
	Feed, Reason string
	Events       []exchange.EventID
}

type raise struct {
	Feed  string
	Of    exchange.ObservationKey
	Label tlp.Level
}

// since is what was taken from readers after a moment.
type since struct {
	last     time.Time // the last stamp of what is taken back
	removals []removalOf
	raised   map[string]*submission.Again // what was taken out of collections to be added again, and was
	todo     restored
}

// removalOf is what a control block takes out of a collection.
type removalOf struct {
	collection, by string
	kind           record.ControlKind
	*record.Removal
}

// sinceOf gathers it.
func sinceOf(ctx context.Context, a *archive.Archive, at *record.Checkpoint, j *journal.Journal, seal record.Seal) (*since, error) {
	s := &since{raised: make(map[string]*submission.Again)}
	if at == a.Last() {
		return s, nil
	}
	labels := make(map[string]map[exchange.ObservationKey]tlp.Level)
	err := a.Each(ctx, at, func(stream string, m *record.Message, current bool, _ uint64) error {
		switch {
		case current:
			return nil
		case stream == journal.BlocksStream:
			b, text, err := j.BlockOf(m)
			if err != nil {
				return err
			}
			s.reached(b.Added(max(b.Count-1, 0)))
			return s.block(b, text, seal)
		case stream == journal.IntakeStream:
			text, err := j.Decompress(nil, m.Data)
			if err != nil {
				return err
			}
			in, err := record.DecodeIntake(text)
			if err != nil {
				return err
			}
			s.reached(in.At.Add(time.Duration(len(in.Observations)*objectsOfAHost) * time.Microsecond))
			if len(in.Recalled) > 0 {
				s.todo.Recalls = append(s.todo.Recalls, recall{in.Feed, in.Reason, in.Recalled})
			}
			if labels[in.Feed] == nil {
				labels[in.Feed] = make(map[exchange.ObservationKey]tlp.Level)
			}
			for i := range in.Observations {
				o := &in.Observations[i]
				labels[in.Feed][o.ObservationKey] = max(labels[in.Feed][o.ObservationKey], o.Label)
			}
		}
		return nil
	})
	if err == nil {
		err = s.stood(ctx, a, at, j)
	}
	if err != nil {
		return nil, fmt.Errorf("what was taken out since: %w", err)
	}
	for feed, of := range labels {
		had := make(map[exchange.ObservationKey]tlp.Level)
		err := j.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
			for i := range in.Observations {
				had[in.Observations[i].ObservationKey] = in.Observations[i].Label
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		for of, label := range of {
			if have, there := had[of]; there && have < label {
				s.todo.Raises = append(s.todo.Raises, raise{feed, of, label})
			}
		}
	}
	return s, nil
}

// objectsOfAHost is how many objects a host's day is packaged as, at most: each takes a microsecond.
const objectsOfAHost = 12

// reached notes a stamp.
func (s *since) reached(at time.Time) {
	if at.After(s.last) {
		s.last = at
	}
}

// block takes in what a block did to what was there before.
func (s *since) block(b *record.Block, text []byte, seal record.Seal) error {
	if len(b.Removed) > 0 { // what stays of a block came in its place
		return nil
	}
	if b.Control == "" {
		return s.raised[b.Collection].Added(b, text)
	}
	r, err := seal.OpenRemoval(b, text)
	if err != nil {
		return err
	}
	if len(r.Versions)+len(r.Objects)+len(r.Withdrawn)+len(r.Raised)+len(r.Remembered) == 0 {
		return nil
	}
	s.removals = append(s.removals, removalOf{b.Collection, b.By, b.Control, r})
	if s.raised[b.Collection] == nil {
		s.raised[b.Collection] = new(submission.Again)
	}
	s.raised[b.Collection].Took(r)
	return nil
}

// stood finds out what of that which was raised was there at the moment.
func (s *since) stood(ctx context.Context, a *archive.Archive, at *record.Checkpoint, j *journal.Journal) error {
	if !slices.ContainsFunc(slices.Collect(maps.Values(s.raised)), (*submission.Again).Any) {
		return nil
	}
	return a.Each(ctx, at, func(stream string, m *record.Message, current bool, _ uint64) error {
		if stream != journal.BlocksStream || !current {
			return nil
		}
		b, text, err := j.BlockOf(m)
		if err != nil || b.Control != "" {
			return err
		}
		return s.raised[b.Collection].Stood(b, text)
	})
}

// again does what can be done before the exchange starts.
func (s *since) again(ctx context.Context, j *journal.Journal) error {
	for _, r := range s.removals {
		_, err := j.Post(&record.Post{Share: record.Share{Collection: r.collection, Label: tlp.Clear}, Control: r.kind, Removal: r.Removal, By: r.by})
		if err != nil {
			return err
		}
	}
	for collection, a := range s.raised {
		if err := a.Keep(ctx, j, collection); err != nil {
			return err
		}
	}
	return nil
}

// finishRestore does at the first start what a restore has left to do.
func (n *Node) finishRestore(ctx context.Context) error {
	path := filepath.Join(n.opt.Dir, restoredFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var todo restored
	if err == nil {
		err = json.Unmarshal(text, &todo)
	}
	if err == nil {
		err = n.againAfterRestore(ctx, &todo)
	}
	if err != nil {
		return fmt.Errorf("finish the restore: %w", err)
	}
	return os.Remove(path)
}

func (n *Node) againAfterRestore(ctx context.Context, todo *restored) error {
	recalled := make(map[string]map[exchange.EventID]string) // by feed, with their reasons
	for _, r := range todo.Recalls {
		if recalled[r.Feed] == nil {
			recalled[r.Feed] = make(map[exchange.EventID]string)
		}
		for _, id := range r.Events {
			recalled[r.Feed][id] = r.Reason
		}
	}
	for feed, reasons := range recalled {
		events := make(map[string][]exchange.Event) // by reason
		err := n.Journal.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
			for i := range in.Events {
				if reason, is := reasons[in.Events[i].ID()]; is {
					events[reason] = append(events[reason], in.Events[i].Event)
				}
			}
			return nil
		})
		for reason, list := range events {
			if err == nil {
				_, err = n.admitAgain(ctx, &admission.Chunk{Feed: feed, Recall: reason, Events: list})
			}
		}
		if err != nil {
			return err
		}
	}
	feeds := make(map[string]map[exchange.ObservationKey]tlp.Level)
	for _, r := range todo.Raises {
		if feeds[r.Feed] == nil {
			feeds[r.Feed] = make(map[exchange.ObservationKey]tlp.Level)
		}
		feeds[r.Feed][r.Of] = r.Label
	}
	for feed, labels := range feeds {
		var events []exchange.Event
		err := n.Journal.EachIntake(ctx, feed, 0, func(in *record.Intake, _ uint64) error {
			for i := range in.Events {
				e := &in.Events[i]
				if e.Observation < 0 {
					continue
				}
				of := in.Observations[e.Observation].ObservationKey
				if label, raised := labels[of]; raised {
					again := e.Event
					again.Label = label
					events = append(events, again)
					delete(labels, of)
				}
			}
			return nil
		})
		if err == nil {
			_, err = n.admitAgain(ctx, &admission.Chunk{Feed: feed, Events: events})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxAgain is how many events are admitted at once.
const maxAgain = 5000

// admitAgain gives events to admission, and waits until that is in the collections. A feed that is no more has none.
func (n *Node) admitAgain(ctx context.Context, all *admission.Chunk) (taken int64, err error) {
	if n.Register.Current().Feed(all.Feed) == nil {
		return 0, nil
	}
	for events := range slices.Chunk(all.Events, maxAgain) {
		p, err := n.admission.Admit(ctx, &admission.Chunk{
			Feed: all.Feed, Recall: all.Recall, Events: events, Receipt: exchange.Receipt{Feed: all.Feed},
		})
		if err == nil {
			err = p.Wait(ctx)
		}
		if err != nil {
			return taken, err
		}
		taken += p.Receipt.Events
	}
	return taken, nil
}
