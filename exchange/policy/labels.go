package policy

import (
	"slices"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Posting is an object of a request, as far as its label goes.
type Posting struct {
	*stix.Head
	// Own is the highest label that the object carries itself: None where it carries none, Unknown where a marking can
	// forbid anything.
	Own tlp.Level
	// Context is the highest that reports of the same member in the same collection say of it.
	Context tlp.Level
}

// Labels works out the label of each object of a request: its own, else its context's, else the floor; and at least
// that of everything that it refers to. What it refers to has the label that it gets in this request, where it is part
// of that, and the one that standing says of what the poster may know, None for nothing.
//
// References to somebody, a place or a definition count where that carries a label of its own (stix.Opaque); an
// observable without one counts with the lowest label of what else refers to it, where it stands already of what does
// so there.
func Labels(list []Posting, floor tlp.Level, standing func(ref string) (label tlp.Level, stands bool)) []tlp.Level {
	r := &request{list: list, labels: make([]tlp.Level, len(list)), byID: make(map[string][]int, len(list)), referring: make(map[string][]int), stands: make(map[string]bool)}
	for i, x := range list {
		r.labels[i] = x.Own
		if x.Own == tlp.None {
			r.labels[i] = x.Context
		}
		if r.labels[i] == tlp.None {
			r.labels[i] = floor
		}
		r.byID[x.ID] = append(r.byID[x.ID], i)
	}
	for i, x := range list {
		for _, ref := range x.Refs {
			label, stands := standing(ref)
			r.labels[i] = max(r.labels[i], label)
			if stands {
				r.stands[ref] = true
			}
			for _, j := range r.byID[ref] {
				if !list[j].Versioned() && list[j].Own == tlp.None {
					r.referring[ref] = append(r.referring[ref], i)
					break
				}
			}
		}
	}
	for range maxRounds {
		if !r.raise() {
			return r.labels
		}
	}
	highest := tlp.None
	for _, l := range r.labels {
		highest = max(highest, l)
	}
	for i := range r.labels {
		r.labels[i] = highest
	}
	return r.labels
}

// maxRounds is how many references a label is followed over within a request; in a longer chain everything gets the
// highest label there is.
const maxRounds = 64

type request struct {
	list      []Posting
	labels    []tlp.Level
	byID      map[string][]int
	referring map[string][]int // what refers to an observable without a label of its own
	stands    map[string]bool
}

// raise raises each label to those of what it refers to, and tells whether that changed any.
func (r *request) raise() (changed bool) {
	for i, x := range r.list {
		for _, ref := range x.Refs {
			for _, j := range r.byID[ref] {
				if l := r.counts(j, i); l > r.labels[i] {
					r.labels[i], changed = l, true
				}
			}
		}
	}
	return changed
}

// counts is the label that the object j counts with for i, which refers to it.
func (r *request) counts(j, i int) tlp.Level {
	x := &r.list[j]
	switch {
	case x.Own == tlp.None && stix.Opaque(x.ID):
		return tlp.None
	case x.Own == tlp.None && !x.Versioned() && r.stands[x.ID]:
		return tlp.None
	case x.Own == tlp.None && !x.Versioned():
		least := tlp.None
		for _, k := range r.referring[x.ID] {
			if r.list[k].ID != r.list[i].ID && !r.outdated(k) && (least == tlp.None || r.labels[k] < least) {
				least = r.labels[k]
			}
		}
		if least != tlp.None {
			return least
		}
	}
	return r.labels[j]
}

// outdated tells whether the request has a newer version of an object, or the same under a higher label.
func (r *request) outdated(k int) bool {
	same := r.byID[r.list[k].ID]
	if len(same) == 1 {
		return false
	}
	at, _ := r.list[k].Version() // it was read before
	return slices.ContainsFunc(same, func(j int) bool {
		other, _ := r.list[j].Version()
		return other.After(at) || other.Equal(at) && r.labels[j] > r.labels[k]
	})
}

// LabelOf is the label of an object as a collection has it. What members have posted carries it, CLEAR where it carries
// none; what feeds have made may carry none. The definition of a marking is as high as what it marks: where none of this may
// leave, it is of no use. It is Unknown where the object can't be read.
func LabelOf(c *exchange.Collection, raw []byte) tlp.Level {
	h, err := stix.ParseHead(raw)
	if err != nil {
		return tlp.Unknown
	}
	if c.OfMembers() {
		return max(h.KnownLabel(), tlp.Clear)
	}
	label, _ := h.Label()
	defined, _ := tlp.FromMarking(h.ID)
	return max(label, defined)
}
