// Package exchange has the nouns of Tocsin: events, members, feeds, collections,
// the register, decisions, callers, audit entries, and the errors that packages
// tell each other. They have no behaviour beyond their own validity. It imports
// nothing of ours but stix.
//
// The packages that are built on it, from the ground up:
//
//	wait          how parts wait for each other
//	record        what the journal holds, and how it is written
//	policy        who may have what: labels, rights, channels
//	access        who asks: credentials and log-ins
//	constituency  who is responsible for an address
//	report        publishers' formats: from bytes to events
//	packaging     from events to STIX objects
//	admission     publishers' way in: the life of an event
//	submission    members' way in: the life of a POST
//	journal       intake and blocks, in JetStream
//	view          what the exchange is read from, in Pebble
//	removal       what a collection has lost leaves the journal
//	register      members, feeds, collections and credentials, as a store
//	misp webhook  ways out beside TAXII, NATS and server-sent events
//	api           HTTP
//	node          opens and closes it all
//
// Invariants: what enters a collection is decided when it is taken in, at admission or at submission, and never when
// it is read; a decision names the key and the rule that made it; an object's label is at most its collection's
// ceiling, which is at most the clearance of everybody who may read it.
package exchange

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Event is one normalised sighting of one infected address. The zero value of
// a field means that the publisher did not say.
type Event struct {
	// Line is where the event stood in its source, from 1. It is for messages
	// only: it is no part of the event's identity and is not kept.
	Line int
	// Address is the infected host's, unmapped and without a zone.
	Address netip.Addr
	// Account is the e-mail address of an account that was compromised; Address is its
	// AccountKey then, and Hostname its domain.
	Account string
	// Port is the source port: behind carrier-grade NAT, address, port and time
	// together find the customer.
	Port uint16
	// Observed is when it was seen, last where the row stands for several contacts, and First when it was seen first,
	// zero where that is the same: UTC, whole milliseconds.
	Observed, First time.Time
	// Count is how many contacts the row stands for, at least 1.
	Count int64
	// ASN and Country (ISO 3166-1 alpha-2, upper case) place the address.
	ASN     uint32
	Country string
	// Hostname is the host's reverse name, lower case, without a final dot.
	Hostname string
	// Malware, Protocol (lower case, transport first, separated by spaces) and
	// Provider are the publisher's words.
	Malware, Protocol, Provider string
	// Dst and DstPort are where the host called: the sinkhole.
	Dst     netip.Addr
	DstPort uint16
	// Exposed is what was found open or vulnerable at the address, such as open-rdp, where the event tells of that and not
	// of an infection; "" for an infection.
	Exposed string
	// PublisherID is the publisher's own identifier for the event.
	PublisherID string
	// Extra is what else the row said, as the text of a JSON object of texts, where the feed keeps
	// it; "" for nothing. It is no part of the event's identity.
	Extra string
	// Label is the row's own; None leaves it to the feed. Floor is the least label
	// that the row allows, whatever the feed says; decided, it is part of Label.
	Label, Floor tlp.Level
}

// EventID tells events of one feed apart: the hash of all that was normalised.
// Two rows that say the same are one event.
type EventID [16]byte

// ID computes the event's identity.
func (e *Event) ID() EventID {
	var buf [256]byte
	b := buf[:0]
	text := func(s string) {
		b = strconv.AppendInt(b, int64(len(s)), 10)
		b = append(append(b, ':'), s...)
	}
	number := func(n int64) { b = append(strconv.AppendInt(b, n, 10), ' ') }
	b = append(e.Address.AppendTo(b), ' ')
	number(int64(e.Port))
	number(e.Observed.UnixMilli())
	number(e.Count)
	number(int64(e.ASN))
	number(int64(e.DstPort))
	number(int64(e.Label))
	if e.Dst.IsValid() {
		b = e.Dst.AppendTo(b)
	}
	b = append(b, ' ')
	for _, s := range [...]string{e.Country, e.Hostname, e.Malware, e.Protocol, e.Provider, e.PublisherID} {
		text(s)
	}
	if e.Exposed != "" || !e.First.IsZero() {
		text(e.Exposed)
		number(e.First.UnixMilli())
	}
	sum := sha256.Sum256(b)
	return EventID(sum[:16])
}

