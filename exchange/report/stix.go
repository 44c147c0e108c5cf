package report

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/lint"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// maxRemembered is how many STIX objects of a source are remembered until it
// ends, when it is known what refers to what.
const maxRemembered = 200_000

// stixObjects reads STIX 2.1 objects, and observed-data of STIX 2.0. A host is an address that observed-data
// refers to and that no other host of it called; or that an indicator of compromise names, where no
// observed-data of the source is about the address. Of several versions the newest counts, under
// the highest label of all.
type stixObjects struct {
	row    *row
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
	traffic map[string][]*stixObject // network-traffic, by who called
	claimed map[string]bool          // network-traffic that observed-data refers to

	unchecked bool       // objects are not held against the standard
	known     *Sightings // what came before, nil for nothing
}

// stixTable has the names that sighting and indicator give to what they find.
var stixTable = table{names: []names{
	{"ip", []string{"value", "pattern"}},
	{emailField, []string{"email-addr"}},
	{"timestamp", []string{"contact.time", "last_observed", "valid_from"}},
	{"first_seen", []string{"first_observed"}},
	{"port", []string{"contact.src_port", "src_port"}},
	{"asn", []string{"extension.asn"}},
	{"cc", []string{"extension.country"}},
	{"hostname", []string{"extension.hostname"}},
	{"malware", []string{"extension.malware", "malware.name"}},
	{"protocol", []string{"extension.protocol", "protocols"}},
	{"application", []string{"extension.protocol[1]", "protocols[1]"}},
	{"provider", []string{"extension.provider"}},
	{"dst_ip", []string{"contact.dst_ip", "dst_ref"}},
	{"dst_port", []string{"contact.dst_port", "dst_port"}},
	{"exposed", []string{"extension.exposed"}},
	{"id", []string{"id"}},
	{"count", []string{"number_observed"}},
}, rules: []rule{
	{"revoked", "true", nothing, "takes it back: it is no sighting", ""},
	{"indicator_types", "compromised", infected, "", ""},
	{"indicator_types", "*", nothing, "tells of no infected host: compromised is not among them", ""},
}}

// stixRead are the types that something is read of.
var stixRead = map[string]bool{
	"observed-data": true, "indicator": true, "ipv4-addr": true, "ipv6-addr": true, "email-addr": true, "network-traffic": true, "malware": true,
	"relationship": true, "sighting": true, "marking-definition": true, "report": true, "grouping": true, "note": true, "opinion": true,
	"identity": true, "location": true, "extension-definition": true, "language-content": true,
}

// stixObject is what is read of an object.
type stixObject struct {
	line    int
	refused bool // a version of it is marked with what is not known here
	carried bool // it is of the page before (Sightings)
	waits   bool // for the next page

	ID         string                   `json:"id"`
	Type       string                   `json:"type"`
	Value      string                   `json:"value"`
	Name       string                   `json:"name"`
	Refs       scalars                  `json:"object_refs"`
	Objects    map[string]*stixObject   `json:"objects"` // of STIX 2.0
	First      scalar                   `json:"first_observed"`
	Last       scalar                   `json:"last_observed"`
	Number     scalar                   `json:"number_observed"`
	Src        string                   `json:"src_ref"`
	Dst        string                   `json:"dst_ref"`
	SrcPort    scalar                   `json:"src_port"`
	DstPort    scalar                   `json:"dst_port"`
	Start      string                   `json:"start"`
	Protocols  scalars                  `json:"protocols"`
	Pattern    string                   `json:"pattern"`
	ValidFrom  scalar                   `json:"valid_from"`
	Kind       string                   `json:"relationship_type"`
	Source     string                   `json:"source_ref"`
	Modified   string                   `json:"modified"`
	Revoked    bool                     `json:"revoked"`
	Kinds      scalars                  `json:"indicator_types"`
	Target     string                   `json:"target_ref"`
	SightingOf string                   `json:"sighting_of_ref"`
	Observed   scalars                  `json:"observed_data_refs"`
	Labels     scalars                  `json:"labels"`
	Extensions map[string]stixExtension `json:"extensions"`

	malware string // its name
}

