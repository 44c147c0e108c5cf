package report

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A MISP event as STIX objects has the ids that MISP itself gives them when it pushes: a report of the
// event, and of each attribute and object an indicator where to_ids is set, else an observation, all with
// the UUIDs that they have in MISP.

// MISPEvent returns the text of an event, which stands alone or under "Event" as MISP exports it; ok is
// false where it is something else.
func MISPEvent(raw []byte) (event []byte, ok bool) {
	var outer struct {
		Event     json.RawMessage `json:"Event"`
		UUID      json.RawMessage `json:"uuid"`
		Attribute json.RawMessage `json:"Attribute"`
		Object    json.RawMessage `json:"Object"`
	}
	if json.Unmarshal(raw, &outer) != nil {
		return nil, false
	}
	if outer.Event != nil {
		return outer.Event, true
	}
	return raw, outer.UUID != nil && (outer.Attribute != nil || outer.Object != nil)
}

// MISPObjects makes STIX 2.1 objects of a MISP event, the report first. What has no form in STIX here is
// listed: by its UUID as Column, and Line 0.
func MISPObjects(event []byte) (objects [][]byte, skipped []exchange.Problem, err error) {
	var e mispEvent
	if err := decode(0, event, &e); err != nil {
		return nil, nil, err
	}
	if uuid.Validate(string(e.UUID)) != nil {
		return nil, nil, errors.New("uuid: the event has none")
	}
	if unixTime(e.Timestamp) == "" {
		return nil, nil, errors.New("timestamp: the event has none")
	}
	b := &mispBundle{event: &e, seen: make(map[string]bool)}
	b.all()
	if b.err != nil {
		return nil, nil, b.err
	}
	return b.objects, b.skipped, nil
}

// mispBundle is an event's objects in the making.
type mispBundle struct {
	event   *mispEvent
	objects [][]byte
	refs    []string
	seen    map[string]bool // the addresses and so on that are there
	skipped []exchange.Problem
	err     error
}

func (b *mispBundle) all() {
	e := b.event
	for i := range e.Attribute {
		a := &e.Attribute[i]
		b.one(a.UUID, a.Timestamp, a.FirstSeen, a.LastSeen, "", bool(a.Deleted), []*mispAttribute{a}, a.Comment)
	}
	for i := range e.Object {
		o := &e.Object[i]
		var list []*mispAttribute
		for j := range o.Attribute {
			if a := &o.Attribute[j]; !bool(a.Deleted) || bool(o.Deleted) {
				list = append(list, a)
			}
		}
		b.one(o.UUID, o.Timestamp, o.FirstSeen, o.LastSeen, o.Share, bool(o.Deleted), list, o.Name)
	}
	report := b.common("report", e.UUID, e.Timestamp, e.Tags)
	if day, err := time.Parse(time.DateOnly, string(e.Date)); err == nil && report["created"].(string) > stixTime(day) {
		report["created"] = stixTime(day)
	}
	report["name"], report["published"], report["object_refs"] = cmp.Or(string(e.Info), "MISP event"), report["modified"], b.refs
	if len(b.refs) == 0 {
		b.skip(e.UUID, "there is nothing in the event that has a form in STIX here")
		return
	}
	first := [][]byte{}
	if org := string(e.Orgc.UUID); uuid.Validate(org) == nil {
		const ever = "1970-01-01T00:00:00.000Z" // MISP says nothing of when it changed
		first = append(first, b.text(map[string]any{
			"type": "identity", "spec_version": "2.1", "id": "identity--" + strings.ToLower(org), "created": ever, "modified": ever,
			"name": cmp.Or(string(e.Orgc.Name), org), "identity_class": "organization",
		}))
	}
	b.objects = slices.Concat(first, [][]byte{b.text(report)}, b.objects)
}

func (b *mispBundle) skip(id scalar, why string) {
	b.skipped = append(b.skipped, exchange.Problem{Column: string(id), Reason: why})
}

func (b *mispBundle) text(object map[string]any) []byte {
	text, err := json.Marshal(object)
	b.err = errors.Join(b.err, err)
	return text
}