// Day is a UTC day, counted from 1970-01-01.
type Day int32

// DayOf returns the UTC day of an instant.
func DayOf(t time.Time) Day {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return Day(d)
}

// Start returns the first instant of the day.
func (d Day) Start() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// String returns the day as YYYY-MM-DD.
func (d Day) String() string { return d.Start().Format(time.DateOnly) }

// Problem says what is wrong with a row, or with several one after the other, where, and what
// would be right.
type Problem struct {
	Line int `json:"line"`
	// Rows is how many lines from Line on it is about, 0 for that one alone.
	Rows   int    `json:"rows,omitempty"`
	Column string `json:"column,omitempty"`
	Reason string `json:"reason"`
}

func (p Problem) String() string {
	at := "line " + strconv.Itoa(p.Line)
	if p.Rows > 1 {
		at = fmt.Sprintf("lines %d to %d", p.Line, p.Line+p.Rows-1)
	}
	if p.Column != "" {
		at += ", " + p.Column
	}
	return at + ": " + p.Reason
}

// follows tells whether p says the same as before of the lines behind it.
func (p *Problem) follows(before *Problem) bool {
	return p.Line == before.Line+max(before.Rows, 1) && p.Column == before.Column && p.Reason == before.Reason
}

// MaxProblems is how many problems a receipt lists; the rest are counted.
const MaxProblems = 1000

// Receipt is the answer to a publisher: where every row went. Rows equals
// Events plus Rejected plus Duplicates.
type Receipt struct {
	// ID is what it can be read again by, "" where it is not kept. One of several requests
	// names theirs in Receipts instead.
	ID         string   `json:"id,omitempty"`
	Receipts   []string `json:"receipts,omitempty"`
	Feed       string   `json:"feed"`
	Rows       int64    `json:"rows"`
	Events     int64    `json:"events"`
	Rejected   int64    `json:"rejected"`
	Duplicates int64    `json:"duplicates"`
	// Raised counts duplicates that came with a higher label than their host's day had: it has that label now.
	Raised int64 `json:"raised,omitempty"`
	// Unclaimed counts events that nobody is responsible for; Withheld those that
	// somebody responsible did not get because of a label.
	Unclaimed int64 `json:"unclaimed"`
	Withheld  int64 `json:"withheld"`
	// Suppressed counts events that nobody was given because those concerned had the host a while
	// ago, on a feed that holds repeats back; events that are withheld as well are not among them.
	Suppressed int64 `json:"held,omitempty"`
	// Disagreements counts events of which publisher and networks table say
	// different countries or AS numbers.
	Disagreements int64 `json:"disagreements,omitempty"`
	// Collections counts events by the collection they entered, unclaimed and
	// the publisher's own feed collection left out.
	Collections   map[string]int64 `json:"collections"`
	Problems      []Problem        `json:"problems,omitempty"`
	ProblemsTotal int64            `json:"problems_total"`
	// Notes are of rows that were taken: fields of theirs that could not be. One note is of all rows with the same fault.
	Notes []Note `json:"notes,omitempty"`
	// Unread are columns and keys that nothing was read from.
	Unread []string `json:"unread,omitempty"`
}

// Note says what of rows that were taken was left out, or read otherwise than it stood there.
type Note struct {
	// Line is the first row's, Rows how many there are, and Example what stood in the first.
	Line    int    `json:"line"`
	Rows    int64  `json:"rows"`
	Column  string `json:"column,omitempty"`
	Reason  string `json:"reason"`
	Example string `json:"example,omitempty"`
}

func (n Note) String() string {
	p := Problem{Line: n.Line, Column: n.Column, Reason: n.Reason}
	text := p.String()
	if n.Example != "" {
		text += fmt.Sprintf(" (%q)", n.Example)
	}
	if n.Rows > 1 {
		text += fmt.Sprintf(", in %d rows", n.Rows)
	}
	return text
}

