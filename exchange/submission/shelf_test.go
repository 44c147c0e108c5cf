package submission_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// shelf is a journal and a view of members' objects, in memory.
type shelf struct {
	sequence   uint64
	books      []*book
	texts      map[string][]byte // what is kept
	held       map[string][]byte // quarantine
	raised     bool
	beforePost func(*record.Post)
	made       map[string]string // what feeds have made, by collection and id
	told       map[string]bool   // what followers were told to be withdrawn, by collection and id
	calls      int               // how many calls go well before one fails; 0 for all
}

var errShelf = fmt.Errorf("the shelf is full: %w", exchange.ErrFull)

// call is the error of a call.
func (s *shelf) call() error {
	if s.calls > 0 {
		if s.calls--; s.calls == 0 {
			return errShelf
		}
	}
	return nil
}

// book is an object that was put on the shelf.
type book struct {
	record.Posted
	raw    []byte
	own    bool // the exchange's
	gone   bool
	refs   []string
	always bool // its references are all looked for
}

func (s *shelf) Post(p *record.Post) (uint64, error) {
	if err := s.call(); err != nil {
		return 0, err
	}
	if s.beforePost != nil {
		s.beforePost(p)
	}
	s.sequence++
	c := p.Share.Collection
	if p.Control != "" {
		s.raised = s.raised || len(p.Removal.Raised) > 0
		for _, v := range slices.Concat(p.Removal.Versions, p.Removal.Withdrawn, p.Removal.Raised) {
			for _, b := range s.books {
				if b.Collection == c && b.ID == v.ID && b.Posted.Version.Version.Equal(v.Version) && b.SpecVersion == v.SpecVersion && !b.Remembered {
					b.gone = true
				}
			}
		}
		for _, v := range p.Removal.Withdrawn {
			if s.told == nil {
				s.told = make(map[string]bool)
			}
			s.told[c+" "+v.ID] = true
		}
		for _, r := range p.Removal.Remembered {
			s.books = append(s.books, &book{Posted: record.Posted{Collection: c, Version: r.Version, By: p.By, Label: r.Label, Remembered: true}})
		}
		return s.sequence, nil
	}
	n := 0
	for _, g := range p.Share.Groups {
		for _, o := range g.Objects {
			h, err := stix.ParseHead(o.Raw)
			if err != nil {
				return 0, err
			}
			at, err := h.Version()
			if err != nil {
				return 0, err
			}
			label, own := record.UnpackLabels(p.Labels[n])
			b := &book{raw: o.Raw, own: p.Labels[n] == 0, Posted: record.Posted{
				Collection: c, Version: record.Version{ID: strings.ToLower(h.ID), SpecVersion: "2.1", Version: at}, By: p.By,
				Creator: strings.ToLower(h.CreatedByRef), Label: label, Own: own, Size: len(o.Raw), Marked: p.Labels[n]&record.Marked != 0,
			}}
			b.always, _ = h.Context()
			for _, ref := range h.Refs {
				if ref = strings.ToLower(ref); ref != b.ID {
					b.refs = append(b.refs, ref)
					b.Refers = b.Refers || stix.Observable(ref)
				}
			}
			s.books = append(s.books, b)
			n++
		}
	}
	return s.sequence, nil
}

func (s *shelf) Sound(string) error                         { return s.call() }
func (s *shelf) Wait(context.Context, uint64, uint64) error { return s.call() }

func (s *shelf) Made(_ context.Context, collection, id string) ([]byte, tlp.Level, error) {
	if raw := s.made[collection+" "+id]; raw != "" {
		return []byte(raw), tlp.None, s.call()
	}
	return nil, tlp.None, s.call()
}

func (s *shelf) Posted(ids []string, each func(int, *record.Posted) error) error {
	if err := s.call(); err != nil {
		return err
	}
	for i, id := range ids {
		var list []*book
		for _, b := range s.books {
			if b.ID == id && !b.gone && !b.own {
				list = append(list, b)
			}
		}
		slices.SortStableFunc(list, func(x, y *book) int {
			if c := strings.Compare(x.Collection, y.Collection); c != 0 {
				return c
			}
			return x.Posted.Version.Version.Compare(y.Posted.Version.Version)
		})
		for _, b := range list {
			p := b.Posted
			if err := each(i, &p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *shelf) Referring(collection, id string) (list []record.Version, err error) {
	for _, b := range s.books {
		if b.Collection == collection && !b.own && !b.Remembered && slices.Contains(b.refs, id) && (b.always || stix.Observable(id)) {
			list = append(list, b.Posted.Version)
		}
	}
	return list, s.call()
}

func (s *shelf) Object(_ context.Context, collection string, v record.Version) ([]byte, error) {
	for _, b := range s.books {
		if b.Collection == collection && !b.gone && !b.Remembered && b.ID == v.ID && b.SpecVersion == v.SpecVersion && b.Posted.Version.Version.Equal(v.Version) {
			return b.raw, s.call()
		}
	}
	if raw := s.made[collection+" "+v.ID]; raw != "" {
		return []byte(raw), s.call()
	}
	return nil, s.call()
}

func (s *shelf) set(m *map[string][]byte, id string, text []byte) error {
	if err := s.call(); err != nil {
		return err
	}
	if *m == nil {
		*m = make(map[string][]byte)
	}
	if (*m)[id] = text; text == nil {
		delete(*m, id)
	}
	return nil
}

func (s *shelf) SetKept(_ context.Context, id string, text []byte) error {
	return s.set(&s.texts, id, text)
}

func (s *shelf) Kept(_ context.Context, id string) ([]byte, bool, error) {
	text, ok := s.texts[id]
	return text, ok, s.call()
}

func (s *shelf) SetQuarantined(_ context.Context, id string, text []byte) error {
	return s.set(&s.held, id, text)
}

func (s *shelf) Quarantined(_ context.Context, id string) ([]byte, bool, error) {
	text, ok := s.held[id]
	return text, ok, s.call()
}

func (s *shelf) ListQuarantined(context.Context) (ids []string, err error) {
	for id := range s.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, s.call()
}
