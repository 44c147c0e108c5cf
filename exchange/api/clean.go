package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
)

// maxCleaned is how many hosts one request reports clean.
const maxCleaned = 2000

// CleanReport is a member's report of hosts that are clean: on one feed, or on each that they
// were seen on.
type CleanReport struct {
	Feed  string      `json:"feed,omitempty"`
	Hosts []CleanHost `json:"hosts"`
}

// CleanHost is an address, or the e-mail address of an account, and since when it is
// clean; now where it has no time.
type CleanHost struct {
	Address string    `json:"address"`
	At      time.Time `json:"at,omitzero"`
}

// CleanAnswer says how many were taken, and what is wrong with the others, whose
// number from 1 is the line of their problem.
type CleanAnswer struct {
	Cleaned  int                `json:"cleaned"`
	Problems []exchange.Problem `json:"problems,omitempty"`
}

// clean takes a report of clean hosts: POST /v1/clean.
func (a *API) clean(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	bad := func(format string, args ...any) error {
		return fail(http.StatusBadRequest, "Not a report", format, args...)
	}
	var report CleanReport
	if err := decode(text, &report); err != nil { // a feed that is misspelled is not every feed
		return nil, bad(`{"feed":"…","hosts":[{"address":"…","at":"2026-03-19T00:00:00Z"}]} was expected: %v`, err)
	}
	if n := len(report.Hosts); n == 0 || n > maxCleaned {
		return nil, bad("It has %d hosts; 1 to %d are taken at a time", n, maxCleaned)
	}
	now := time.Now()
	hosts, wrong := make([]record.Cleaned, len(report.Hosts)), make([]string, len(report.Hosts))
	for i, h := range report.Hosts {
		if h.At.IsZero() {
			h.At = now
		}
		var e exchange.Event
		if err := setHost(&e, h.Address); err != nil {
			wrong[i] = err.Error()
		} else if h.At.After(now.Add(time.Minute)) {
			wrong[i] = h.At.Format(time.RFC3339) + " is in the future"
		} else { // else it stays an address that nobody has
			hosts[i] = record.Cleaned{Address: e.Address, At: h.At}
		}
	}
	feeds := []string{report.Feed}
	if report.Feed == "" {
		feeds = nil
		for _, f := range r.x.Register.Feeds {
			feeds = append(feeds, f.ID)
		}
	}
	taken, last := make([]bool, len(hosts)), uint64(0)
	for _, feed := range feeds {
		some, intake, err := a.Admission.Clean(r.Context(), feed, r.caller.Member, hosts)
		if err != nil {
			return nil, err
		}
		last = max(last, intake)
		for i := range some {
			taken[i] = taken[i] || some[i]
		}
	}
	a.visible(r.Context(), last, 0)
	a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditCleaned, Feed: report.Feed, Count: int64(len(hosts))})
	out := new(CleanAnswer)
	for i, ok := range taken {
		if ok {
			out.Cleaned++
		} else {
			why := cmp.Or(wrong[i], fmt.Sprintf("%.80s was not seen by then, or is not yours", report.Hosts[i].Address))
			out.Problems = append(out.Problems, exchange.Problem{Line: i + 1, Column: "address", Reason: why})
		}
	}
	return out, nil
}

// setHost sets the host or account of an event.
func setHost(e *exchange.Event, text string) error {
	if strings.Contains(text, "@") {
		return e.SetAccount(text)
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return fmt.Errorf("%.60q is neither an IP address nor an account's e-mail address", text)
	}
	e.Address = address.Unmap()
	return nil
}