// AddNote lists a note, or adds it to the one that says the same of other rows.
func (r *Receipt) AddNote(n Note) { r.Notes = AddNote(r.Notes, n) }

// AddNote adds a note to a list that has one for each column and reason, at most MaxNotes.
func AddNote(list []Note, n Note) []Note {
	n.Rows = max(n.Rows, 1)
	for i := range list {
		if have := &list[i]; have.Column == n.Column && have.Reason == n.Reason {
			have.Rows += n.Rows
			return list
		}
	}
	if len(list) < MaxNotes {
		list = append(list, n)
	}
	return list
}

// MaxNotes is how many notes a receipt lists, and how many columns that nothing was read from.
const MaxNotes = 100

// AddUnread lists a column or key that nothing is read from, once.
func (r *Receipt) AddUnread(name string) {
	if !slices.Contains(r.Unread, name) && len(r.Unread) < MaxNotes {
		r.Unread = append(r.Unread, name)
	}
}

// AddProblem counts a rejected row and lists it while there is room. A key that every row
// lacks is one problem of many rows.
func (r *Receipt) AddProblem(p Problem) {
	r.ProblemsTotal++
	r.list(p)
}

func (r *Receipt) list(p Problem) {
	if n := len(r.Problems); n > 0 && p.follows(&r.Problems[n-1]) {
		last := &r.Problems[n-1]
		last.Rows = max(last.Rows, 1) + max(p.Rows, 1)
	} else if n < MaxProblems {
		r.Problems = append(r.Problems, p)
	}
}

// Add adds the counts of another receipt of the same feed.
func (r *Receipt) Add(o *Receipt) {
	if o.ID != "" {
		r.Receipts = append(r.Receipts, o.ID)
	}
	r.Receipts = append(r.Receipts, o.Receipts...)
	r.Rows += o.Rows
	r.Events += o.Events
	r.Rejected += o.Rejected
	r.Duplicates += o.Duplicates
	r.Raised += o.Raised
	r.Unclaimed += o.Unclaimed
	r.Withheld += o.Withheld
	r.Suppressed += o.Suppressed
	r.Disagreements += o.Disagreements
	if r.Collections == nil {
		r.Collections = make(map[string]int64)
	}
	for c, n := range o.Collections {
		r.Collections[c] += n
	}
	r.ProblemsTotal += o.ProblemsTotal
	for _, p := range o.Problems {
		r.list(p)
	}
	for _, n := range o.Notes {
		r.AddNote(n)
	}
	for _, name := range o.Unread {
		r.AddUnread(name)
	}
}

// HostDay names a host on a UTC day, within a feed.
type HostDay struct {
	Address netip.Addr
	Day     Day
}

// ObservationKey names one observation: a host on a UTC day at a location, within a feed. A host that is
// seen at two locations on a day has two, each for the team that is responsible there. What is exposed
// there is an observation of its own (Event.Exposed).
type ObservationKey struct {
	HostDay
	ASN     uint32
	Country string
	Exposed string
}

// At is the host's day at a location.
func (h HostDay) At(l Location) ObservationKey {
	return ObservationKey{HostDay: h, ASN: l.ASN, Country: l.Country}
}

// Located tells whether anything is known of where the host was.
func (k ObservationKey) Located() bool { return k.ASN != 0 || k.Country != "" }

// Compare orders observations by host, day and location.
func (k ObservationKey) Compare(o ObservationKey) int {
	return cmp.Or(k.HostDay.Compare(o.HostDay), cmp.Compare(k.ASN, o.ASN), cmp.Compare(k.Country, o.Country), cmp.Compare(k.Exposed, o.Exposed))
}

// Compare orders hosts by address, and days of one.
func (h HostDay) Compare(o HostDay) int {
	return cmp.Or(h.Address.Compare(o.Address), cmp.Compare(h.Day, o.Day))
}
