package policy

import (
	"fmt"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Labels works out the label of each object that came in one request: the
// highest of its own markings, object and granular, and tlp: labels; of the
// report, grouping, observed-data, sighting, note or opinion beside it that
// refers to it; for a relationship or sighting, of both its ends, beside it or as
// known tells of what came before. What nothing is said about gets the floor.
//
// A marking that is no TLP label makes it tlp.Unknown, for whatever reason: the
// error of the same index says which.
func Labels(heads []*stix.Head, floor tlp.Level, known func(id string) (tlp.Level, error)) ([]tlp.Level, []error, error) {
	labels, reasons := make([]tlp.Level, len(heads)), make([]error, len(heads))
	byID := make(map[string]tlp.Level, len(heads))
	for i, h := range heads {
		labels[i], reasons[i] = h.Label()
		byID[h.ID] = max(byID[h.ID], labels[i])
	}
	for _, h := range heads {
		if !h.Discloses() {
			continue
		}
		for _, end := range h.Refs {
			label, err := known(end)
			if err != nil {
				return nil, nil, err
			}
			byID[h.ID] = max(byID[h.ID], label)
		}
	}
	stix.SpreadLabels(heads, byID)
	for i, h := range heads {
		if labels[i] = byID[h.ID]; labels[i] == tlp.None {
			labels[i] = floor
		}
		if labels[i] == tlp.Unknown && reasons[i] == nil {
			reasons[i] = fmt.Errorf("what refers to it, or what it refers to, is marked with what is no TLP marking that is known here")
		}
	}
	return labels, reasons, nil
}
