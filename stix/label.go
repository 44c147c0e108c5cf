package stix

import (
	"fmt"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Label is the highest label that an object carries itself, in its markings, the
// granular ones among them, and in its labels; None where it carries none. A marking
// that is no TLP marking is an error: it can forbid anything.
func (h *Head) Label() (label tlp.Level, err error) {
	if _, ok := tlp.FromMarking(h.ID); ok {
		label = tlp.Clear // the definition of a label is no secret
	}
	for _, refs := range [][]string{h.ObjectMarkingRefs, h.GranularMarkingRefs} {
		for _, id := range refs {
			if id == "" {
				continue // a granular marking of a language
			}
			l, ok := tlp.FromMarking(id)
			if !ok {
				err = fmt.Errorf("it is marked with %.80q, which is no TLP marking that is known here, so nobody may be shown it", id)
			}
			label = max(label, l)
		}
	}
	for _, s := range h.Labels {
		// Also with something before it, as in misp:tlp:red.
		if i := strings.LastIndex(strings.ToLower(s), "tlp:"); i >= 0 && (i == 0 || strings.ContainsAny(s[i-1:i], ": \t")) {
			l, e := tlp.Parse(s[i:])
			if e != nil {
				err = fmt.Errorf("label %.40q: %w", s, e)
			}
			label = max(label, l)
		}
	}
	return label, err
}
