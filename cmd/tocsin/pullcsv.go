package main

import (
	"encoding/csv"
	"io"

	"github.com/spf13/cobra"

	"github.com/tocsin-exchange/tocsin/exchange/report"
)

// sightingWriter prints what objects tell of as rows of a CSV, which tocsin publish reads again.
type sightingWriter struct {
	csv       *csv.Writer
	sightings *report.Sightings
}

func newSightingWriter(w io.Writer) *sightingWriter {
	s := &sightingWriter{csv: csv.NewWriter(w), sightings: report.NewSightings()}
	_ = s.csv.Write(report.SightingColumns()) // flush tells whether it could not
	return s
}

// page prints what the objects tell of that were added since it was called last.
func (s *sightingWriter) page(last bool) error {
	if err := s.sightings.Page(last, func(x *report.Sighting) error { return s.csv.Write(x.Row()) }); err != nil {
		return err
	}
	s.csv.Flush()
	return s.csv.Error()
}

// left tells of what could not be a row.
func (s *sightingWriter) left(c *cobra.Command) {
	n, why := s.sightings.Left()
	if n == 0 {
		return
	}
	say(c, "%d sightings are no rows:", n)
	for _, note := range why {
		say(c, "  %d: %s", note.Rows, note.Reason)
	}
	say(c, "an observation comes with its address where --match leaves that in")
}
