package exchange

import (
	"strings"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Marking says once what a marking means that is no TLP label and that might restrict who reads: ACS, IEP, a partner's.
type Marking struct {
	// ID is that of its definition, in lower case.
	ID string `json:"id" yaml:"id"`
	// Means is MarkingIgnore or a TLP label.
	Means string `json:"means" yaml:"means"`
}

// MarkingIgnore is of a marking that says nothing about who may read.
const MarkingIgnore = "ignore"

// Level is the label that the marking stands for, None for none. Its error says what is wrong with Means.
func (m *Marking) Level() (tlp.Level, error) {
	if m.Means == MarkingIgnore {
		return tlp.None, nil
	}
	return tlp.Parse(m.Means)
}

// Meaning returns what the register says of a marking: the label that it stands for, None for nothing.
func (r *Register) Meaning(id string) (level tlp.Level, known bool) {
	id = strings.ToLower(id)
	for i := range r.Markings {
		if m := &r.Markings[i]; m.ID == id {
			level, err := m.Level()
			return level, err == nil
		}
	}
	return tlp.None, false
}
