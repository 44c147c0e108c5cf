package report

import (
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// What a MISP feed of Tocsin says of a host, and what MISP's core format has no place for:
//
//	address, newest source port   ip-src, ip-src|port
//	first and last sighting       first_seen, last_seen
//	label                         tag tlp:…; but an event with something AMBER is for one organisation, so all of it is AMBER+STRICT here
//	what is exposed               tag tocsin:exposed="…"
//	malware                       the event's galaxy: that of the feed, not the row's own word
//	publisher                     Orgc of the event
//	country, AS number, the row's malware, how often, destination   in the comment, for people: not read
//	other contacts, hostname, protocol, extra                       nowhere
//
// misp is a MISP event. A host is an ip-src, alone or in an object that says how
// it called; an ip-dst is where hosts called. In a document, where all of an event
// is one member, attributes are counted instead.
type misp struct {
	document bool
	count    int
	row      *row
}

// mispTable has the names of an attribute, of its object (behind "object."), of its event (behind "event."), and the
// relations of what stands with it in its object (behind "with.").
var mispTable = table{names: []names{
	{"ip", []string{"ip-src"}},
	{"timestamp", []string{"last_seen", "object.last_seen", "with.last-packet-seen", "first_seen", "object.first_seen", "with.first-packet-seen", "timestamp", "event.timestamp"}},
	{"first_seen", []string{"since", "object.since"}},
	{"port", []string{"with.src-port", "ip-src|port"}},
	{"asn", []string{"with.asn"}},
	{"cc", []string{"with.country-code"}},
	{"hostname", []string{"with.hostname-src"}},
	{"malware", []string{"tag: galaxy"}},
	{"protocol", []string{"with.layer4-protocol"}},
	{"application", []string{"with.layer7-protocol"}},
	{"provider", []string{"orgc.name"}},
	{"dst_ip", []string{"with.ip-dst"}},
	{"dst_port", []string{"with.dst-port"}},
	{"exposed", []string{mispExposed}},
	{"id", []string{"uuid"}},
}}

// mispExposed is the tag of what is exposed, and no infection.
const mispExposed = "tocsin:exposed"

type mispEvent struct {
	Info      scalar          `json:"info"`
	UUID      scalar          `json:"uuid"`
	Timestamp scalar          `json:"timestamp"`
	Date      scalar          `json:"date"`
	Share     scalar          `json:"distribution"`
	Tags      []mispTag       `json:"Tag"`
	Attribute []mispAttribute `json:"Attribute"`
	Object    []mispObject    `json:"Object"`
	Orgc      struct {
		UUID scalar `json:"uuid"`
		Name scalar `json:"name"`
	} `json:"Orgc"`
}

type mispObject struct {
	UUID      scalar          `json:"uuid"`
	Name      scalar          `json:"name"`
	Timestamp scalar          `json:"timestamp"`
	FirstSeen scalar          `json:"first_seen"`
	LastSeen  scalar          `json:"last_seen"`
	Deleted   flag            `json:"deleted"`
	Share     scalar          `json:"distribution"`
	Attribute []mispAttribute `json:"Attribute"`
}

type mispAttribute struct {
	UUID      scalar         `json:"uuid"`
	Type      scalar         `json:"type"`
	Relation  scalar         `json:"object_relation"`
	Value     scalar         `json:"value"`
	Timestamp scalar         `json:"timestamp"`
	FirstSeen scalar         `json:"first_seen"`
	LastSeen  scalar         `json:"last_seen"`
	Category  scalar         `json:"category"`
	Comment   scalar         `json:"comment"`
	ToIDs     flag           `json:"to_ids"`
	Deleted   flag           `json:"deleted"`
	Share     scalar         `json:"distribution"`
	Tags      []mispTag      `json:"Tag"`
	Sightings []mispSighting `json:"Sighting"`
}

// mispSighting says that something was seen, type 0, that it is a false positive, 1, or when it ends, 2.
type mispSighting struct {
	UUID scalar `json:"uuid"`
	Type scalar `json:"type"`
	Date scalar `json:"date_sighting"`
}

type mispTag struct {
	Name scalar `json:"name"`
}

func (*misp) end(*found) {}

func (m *misp) value(line int, raw []byte, to *found) {
	var outer struct {
		Event jsontext.Value `json:"Event"`
	}
	err := decode(line, raw, &outer)
	if err == nil && outer.Event != nil {
		raw = outer.Event
	}
	var e mispEvent
	if err == nil {
		err = decode(line, raw, &e)
	}
	if err != nil {
		to.problem(err)
		return
	}
	before := len(to.rows)
	for i := range e.Attribute {
		m.host(&e, m.line(line), &e.Attribute[i], new(mispObject), to)
	}
	for i := range e.Object {
		o := &e.Object[i]
		if o.Deleted {
			continue
		}
		for j := range o.Attribute {
			m.host(&e, m.line(line), &o.Attribute[j], o, to)
		}
	}
	if len(to.rows) == before {
		to.problem(rowError(line, "Attribute", "no ip-src in the event"))
	}
}

func (m *misp) line(line int) int {
	if m.document {
		m.count++
		return m.count
	}
	return line
}

// host adds an attribute, if it is a host. Others of its object say what was seen of it.
func (m *misp) host(e *mispEvent, line int, a *mispAttribute, in *mispObject, to *found) {
	address, port := string(a.Value), ""
	switch {
	case bool(a.Deleted):
		return
	case a.Type == "ip-src|port":
		address, port, _ = strings.Cut(address, "|")
	case a.Type != "ip-src":
		if !mispRead(string(a.Relation), in) {
			to.notes = exchange.AddNote(to.notes, exchange.Note{Line: line, Column: short(string(a.Type)), Reason: "attributes of this type are not read"})
		}
		return
	}
	w := m.row.clone()
	address, err := single(address)
	if err != nil {
		w.fail("ip-src", "%v", err)
	}
	w.add("ip-src", []byte(address))
	w.add("ip-src|port", []byte(port))
	w.add("last_seen", []byte(a.LastSeen))
	w.add("first_seen", []byte(a.FirstSeen))
	w.add("object.last_seen", []byte(in.LastSeen))
	w.add("object.first_seen", []byte(in.FirstSeen))
	w.add("since", []byte(a.FirstSeen)) // where it is not the time itself
	w.add("object.since", []byte(in.FirstSeen))
	w.add("timestamp", []byte(unixTime(a.Timestamp)))
	w.add("event.timestamp", []byte(unixTime(e.Timestamp)))
	for i := range in.Attribute {
		b := &in.Attribute[i]
		if mispRead(string(b.Relation), in) && !bool(b.Deleted) {
			w.add("with."+string(b.Relation), []byte(b.Value))
			w.labels(b.Tags)
			w.shared(b.Share, in.Share, e.Share)
		}
	}
	w.shared(a.Share, in.Share, e.Share)
	w.add("orgc.name", []byte(e.Orgc.Name))
	w.add("uuid", []byte(a.UUID))
	for _, tags := range [][]mispTag{a.Tags, e.Tags} {
		w.labels(tags)
		w.family(tags)
	}
	w.event(line, to)
}

// mispRead tells whether an attribute of an object says something of the host that it stands with.
func mispRead(relation string, in *mispObject) bool {
	return in.Attribute != nil && slices.ContainsFunc(mispTable.names, func(n names) bool { return slices.Contains(n.from, "with."+relation) })
}

// labels raises the label to the highest of the tags: what a value was taken from restricts it.
func (w *row) labels(tags []mispTag) {
	for _, t := range tags {
		l, ok := stix.LabelIn(string(t.Name))
		if !ok {
			w.fail("Tag", "%.60q looks like a TLP label and is none that is known here", string(t.Name))
		}
		w.label = max(w.label, l)
	}
}

// shared raises the row's floor to what a distribution means: of the attribute, of its object, and of the event.
//
// Source: MISP's distribution levels. 0 (one organisation) and 4 (a sharing group) are TLP:AMBER+STRICT at least, 1 (a
// community) and 2 (those connected to it) TLP:GREEN, 3 (all communities) as marked, 5 is that of what is around it.
// An attribute goes no further than its object and its event, so all three count.
func (w *row) shared(list ...scalar) { w.floor = max(w.floor, distributed(list...)) }

// distributed is the least label that distributions mean.
func distributed(list ...scalar) (least tlp.Level) {
	for _, s := range list {
		floor := tlp.None
		switch s {
		case "", "5", "3":
		case "0", "4":
			floor = tlp.AmberStrict
		case "1", "2":
			floor = tlp.Green
		default:
			floor = tlp.Red // of a level that is not known here
		}
		least = max(least, floor)
	}
	return least
}

// family reads the malware from the tags of galaxies, the first that names one.
func (w *row) family(tags []mispTag) {
	for _, t := range tags {
		galaxy, family, ok := strings.Cut(strings.TrimSuffix(string(t.Name), `"`), `="`)
		switch {
		case ok && galaxy == mispExposed:
			w.add(mispExposed, []byte(family))
		case ok && strings.HasPrefix(galaxy, "misp-galaxy:") && mispFamilies[strings.TrimPrefix(galaxy, "misp-galaxy:")]:
			w.add("tag: galaxy", []byte(family))
		}
	}
}

// mispFamilies are the galaxies of malware.
var mispFamilies = map[string]bool{
	"malpedia": true, "mitre-malware": true, "botnet": true, "banker": true, "rat": true, "stealer": true, "backdoor": true, "ransomware": true, "tool": true,
}

// unixTime is a time in seconds since 1970 as RFC 3339, or "".
func unixTime(s scalar) scalar {
	at, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil || at <= 0 {
		return ""
	}
	return scalar(unix(at))
}
