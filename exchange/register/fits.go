package register

import (
	"context"
	"fmt"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A label is at most its collection's ceiling, and that is at most the clearance of everybody who may read it. The
// second is checked of each version by itself (validate), the first against what the collections hold.

// Contents is what the collections hold.
type Contents interface {
	// Highest is the highest label that anything in a collection has, or had.
	Highest(collection string) tlp.Level
	// Hold waits until all that was decided is in the collections, and lets nothing more be decided until release is
	// called.
	Hold(ctx context.Context) (release func(), err error)
}

// Attach has every change from now on fit what the collections hold, and tells changed of versions: of those made here
// before Change returns, of those made elsewhere while Watch runs; maybe more than once, and maybe an older one late. It
// is called before Change and Watch are.
func (s *Store) Attach(c Contents, changed func(*exchange.Register)) {
	s.contents, s.changed = c, changed
}

// Fits reports, as an Invalid, what collections hold above the ceiling that a version gives them.
func (s *Store) Fits(r *exchange.Register) error {
	if s.contents == nil {
		return nil
	}
	var wrong []string
	for _, c := range r.Collections() {
		if have := s.contents.Highest(c.ID); have > c.Ceiling {
			wrong = append(wrong, fmt.Sprintf("collection %s holds objects labelled %s: its ceiling cannot be %s", c.ID, have, c.Ceiling))
		}
	}
	if len(wrong) > 0 {
		return &Invalid{Problems: wrong}
	}
	return nil
}

// hold makes sure, before a ceiling is lowered, that the collections have everything that was decided under the one
// before, and that nothing more is until the change is in force: else Fits would overlook it.
func (s *Store) hold(ctx context.Context, base, next *exchange.Register) (release func(), err error) {
	if s.contents == nil || !lowers(base, next) {
		return func() {}, nil
	}
	return s.contents.Hold(ctx)
}

// lowers reports whether a collection's ceiling is lower in next than in base.
func lowers(base, next *exchange.Register) bool {
	was := make(map[string]tlp.Level)
	for _, c := range base.Collections() {
		was[c.ID] = c.Ceiling
	}
	for _, c := range next.Collections() {
		if c.Ceiling < was[c.ID] {
			return true
		}
	}
	return false
}
