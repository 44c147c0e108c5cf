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
	stix.SpreadLabels(heads, byID)
	for i, h := range heads {
		if labels[i] = byID[h.ID]; labels[i] == tlp.None {
			labels[i] = floor
		}
	}
	return labels, errs
}