func stixTime(t time.Time) string { return string(stix.AppendTime(nil, t)) }

// common are the properties of every object.
func (b *mispBundle) common(typ string, id, timestamp scalar, tags []mispTag, shares ...scalar) map[string]any {
	at := b.event.Timestamp
	if unixTime(timestamp) != "" {
		at = timestamp
	}
	n, _ := strconv.ParseInt(string(at), 10, 64)
	o := map[string]any{"type": typ, "spec_version": "2.1", "id": typ + "--" + strings.ToLower(string(id)), "created": stixTime(time.Unix(n, 0)), "modified": stixTime(time.Unix(n, 0))}
	if org := string(b.event.Orgc.UUID); uuid.Validate(org) == nil {
		o["created_by_ref"] = "identity--" + strings.ToLower(org)
	}
	var labels []string
	// It goes no further than MISP would let it.
	highest := distributed(append(shares, b.event.Share)...)
	for _, t := range tags {
		name := string(t.Name)
		if l, err := tlp.Parse(strings.ToLower(name)); err == nil && strings.HasPrefix(strings.ToLower(name), "tlp:") {
			highest = max(highest, l)
		}
		if name != "" && !slices.Contains(labels, name) {
			labels = append(labels, name) // a label that looks like TLP and is none is for the exchange to judge
		}
	}
	if labels != nil {
		o["labels"] = labels
	}
	if highest != tlp.None {
		o["object_marking_refs"] = []string{highest.MarkingID()}
	}
	return o
}

// one makes what an attribute or object is in STIX.
func (b *mispBundle) one(id, timestamp, first, last, share scalar, deleted bool, list []*mispAttribute, about scalar) {
	if uuid.Validate(string(id)) != nil {
		b.skip(id, "it has no uuid")
		return
	}
	var tags []mispTag
	var shares []scalar
	var tests []string
	var scos []map[string]any
	add := func(test string, sco map[string]any) {
		if test != "" {
			tests = append(tests, test)
		}
		if sco != nil && !slices.ContainsFunc(scos, func(o map[string]any) bool { return o["id"] == sco["id"] }) {
			scos = append(scos, sco)
		}
	}
	ids := false
	var flow mispFlow
	for _, a := range list {
		tags, shares = append(tags, a.Tags...), append(shares, a.Share, share)
		ids = ids || bool(a.ToIDs)
		if flow.take(a) {
			continue
		}
		if key, value, two := strings.Cut(string(a.Value), "|"); a.Type == "regkey|value" && two {
			add(mispRegistry(key, value))
			continue
		}
		values := []string{string(a.Value)}
		types := []string{string(a.Type)}
		if before, behind, two := strings.Cut(string(a.Type), "|"); two {
			types = []string{before, behind}
			values = strings.SplitN(string(a.Value), "|", 2)
		}
		for i := range values {
			if i >= len(types) {
				break
			}
			if test, sco := mispValue(types[i], values[i]); test != "" {
				add(test, sco)
			} else if len(list) > 1 || mispRules[types[i]] == "" && types[i] != "vulnerability" {
				b.skip(a.UUID, fmt.Sprintf("%.80q has no form in STIX here", types[i]))
			}
		}
	}
	flow.end(add)
	switch rule := mispRules[string(list0(list).Type)]; {
	case rule != "" && len(list) == 1:
		o := b.common("indicator", id, timestamp, tags, shares...)
		b.indicator(o, nil, first, last, about, list)
		b.pattern(o, rule, string(list[0].Value))
	case list0(list).Type == "vulnerability" && len(list) == 1:
		o := b.common("vulnerability", id, timestamp, tags, shares...)
		o["name"] = string(list[0].Value)
		if mispCVE.MatchString(string(list[0].Value)) {
			o["external_references"] = []map[string]string{{"source_name": "cve", "external_id": string(list[0].Value)}}
		}
		b.add(o)
	case len(tests) == 0:
		return // why is said
	case ids:
		b.indicator(b.common("indicator", id, timestamp, tags, shares...), tests, first, last, about, list)
	case len(scos) == 0:
		b.skip(id, "there is nothing that could be observed in it")
		return
	default:
		b.observed(b.common("observed-data", id, timestamp, tags, shares...), scos, first, last)
	}
	if o := len(b.objects) - 1; deleted {
		b.objects[o] = append(b.objects[o][:len(b.objects[o])-1], `,"revoked":true}`...)
	}
	of := b.refs[len(b.refs)-1]
	for _, a := range list {
		b.sightings(of, a.Sightings)
	}
}