// stixExtension is what extensions of observed-data say, ours first.
type stixExtension struct {
	Country   scalar         `json:"country"`
	ASN       scalar         `json:"asn"`
	Malware   scalar         `json:"malware"`
	Provider  scalar         `json:"provider"`
	Exposed   scalar         `json:"exposed"`
	Hostname  scalar         `json:"hostname"`
	Protocol  scalar         `json:"protocol"`
	Operation scalar         `json:"operation"`
	Extra     jsontext.Value `json:"extra"`
	Contacts  []stixContact  `json:"contacts"`
}

type stixContact struct {
	Time    scalar `json:"time"`
	SrcPort scalar `json:"src_port"`
	Dst     scalar `json:"dst_ip"`
	DstPort scalar `json:"dst_port"`
}

func newSTIX(w *row) *stixObjects {
	return &stixObjects{
		row: w, statements: make(map[string]bool), byID: make(map[string]*stixObject), labels: make(map[string]tlp.Level), seen: make(map[netip.Addr]bool),
		context: make(map[string]tlp.Level), traffic: make(map[string][]*stixObject), claimed: make(map[string]bool),
	}
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
	if head.Spec() == "2.1" && !s.unchecked {
		for _, p := range lint.Errors(raw) { // which keep nothing of what is needed from being read
			to.notes = exchange.AddNote(to.notes, exchange.Note{Line: line, Column: head.Type, Reason: "is not as the standard has it: " + strings.TrimPrefix(p.String(), "$")})
		}
	}
	if head.Type == "marking-definition" {
		id, statement := strings.ToLower(o.ID), stix.IsHarmless(raw)
		was, again := s.statements[id]
		s.statements[id] = statement && (was || !again)
	}
	have := s.byID[o.ID]
	switch {
	case have == nil:
		s.byID[o.ID] = o
		s.order = append(s.order, o)
	case have.version().Before(o.version()):
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
	if len(s.heads) == 0 {
		return
	}
	before := len(to.rows)
	s.read(to)
	for _, o := range s.order {
		if !stixRead[o.Type] {
			to.notes = exchange.AddNote(to.notes, exchange.Note{Line: o.line, Column: short(o.Type), Reason: "objects of this type are not read"})
		}
	}
	if len(to.rows) == before {
		to.problem(rowError(1, "", "nothing is read from these STIX objects: hosts are in observed-data, or in indicators of compromise, and there are none"))
	}
}

// get returns the object of an id, nil where it is not known.
func (s *stixObjects) get(id string) *stixObject {
	if o := s.byID[id]; o != nil || s.known == nil {
		return o
	}
	return s.known.get(id)
}

// isHost tells whether an object is what can be infected: an address or an account.
func (o *stixObject) isHost() bool {
	return o.Type == "ipv4-addr" || o.Type == "ipv6-addr" || o.Type == "email-addr"
}

// read adds what the objects tell of.
func (s *stixObjects) read(to *found) {
	s.label(to)
	s.join()
	// What a report says holds for what it lists, and for nothing that this refers to: what many refer to, as to a malware,
	// carries no label from one to the other.
	for _, h := range s.heads {
		if all, _ := h.Context(); all {
			for _, ref := range h.Refs {
				s.context[ref] = max(s.context[ref], s.labels[h.ID])
			}
		}
	}
	for _, o := range s.order {
		target := s.get(o.Target)
		switch {
		case o.Type == "relationship" && o.Kind == "indicates" && target != nil && target.Type == "malware":
			s.infected(o.Source, target, o)
		case o.Type == "sighting":
			if m := s.get(o.SightingOf); m != nil && m.Type == "malware" {
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
			if o.Type == of.typ && !o.refused && !o.waits {
				of.read(o, to)
			}
		}
	}
}

// join finds what observed-data refers to: in STIX 2.0 it holds its objects, under names of its own.
func (s *stixObjects) join() {
	for _, o := range slices.Clone(s.order) {
		if o.Type != "observed-data" {
			continue
		}
		own := func(key string) string { return o.ID + " " + key }
		for key, x := range o.Objects {
			if x == nil {
				continue
			}
			x.line, x.ID = o.line, own(key)
			if x.Src != "" {
				x.Src = own(x.Src)
			}
			if x.Dst != "" {
				x.Dst = own(x.Dst)
			}
			s.byID[x.ID] = x
			o.Refs = append(o.Refs, scalar(x.ID))
		}
		slices.Sort(o.Refs[len(o.Refs)-len(o.Objects):])
	}
	for _, o := range s.order {
		if o.Type == "observed-data" {
			for _, ref := range o.Refs {
				s.claimed[string(ref)] = true
				if x := s.byID[string(ref)]; x != nil && o.Objects != nil && x.Type == "network-traffic" {
					s.traffic[x.Src] = append(s.traffic[x.Src], x)
				}
			}
		}
		if o.Type == "network-traffic" && !o.refused {
			s.traffic[o.Src] = append(s.traffic[o.Src], o)
		}
	}
}

// indicator adds the hosts that a pattern names, and no observed-data is about.
func (s *stixObjects) indicator(o *stixObject, to *found) {
	p, err := pattern.Parse(o.Pattern)
	if err != nil {
		to.problem(rowError(o.line, "pattern", "%v", err))
		return
	}
	addresses, emails := p.Addresses(), p.Emails()
	if len(addresses)+len(emails) == 0 {
		to.notes = exchange.AddNote(to.notes, exchange.Note{Line: o.line, Column: "pattern", Reason: "names no host's address: nothing is read from it"})
		return
	}
	host := func(name, value string, err error) {
		w := s.begin(o)
		w.add(name, []byte(value))
		if err != nil {
			w.fail("pattern", "%v", err)
		}
		w.add("valid_from", []byte(o.ValidFrom))
		for _, kind := range o.Kinds {
			w.add("indicator_types", []byte(kind))
		}
		s.finish(w, o, to)
	}
	for _, text := range addresses {
		address, err := single(text)
		if a, err := netip.ParseAddr(address); err == nil && s.seen[a.Unmap()] {
			continue
		}
		host("pattern", address, err)
	}
	for _, email := range emails {
		if account, _, err := exchange.ParseAccount(email); err != nil || !s.seen[exchange.AccountKey(account)] {
			host("email-addr", email, nil)
		}
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

// about notes an address or account that observed-data is about, as host or as what was called.
func (s *stixObjects) about(o *stixObject) {
	if a, err := netip.ParseAddr(o.Value); err == nil {
		s.seen[a.Unmap()] = true
	} else if account, _, err := exchange.ParseAccount(o.Value); err == nil {
		s.seen[exchange.AccountKey(account)] = true
	}
}

// calls lists the traffic of a host in observed-data: what this refers to, else what no observed-data refers to and began
// in its time.
func (s *stixObjects) calls(o *stixObject, host string) (list []*stixObject) {
	for _, t := range s.traffic[host] {
		if slices.Contains(o.Refs, scalar(t.ID)) {
			list = append(list, t)
		}
	}
	if len(list) > 0 {
		return list
	}
	for _, t := range s.traffic[host] {
		if !s.claimed[t.ID] && (t.Start == "" || o.within(t.Start)) {
			return []*stixObject{t}
		}
	}
	return nil
}

// within tells whether observed-data is of a time.
func (o *stixObject) within(text string) bool {
	at, err := parseTime([]byte(text))
	first, err1 := parseTime([]byte(o.First))
	last, err2 := parseTime([]byte(o.Last))
	return err == nil && err1 == nil && err2 == nil && !at.Before(first) && !at.After(last)
}

// hosts lists what observed-data says was seen: its addresses but for those that its traffic, or another of them, called; its accounts, where it has
// no address.
func (s *stixObjects) hosts(o *stixObject) (list []*stixObject) {
	called, calls := make(map[string]bool), make(map[string]bool)
	note := func(t *stixObject) { called[t.Dst], calls[t.Src] = true, true }
	for _, ref := range o.Refs {
		for _, t := range s.traffic[string(ref)] {
			note(t)
		}
		if t := s.byID[string(ref)]; t != nil && t.Type == "network-traffic" && !t.refused {
			note(t)
		}
	}
	for id := range calls { // who is called and calls is a host
		delete(called, id)
	}
	for _, typ := range []string{"ipv4-addr", "ipv6-addr", "email-addr"} {
		for _, ref := range o.Refs {
			x := s.get(string(ref))
			switch {
			case x == nil || x.Type != typ || typ == "email-addr" && len(list) > 0:
			case called[x.ID]:
				s.about(x)
			default:
				list = append(list, x)
			}
		}
	}
	return list
}

// lacksTraffic tells whether observed-data refers to traffic that is not known.
func (s *stixObjects) lacksTraffic(o *stixObject) bool {
	return slices.ContainsFunc(o.Refs, func(ref scalar) bool {
		return strings.HasPrefix(string(ref), "network-traffic--") && s.byID[string(ref)] == nil
	})
}
