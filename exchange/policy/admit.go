package policy

import (
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Owner says whose an object is, as its poster may know it: of who speaks for its created_by_ref, or, of an identity,
// for its id. Hidden members speak for nobody.
type Owner uint8

// The owners.
const (
	Nobody     Owner = iota // it has no created_by_ref: of who posts its first version in a collection
	Poster                  // the poster
	Another                 // another member
	ThirdParty              // somebody for whom no member speaks
)

// Standing is a version of an object in a collection, of those that its poster may know of.
type Standing struct {
	Version time.Time
	Label   tlp.Level
	Creator string
	// Mine says that the poster has posted it.
	Mine bool
	// Same says that it is the version that is posted, in the same words.
	Same bool
	// Remembered says that it does not stand, and its label is the least of the poster's versions up to this one.
	Remembered bool
}

// Entry is an object that a member posts to a collection.
type Entry struct {
	Owner   Owner
	Creator string // its created_by_ref
	Speaks  bool   // the poster speaks for Creator
	// Versioned is false of observables, such as addresses.
	Versioned bool
	Version   time.Time
	Label     tlp.Level
	// Operator says that the poster is the operator, Reads that it reads the collection, Derived that the id is one
	// that the exchange makes.
	Operator, Reads, Derived bool
	// Elsewhere is the lowest label under which the poster reads the same words anywhere, None where it does not.
	Elsewhere tlp.Level
	// Standing are the versions in the collection: all where the poster reads it, else its own.
	Standing []Standing
	// Others says, where the poster does not read the collection, that others have posted the id there.
	Others bool
	// Ceiling is the collection's.
	Ceiling tlp.Level
}

// Admission is what becomes of an Entry.
type Admission uint8

// The admissions.
const (
	Store   Admission = iota // as a new version
	Present                  // it is there already
	Drop                     // it is not stored and nobody is told: the poster may not know why
	Refuse
)

// Admit decides what becomes of an object that a member posts to a collection, and under which label at least. Of a
// refusal, why says the reason to the poster.
//
//   - Another member's object, or one of the exchange's own making, enters only in words that the poster reads here.
//   - Where the poster does not read the collection, it is told nothing of what stands there, not even of its own.
//   - A version that stands is a success in the same words, and a failure in others.
//   - A version is of who made the first: its created_by_ref is that one's; without one it is of who posted it.
//   - Only who owns an object lowers its label, with a newer version.
func Admit(e *Entry) (a Admission, label tlp.Level, why string) {
	newest, mine, least := e.look()
	label = e.Label
	switch {
	case e.Operator:
	case e.Derived && e.Elsewhere == tlp.None:
		return Refuse, label, "its id is one that this exchange makes: it is taken as you read it here, and in no other words"
	case e.Owner == Another && e.Elsewhere == tlp.None:
		return Refuse, label, "its created_by_ref is another member's identity: it is taken as you read it here, and in no other words; or have the operator add the identity to yours"
	}
	if e.Elsewhere != tlp.None && e.Owner != Poster {
		label = max(label, e.Elsewhere)
	}
	if !e.Reads && !e.Operator && label <= e.Ceiling && least > e.Ceiling {
		return Drop, label, "" // that a version of its own was there, and left, it may not read there
	}
	if e.Reads || e.Operator || label <= e.Ceiling { // else the refusal would tell what is remembered
		label = max(label, least)
	}
	for i := range e.Standing {
		switch s := &e.Standing[i]; {
		case s.Remembered || !s.Version.Equal(e.Version) && e.Versioned:
		case s.Same || !e.Reads || !e.Versioned:
			return Present, label, ""
		default:
			return Refuse, label, "this version of it is there already, in other words: give what you change a newer modified"
		}
	}
	if !e.Reads && e.Others {
		return Drop, label, ""
	}
	if newest == nil {
		return Store, label, ""
	}
	switch claims := newest.Creator == "" && mine && e.Speaks; {
	case newest.Creator != e.Creator && !e.Reads:
		return Drop, label, ""
	case newest.Creator != e.Creator && !claims:
		return Refuse, label, "its created_by_ref is not that of the version that is there"
	case e.Owner == Nobody && !mine && !e.Operator:
		return Refuse, label, "it has no created_by_ref, and another member has posted its first version here"
	}
	owns := e.Owner == Poster || e.Owner == Nobody && mine || e.Owner == ThirdParty && newest.Mine
	if !owns || !e.Version.After(newest.Version) {
		label = max(label, newest.Label)
	}
	return Store, label, ""
}

// look finds the newest version that stands, nil for none, whether the poster has posted the first, and the label
// that is remembered. Of what is nobody's only the first poster and the operator post versions.
func (e *Entry) look() (newest *Standing, mine bool, least tlp.Level) {
	mine = e.Operator
	for i := range e.Standing {
		s := &e.Standing[i]
		switch {
		case s.Remembered && !e.Version.After(s.Version):
			least = max(least, s.Label)
			continue
		case s.Remembered:
			continue
		case e.Operator:
			mine = mine && s.Mine
		default:
			mine = mine || s.Mine
		}
		if newest == nil || !s.Version.Before(newest.Version) {
			newest = s
		}
	}
	return newest, mine, least
}