func list0(list []*mispAttribute) *mispAttribute {
	if len(list) == 0 {
		return new(mispAttribute)
	}
	return list[0]
}

// mispRules are the types of attributes that are rules of their own, and the pattern type of each (STIX 2.1 section 10.17).
var mispRules = map[string]string{"yara": "yara", "snort": "snort", "sigma": "sigma", "suricata": "suricata"}

var mispCVE = regexp.MustCompile(`^CVE-\d{4}-(0\d{3}|[1-9]\d{3,})$`)

func (b *mispBundle) indicator(o map[string]any, tests []string, first, last, about scalar, list []*mispAttribute) {
	o["pattern"], o["pattern_type"] = "["+strings.Join(slices.Compact(tests), " AND ")+"]", "stix"
	o["indicator_types"] = []string{"malicious-activity"}
	o["valid_from"] = o["created"]
	if at, ok := mispTime(first); ok {
		o["valid_from"] = stixTime(at)
		if until, ok := mispTime(last); ok && until.After(at) {
			o["valid_until"] = stixTime(until)
		}
	}
	if about != "" {
		o["name"] = string(about)
	}
	if phase := string(list[0].Category); phase != "" {
		o["kill_chain_phases"] = []map[string]string{{"kill_chain_name": "misp-category", "phase_name": phase}}
	}
	b.add(o)
}

func (b *mispBundle) observed(o map[string]any, scos []map[string]any, first, last scalar) {
	var refs []string
	for _, s := range scos {
		id := s["id"].(string)
		refs = append(refs, id)
		if !b.seen[id] {
			b.seen[id] = true
			b.refs = append(b.refs, id)
			b.objects = append(b.objects, b.text(s))
		}
	}
	o["first_observed"], o["last_observed"] = o["created"], o["created"]
	if at, ok := mispTime(first); ok {
		o["first_observed"], o["last_observed"] = stixTime(at), stixTime(at)
		if until, ok := mispTime(last); ok && until.After(at) {
			o["last_observed"] = stixTime(until)
		}
	}
	o["number_observed"], o["object_refs"] = 1, refs
	b.add(o)
}

// pattern makes the last object an indicator of a rule that is no STIX pattern.
func (b *mispBundle) pattern(o map[string]any, typ, rule string) {
	o["pattern"], o["pattern_type"] = rule, typ
	b.objects[len(b.objects)-1] = b.text(o)
}

func (b *mispBundle) add(o map[string]any) {
	b.refs = append(b.refs, o["id"].(string))
	b.objects = append(b.objects, b.text(o))
}

// sightings adds what others say of an object: that they saw it, or that it is none.
func (b *mispBundle) sightings(of string, list []mispSighting) {
	for i := range list {
		s := &list[i]
		if uuid.Validate(string(s.UUID)) != nil || unixTime(s.Date) == "" {
			b.skip(s.UUID, "a sighting without uuid or date")
			continue
		}
		switch s.Type {
		case "", "0":
			o := b.common("sighting", s.UUID, s.Date, nil)
			o["sighting_of_ref"], o["first_seen"], o["last_seen"], o["count"] = of, o["created"], o["created"], 1
			b.add(o)
		case "1":
			o := b.common("opinion", s.UUID, s.Date, nil)
			o["opinion"], o["explanation"], o["object_refs"] = "strongly-disagree", "false positive", []string{of}
			b.add(o)
		default:
			b.skip(s.UUID, fmt.Sprintf("a sighting of type %.10q has no form in STIX here", string(s.Type)))
		}
	}
}

// mispTime reads first_seen and last_seen.
func mispTime(s scalar) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, string(s))
	return t.UTC(), err == nil
}
