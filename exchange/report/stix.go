package report

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// maxRemembered is how many STIX objects of a source are remembered until it
// ends, when it is known what refers to what.
const maxRemembered = 200_000

// stixObjects reads STIX 2.1 objects. A host is an address that observed-data
// refers to and that nothing called; or that an indicator of compromise names, where no
// observed-data of the source is about the address. Of several versions the newest counts, under
// the highest label of all.
type stixObjects struct {
	byID   map[string]*stixObject
	order  []*stixObject // each once, as they came
	heads  []*stix.Head
	lines  []int                // of the heads
	labels map[string]tlp.Level // by id: the highest of all versions
	// statements are markings that say nothing about who may read, by id in lower case.
	statements map[string]bool
	seen       map[netip.Addr]bool

	// context is what reports say of what they list, and what a host's malware was taken from, of the host.
	context map[string]tlp.Level
	calls   map[string]*stixObject // network-traffic, by who called
	called  map[string]bool        // who was called, and calls nobody
}

// stixObject is what is read of an object.
type stixObject struct {
	line    int
	refused bool // a version of it is marked with what is not known here

	ID         string  `json:"id"`
	Type       string  `json:"type"`
	Value      string  `json:"value"`
	Name       string  `json:"name"`
	Refs       scalars `json:"object_refs"`
	First      scalar  `json:"first_observed"`
	Last       scalar  `json:"last_observed"`
	Number     scalar  `json:"number_observed"`
	Src        string  `json:"src_ref"`
	Dst        string  `json:"dst_ref"`
	SrcPort    scalar  `json:"src_port"`
	DstPort    scalar  `json:"dst_port"`
	Protocols  scalars `json:"protocols"`
	Pattern    string  `json:"pattern"`
	ValidFrom  scalar  `json:"valid_from"`
	Kind       string  `json:"relationship_type"`
	Source     string  `json:"source_ref"`
	Modified   string  `json:"modified"`
	Revoked    bool    `json:"revoked"`
	Kinds      scalars `json:"indicator_types"`
	Target     string  `json:"target_ref"`
	SightingOf string  `json:"sighting_of_ref"`
	Observed   scalars `json:"observed_data_refs"`
	Extensions map[string]struct {
		Country scalar `json:"country"`
		ASN     scalar `json:"asn"`
		Malware scalar `json:"malware"`
	} `json:"extensions"`

	malware string // its name
}

func newSTIX() *stixObjects {
	return &stixObjects{statements: make(map[string]bool), byID: make(map[string]*stixObject), labels: make(map[string]tlp.Level), seen: make(map[netip.Addr]bool)}
}

func (s *stixObjects) value(line int, raw []byte, to *found) {
	head, err := stix.ParseHead(raw)
	if err != nil {
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	}
	if head.Type == "bundle" {
		to.problem(rowError(line, "", "a bundle among objects: send each bundle as a source of its own"))
		return
	}
	o := &stixObject{line: line}
	if err := json.Unmarshal(raw, o); err != nil {
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	}
	if len(s.heads) >= maxRemembered {
		to.problem(fileError(line, "more than %d STIX objects: send them in parts", maxRemembered))
		return
	}
	s.heads, s.lines = append(s.heads, &head), append(s.lines, line)
	if head.Spec() == "2.1" {
		if err := lint.Refusal(raw); err != nil {
			to.problem(rowError(line, "", "%v", err))
			return
		}
	}
	if head.Type == "marking-definition" {
		id, statement := strings.ToLower(o.ID), stix.IsHarmless(raw)
		was, again := s.statements[id]
		s.statements[id] = statement && (was || !again)
	}
	have := s.byID[o.ID]
	if have == nil {
		s.byID[o.ID] = o
		s.order = append(s.order, o)
		return
	}
	if have.version().Before(o.version()) {
		*have = *o
	}
}

// label works out the label of each object, once it is known which markings are statements.
func (s *stixObjects) label(to *found) {
	for i, h := range s.heads {
		h.Ignore(s.statements)
		label, err := h.Label()
		if err != nil {
			to.problem(rowError(s.lines[i], "object_marking_refs", "%v", err))
			if o := s.byID[h.ID]; o != nil {
				o.refused = true
			}
		}
		s.labels[h.ID] = max(s.labels[h.ID], label)
	}
}

// version is when the object was modified, zero where it does not say.
func (o *stixObject) version() time.Time {
	at, _ := time.Parse(time.RFC3339Nano, o.Modified) // zero where it is none
	return at
}

func (s *stixObjects) end(to *found) {
	s.label(to)
	s.traffic()
	// What a report says holds for what it lists, and for nothing that this refers to: what many refer to, as to a malware,
	// carries no label from one to the other.
	s.context = make(map[string]tlp.Level)
	for _, h := range s.heads {
		if all, _ := h.Context(); all {
			for _, ref := range h.Refs {
				s.context[ref] = max(s.context[ref], s.labels[h.ID])
			}
		}
	}
	for _, o := range s.order {
		target := s.byID[o.Target]
		switch {
		case o.Type == "relationship" && o.Kind == "indicates" && target != nil && target.Type == "malware":
			s.infected(o.Source, target, o)
		case o.Type == "sighting":
			if m := s.byID[o.SightingOf]; m != nil && m.Type == "malware" {
				for _, id := range o.Observed {
					s.infected(string(id), m, o)
				}
			}
		}
	}
	for _, of := range []struct {
		typ  string
		read func(*stixObject, *found)
	}{{"observed-data", s.sighting}, {"indicator", s.indicator}} {
		for _, o := range s.order {
			switch {
			case o.Type != of.typ || o.refused:
			case o.Revoked:
				to.problem(rowError(o.line, "revoked", "is revoked: it is no sighting"))
			default:
				of.read(o, to)
			}
		}
	}
}

