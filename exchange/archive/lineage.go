package archive

import (
	"encoding/json"
	"maps"
	"path/filepath"
)

// Continue writes into the data directory of an exchange that was restored that its archive goes on. cut are the ends of the
// streams that were restored: what segments have behind these is the exchange's no more.
func (a *Archive) Continue(dir, place string, cut map[string]uint64, replace func(path string, text []byte) error) error {
	s := state{Place: place, Exchange: a.Exchange()}
	capped := func(ends map[string]uint64) map[string]uint64 {
		out := maps.Clone(ends)
		for stream, end := range cut {
			if have, ok := out[stream]; ok {
				out[stream] = min(have, end)
			}
		}
		return out
	}
	for _, x := range a.segments {
		one := span{Name: x.name.String(), Before: x.header.Before, Begins: capped(x.header.Begins)}
		for _, c := range x.header.Checkpoints {
			before := c.Ends
			c.Ends = capped(c.Ends)
			one.TakenBack = one.TakenBack || !maps.Equal(before, c.Ends)
			one.Checkpoints = append(one.Checkpoints, c)
		}
		s.Spans = append(s.Spans, one)
	}
	text, err := json.Marshal(&s)
	if err != nil {
		return err
	}
	return replace(filepath.Join(dir, stateFile), text)
}
