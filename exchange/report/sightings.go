package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Sightings turns STIX objects into the events that reading a source of them gives, page after page. What objects refer to can
// be on the page before: it remembers addresses and malware, and the traffic of one page. It is for one goroutine.
type Sightings struct {
	s         *stixObjects
	found     found
	addresses map[string]string // by id
	malware   map[string]*stixObject
	labels    map[string]tlp.Level
	left      int
	reasons   []exchange.Note
}

// Sighting is an event, and what its object says besides.
type Sighting struct {
	exchange.Event
	Operation string
	Relapse   bool
}

// NewSightings begins with nothing.
func NewSightings() *Sightings {
	x := &Sightings{addresses: make(map[string]string), malware: make(map[string]*stixObject), labels: make(map[string]tlp.Level)}
	x.begin(nil)
	return x
}

// begin makes room for a page.
func (x *Sightings) begin(before *stixObjects) {
	x.s = newSTIX(stixTable.with(Options{Keep: true}).row(nil))
	x.s.unchecked, x.s.known = true, x
	if before == nil {
		return
	}
	x.s.seen, x.s.statements = before.seen, before.statements
	for _, o := range before.order {
		if !o.carried && !o.refused && (o.Type == "network-traffic" || o.Type == "indicator" && o.waits) {
			o.carried, o.waits = true, false
			x.s.byID[o.ID] = o
			x.s.order = append(x.s.order, o)
		}
	}
}

// Add takes an object of the page.
func (x *Sightings) Add(raw []byte) { x.s.value(1, raw, &x.found) }

// Page ends a page, and gives what its objects tell of. Where it is not the last, indicators wait for the next one, which can
// say what they are of.
func (x *Sightings) Page(last bool, each func(*Sighting) error) error {
	for _, o := range x.s.order {
		o.waits = !last && o.Type == "indicator" && !o.carried
	}
	x.s.read(&x.found)
	for id, o := range x.s.byID {
		switch {
		case o.refused:
			continue
		case o.isHost():
			x.addresses[id] = o.Value
		case o.Type == "malware":
			x.malware[id] = o
		}
		if l := x.s.said(id); l > tlp.None {
			x.labels[id] = l
		}
	}
	for i := range x.found.rows {
		r := &x.found.rows[i]
		if r.err != nil {
			x.left++
			_, reason, _ := strings.Cut(r.err.Error(), ": ")
			x.reasons = exchange.AddNote(x.reasons, exchange.Note{Reason: reason})
			continue
		}
		s := Sighting{Event: r.ev}
		if r.of != nil {
			s.Operation, s.Relapse = string(r.of.Extensions[exchange.HostEvidenceID].Operation), slices.Contains(r.of.Labels, "relapse")
		}
		if err := each(&s); err != nil {
			return err
		}
	}
	x.found.rows = x.found.rows[:0]
	x.begin(x.s)
	return nil
}

// Left returns how many objects tell of a host that could not be made an event, and why.
func (x *Sightings) Left() (n int, why []exchange.Note) { return x.left, x.reasons }

// get returns what is known under an id from pages before.
func (x *Sightings) get(id string) *stixObject {
	if m := x.malware[id]; m != nil {
		return m
	}
	value, known := x.addresses[id]
	if !known {
		return nil
	}
	typ, _, _ := strings.Cut(id, "--")
	return &stixObject{ID: id, Type: typ, Value: value}
}

// SightingColumns are the columns of a sighting as a row: those that a CSV of events is read from, then what an event does not
// have.
func SightingColumns() []string {
	return strings.Fields("ip email timestamp first_seen port asn cc hostname malware protocol application provider dst_ip dst_port exposed count tlp id operation relapse extra")
}

// Row is the sighting under SightingColumns.
func (s *Sighting) Row() []string {
	number := func(n int64) string {
		if n == 0 {
			return ""
		}
		return strconv.FormatInt(n, 10)
	}
	row := make([]string, 0, 21)
	if s.Account != "" {
		row = append(row, "", s.Account)
	} else {
		row = append(row, s.Address.String(), "")
	}
	first, dst, label, relapse := "", "", "", ""
	if !s.First.IsZero() {
		first = s.First.Format(stix.TimeLayout)
	}
	if s.Dst.IsValid() {
		dst = s.Dst.String()
	}
	if s.Label != tlp.None {
		label = "tlp:" + s.Label.String()
	}
	if s.Relapse {
		relapse = "true"
	}
	transport, application, _ := strings.Cut(s.Protocol, " ")
	return append(row, s.Observed.Format(stix.TimeLayout), first, number(int64(s.Port)), number(int64(s.ASN)), s.Country, s.Hostname, s.Malware, transport, application,
		s.Provider, dst, number(int64(s.DstPort)), s.Exposed, number(s.Count), label, s.PublisherID, s.Operation, relapse, s.Extra)
}
