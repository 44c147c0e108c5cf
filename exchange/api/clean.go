package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxCleaned is how many hosts one request reports clean.
const maxCleaned = 2000

// Clean is a member's report of hosts that are clean: on one feed, or on each that they
// were seen on. Hosts without a time are clean as of now.
type Clean struct {
	Feed  string             `json:"feed,omitempty"`
	Hosts []exchange.Cleaned `json:"hosts"`
}

// Cleaned is the answer: how many were taken, and what is wrong with the others, whose
// number from 1 is the line of their problem.
type Cleaned struct {
	Cleaned  int                `json:"cleaned"`
	Problems []exchange.Problem `json:"problems,omitempty"`
}

// clean takes a report of clean hosts: POST /v1/clean.
func (a *API) clean(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	var report Clean
	if err := json.Unmarshal(text, &report); err != nil {
		return nil, fail(http.StatusBadRequest, "Not a report", `{"hosts":[{"address":"…","at":"2026-03-19T00:00:00Z"}]} was expected: %v`, err)
	}
	if n := len(report.Hosts); n == 0 || n > maxCleaned {
		return nil, fail(http.StatusBadRequest, "Not a report", "It has %d hosts; 1 to %d are taken at a time", n, maxCleaned)
	}
	for i := range report.Hosts {
		h := &report.Hosts[i]
		if h.Address = h.Address.Unmap(); !h.Address.IsValid() || h.Address.Zone() != "" {
			return nil, fail(http.StatusBadRequest, "Not a report", "hosts[%d] has no IP address", i)
		}
		if h.At.IsZero() {
			h.At = time.Now()
		}
	}
	feeds := []string{report.Feed}
	if report.Feed == "" {
		feeds = nil
		for _, f := range r.x.register.Feeds {
			feeds = append(feeds, f.ID)
		}
	}
	// A host is wrong where every feed says so.
	wrong := make([]int, len(report.Hosts))
	out := &Cleaned{Cleaned: len(report.Hosts)}
	for _, feed := range feeds {
		problems, err := a.Admission.Clean(r.Context(), feed, r.caller, report.Hosts)
		if err != nil {
			return nil, err
		}
		for _, p := range problems {
			if wrong[p.Line-1]++; wrong[p.Line-1] == len(feeds) {
				out.Problems = append(out.Problems, p)
			}
		}
	}
	out.Cleaned -= len(out.Problems)
	slices.SortFunc(out.Problems, func(x, y exchange.Problem) int { return x.Line - y.Line })
	return out, nil
}