// indicator adds the hosts that a pattern names, and no observed-data is about.
func (s *stixObjects) indicator(o *stixObject, to *found) {
	if len(o.Kinds) > 0 && !slices.Contains(o.Kinds, "compromised") {
		to.problem(rowError(o.line, "indicator_types", "tells of no infected host: compromised is not among them"))
		return
	}
	p, err := pattern.Parse(o.Pattern)
	if err != nil {
		to.problem(rowError(o.line, "pattern", "%v", err))
		return
	}
	for _, address := range p.Addresses() {
		address, err := single(address)
		if err != nil {
			to.problem(rowError(o.line, "pattern", "%v", err))
			continue
		}
		if a, err := netip.ParseAddr(address); err == nil && s.seen[a.Unmap()] {
			continue
		}
		d := newDraft(o.line)
		d.set("ip", "pattern", scalar(address))
		d.set("timestamp", "valid_from", o.ValidFrom)
		s.finish(d, o, to)
	}
}

// infected notes the family that an object is about, the first that says so, and how that
// and who says so are labelled.
func (s *stixObjects) infected(id string, family, by *stixObject) {
	if o := s.byID[id]; o != nil && o.malware == "" {
		o.malware = family.Name
		s.context[id] = max(s.context[id], s.said(family.ID), s.said(by.ID))
	}
}

// about notes an address that observed-data is about, as host or as what was called.
func (s *stixObjects) about(value string) {
	if a, err := netip.ParseAddr(value); err == nil {
		s.seen[a.Unmap()] = true
	}
}

// traffic notes who called whom.
func (s *stixObjects) traffic() {
	s.calls, s.called = make(map[string]*stixObject), make(map[string]bool)
	for _, o := range s.order {
		if o.Type == "network-traffic" && !o.refused {
			s.called[o.Dst] = true
			if s.calls[o.Src] == nil {
				s.calls[o.Src] = o
			}
		}
	}
	for id := range s.calls {
		delete(s.called, id)
	}
}

// sighting adds the hosts of observed-data.
func (s *stixObjects) sighting(o *stixObject, to *found) {
	hosts := 0
	for _, ref := range o.Refs {
		host := s.byID[string(ref)]
		if host == nil || host.Type != "ipv4-addr" && host.Type != "ipv6-addr" {
			continue
		}
		if host.refused {
			hosts++ // that is named already
			continue
		}
		if s.called[host.ID] {
			s.about(host.Value)
			continue
		}
		hosts++
		d := newDraft(o.line)
		address, err := single(host.Value)
		if err != nil {
			to.problem(rowError(o.line, "object_refs", "%v", err))
			continue
		}
		s.about(address)
		d.Label = s.said(host.ID)
		d.set("ip", "object_refs", scalar(address))
		d.set("timestamp", "last_observed", o.Last)
		d.set("count", "number_observed", o.Number)
		for _, x := range o.Extensions {
			d.set("cc", "extensions", x.Country)
			d.set("asn", "extensions", x.ASN)
			d.set("malware", "extensions", x.Malware)
		}
		if traffic := s.calls[host.ID]; traffic != nil {
			d.Label = max(d.Label, s.said(traffic.ID))
			d.set("port", "src_port", traffic.SrcPort)
			d.set("dst_port", "dst_port", traffic.DstPort)
			for i, p := range traffic.Protocols[:min(len(traffic.Protocols), 2)] {
				d.set([]string{"protocol", "application"}[i], "protocols", p)
			}
			if dst := s.byID[traffic.Dst]; dst != nil {
				d.Label = max(d.Label, s.said(dst.ID))
				s.about(dst.Value)
				d.set("dst_ip", "dst_ref", scalar(dst.Value))
			}
		}
		s.finish(d, o, to)
	}
	if hosts == 0 && len(o.Refs) > 0 {
		to.problem(rowError(o.line, "object_refs", "no address among what it refers to"))
	}
}

// said is the highest label that an object carries, or a report gives it.
func (s *stixObjects) said(id string) tlp.Level { return max(s.labels[id], s.context[id]) }

// finish adds what all events of an object have in common.
func (s *stixObjects) finish(d *draft, o *stixObject, to *found) {
	if d.Label = max(d.Label, s.said(o.ID)); d.Label > tlp.Red {
		to.problem(rowError(o.line, "object_marking_refs", "it stands in a context that is marked with what is no TLP marking known here"))
		return
	}
	if d.Malware == "" {
		d.set("malware", "name", scalar(o.malware))
	}
	d.set("id", "id", scalar(o.ID))
	d.end(to)
}
