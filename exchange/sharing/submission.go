package sharing

import (
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Submission works out the label of each object that came in one request: the
// highest of its own markings, object and granular, and tlp: labels; of the
// report, grouping, observed-data, sighting, note or opinion beside it that
// refers to it; for a relationship or sighting, of both its ends as far as they
// are there. What nothing is said about gets the floor. The error is about the
// object of the same index alone: a marking that is no TLP label is nothing
// that we could hold ourselves to.
func Submission(heads []*stix.Head, floor tlp.Level) ([]tlp.Level, []error) {
	labels, errs := make([]tlp.Level, len(heads)), make([]error, len(heads))
	byID := make(map[string]tlp.Level, len(heads))
	for i, h := range heads {
		labels[i], errs[i] = h.Label()
		byID[h.ID] = max(byID[h.ID], labels[i])
	}
	spread(heads, byID)
	for i, h := range heads {
		if labels[i] = byID[h.ID]; labels[i] == tlp.None {
			labels[i] = floor
		}
	}
	return labels, errs
}

// maxSpread is how many steps a label is followed from object to object.
const maxSpread = 16

// spread carries labels from what refers to what is referred to, and back for
// relationships and sightings, until nothing changes. Where that takes too
// long, everything gets the highest label there is.
func spread(heads []*stix.Head, byID map[string]tlp.Level) {
	for range maxSpread {
		changed := false
		raise := func(id string, to tlp.Level) {
			if was, there := byID[id]; there && was < to {
				byID[id], changed = to, true
			}
		}
		for _, h := range heads {
			switch h.Type {
			case "report", "grouping", "observed-data", "sighting", "note", "opinion":
				for _, ref := range h.Refs {
					raise(ref, byID[h.ID])
				}
			}
			if h.Type == "relationship" || h.Type == "sighting" {
				for _, ref := range h.Refs {
					raise(h.ID, byID[ref])
				}
			}
		}
		if !changed {
			return
		}
	}
	highest := tlp.None
	for _, l := range byID {
		highest = max(highest, l)
	}
	for id := range byID {
		byID[id] = highest
	}
}
