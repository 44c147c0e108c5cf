package report

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// misp is a MISP event. A host is an ip-src, alone or in an object that says how
// it called; an ip-dst is where hosts called. In a document, where all of an event
// is one member, attributes are counted instead.
type misp struct {
	document bool
	count    int
}

type mispEvent struct {
	Info      scalar          `json:"info"`
	UUID      scalar          `json:"uuid"`
	Timestamp scalar          `json:"timestamp"`
	Date      scalar          `json:"date"`
	Share     scalar          `json:"distribution"`
	Tags      []mispTag       `json:"Tag"`
	Attribute []mispAttribute `json:"Attribute"`
	Object    []struct {
		UUID      scalar          `json:"uuid"`
		Name      scalar          `json:"name"`
		Timestamp scalar          `json:"timestamp"`
		FirstSeen scalar          `json:"first_seen"`
		LastSeen  scalar          `json:"last_seen"`
		Deleted   flag            `json:"deleted"`
		Share     scalar          `json:"distribution"`
		Attribute []mispAttribute `json:"Attribute"`
	} `json:"Object"`
	Orgc struct {
		UUID scalar `json:"uuid"`
		Name scalar `json:"name"`
	} `json:"Orgc"`
}

type mispAttribute struct {
	UUID      scalar    `json:"uuid"`
	Type      scalar    `json:"type"`
	Relation  scalar    `json:"object_relation"`
	Value     scalar    `json:"value"`
	Timestamp scalar    `json:"timestamp"`
	FirstSeen scalar    `json:"first_seen"`
	LastSeen  scalar    `json:"last_seen"`
	Category  scalar    `json:"category"`
	Comment   scalar    `json:"comment"`
	ToIDs     flag      `json:"to_ids"`
	Deleted   flag      `json:"deleted"`
	Share     scalar    `json:"distribution"`
	Tags      []mispTag `json:"Tag"`
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
		e.host(m.line(line), &e.Attribute[i], nil, "", "", to)
	}
	for i := range e.Object {
		o := &e.Object[i]
		if o.Deleted {
			continue
		}
		for j := range o.Attribute {
			e.host(m.line(line), &o.Attribute[j], o.Attribute, o.FirstSeen, o.Share, to)
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

// host adds an attribute, if it is a host; beside are those of its object, seen and share what that says.
func (e *mispEvent) host(line int, a *mispAttribute, beside []mispAttribute, seen, share scalar, to *found) {
	address, port := string(a.Value), ""
	switch {
	case bool(a.Deleted):
		return
	case a.Type == "ip-src|port":
		address, port, _ = strings.Cut(address, "|")
	case a.Type != "ip-src":
		return
	}
	d := newDraft(line)
	address, err := single(address)
	if err != nil {
		to.problem(rowError(line, "ip-src", "%v", err))
		return
	}
	d.set("ip", "ip-src", scalar(address))
	d.set("port", "ip-src|port", scalar(port))
	for _, t := range []struct{ name, at scalar }{
		{"last_seen", a.LastSeen}, {"first_seen", a.FirstSeen}, {"first_seen", seen}, {"timestamp", unixTime(a.Timestamp)}, {"timestamp", unixTime(e.Timestamp)},
	} {
		if d.Observed.IsZero() {
			d.set("timestamp", string(t.name), t.at)
		}
	}
	for i := range beside {
		b := &beside[i]
		if field := mispRelations[string(b.Relation)]; field != "" && !bool(b.Deleted) {
			d.set(field, string(b.Relation), b.Value)
			d.labels(b.Tags)
			d.shared(b.Share, share, e.Share)
		}
	}
	d.shared(a.Share, share, e.Share)
	d.set("provider", "Orgc.name", e.Orgc.Name)
	d.set("id", "uuid", a.UUID)
	for _, tags := range [][]mispTag{a.Tags, e.Tags} {
		d.labels(tags)
		d.family(tags)
	}
	d.end(to)
}

// mispRelations are the attributes of an object beside its ip-src, by relation.
var mispRelations = map[string]string{
	"src-port": "port", "ip-dst": "dst_ip", "dst-port": "dst_port", "layer4-protocol": "protocol", "layer7-protocol": "application",
	"hostname-src": "hostname", "asn": "asn", "country-code": "cc", "first-packet-seen": "timestamp",
}

// labels raises the label to the highest of the tags: what a value was taken from restricts it.
func (d *draft) labels(tags []mispTag) {
	for _, t := range tags {
		l, ok := stix.LabelIn(string(t.Name))
		if !ok && d.err == nil {
			d.err = rowError(d.Line, "Tag", "%.60q looks like a TLP label and is none that is known here", string(t.Name))
		}
		d.Label = max(d.Label, l)
	}
}

// shared raises the row's floor to what a distribution means: of the attribute, of its object, and of the event.
//
// Source: MISP's distribution levels. 0 (one organisation) and 4 (a sharing group) are TLP:AMBER+STRICT at least, 1 (a
// community) and 2 (those connected to it) TLP:GREEN, 3 (all communities) as marked, 5 is that of what is around it.
func (d *draft) shared(list ...scalar) {
	for _, s := range list {
		floor, inherits := tlp.None, false
		switch s {
		case "", "5":
			inherits = true
		case "3":
		case "0", "4":
			floor = tlp.AmberStrict
		case "1", "2":
			floor = tlp.Green
		default:
			floor = tlp.Red // of a level that is not known here
		}
		d.Floor = max(d.Floor, floor)
		if !inherits {
			return
		}
	}
}

// family reads the malware from the tags of galaxies, the first that names one.
func (d *draft) family(tags []mispTag) {
	for _, t := range tags {
		galaxy, family, ok := strings.Cut(strings.TrimSuffix(string(t.Name), `"`), `="`)
		if ok && d.Malware == "" && strings.HasPrefix(galaxy, "misp-galaxy:") && mispFamilies[strings.TrimPrefix(galaxy, "misp-galaxy:")] {
			d.set("malware", "Tag", scalar(family))
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
