// Package lint says what is wrong with STIX 2.1 objects: every problem, with where
// it is, how bad, and the section of the standard that says so. It judges each object
// alone, and a bundle's objects against each other.
package lint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Severity is how bad a problem is.
type Severity string

// An Error is against a requirement of the standard; a Warning is allowed, and
// likely to be misread or refused by others.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one thing that is wrong.
type Problem struct {
	// Path is where, as JSONPath (RFC 9535), from what was given.
	Path     string   `json:"path"`
	Severity Severity `json:"severity"`
	Reason   string   `json:"reason"`
	// Section is that of STIX 2.1.
	Section string `json:"section,omitempty"`
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s: %s", p.Path, p.Severity, p.Reason)
	if p.Section != "" {
		s += " (STIX 2.1, " + p.Section + ")"
	}
	return s
}

// Check reports all problems of a bundle, a TAXII envelope or an object.
func Check(text []byte) []Problem {
	var c checker
	var outer struct {
		Type    string            `json:"type"`
		ID      string            `json:"id"`
		Objects []json.RawMessage `json:"objects"`
	}
	if !json.Valid(text) {
		err := json.Unmarshal(text, &outer)
		c.add("$", Error, "", "is not JSON: %v", err)
		return c.list
	}
	if err := json.Unmarshal(text, &outer); err != nil || outer.Type != "bundle" && outer.Objects == nil {
		return Object(text, "$")
	}
	if outer.Type == "bundle" {
		if typ, err := stix.ParseID(outer.ID); err != nil || typ != "bundle" {
			c.add("$.id", Error, "8", "%.80q is not bundle-- and a UUID", outer.ID)
		}
	}
	ids := make(map[string]string)
	for i, raw := range outer.Objects {
		at := fmt.Sprintf("$.objects[%d]", i)
		c.list = append(c.list, Object(raw, at)...)
		var o struct{ ID, Modified string }
		if json.Unmarshal(raw, &o) != nil {
			continue // that is named already
		}
		key := o.ID + " " + o.Modified
		if first := ids[key]; first != "" {
			c.add(at+".id", Error, "3.3", "%s is in the bundle at %s already, with the same modified", o.ID, first)
		}
		ids[key] = at
	}
	return c.list
}

// Object reports all problems of one object, which stands at a path.
func Object(raw []byte, at string) []Problem {
	c := checker{at: at}
	if _, err := stix.ParseHead(raw); err != nil {
		c.add("", Error, "3.1", "%v", err)
		if !json.Valid(raw) {
			return c.list
		}
	}
	c.text(raw)
	return c.list
}

// maxErrors is how many errors Errors reports.
const maxErrors = 100

// Errors reports the first errors of one object that stix.ParseHead reads, with paths from
// the object; it does not look for what is only a warning.
func Errors(raw []byte) []Problem {
	c := checker{at: "$", errorsOnly: true}
	c.text(raw)
	return c.list
}

// Refusal says why an object that stix.ParseHead reads is not taken: its errors, the first ones
// in words. It is nil where there are none.
func Refusal(raw []byte) error {
	const shown = 10
	problems := Errors(raw)
	if len(problems) == 0 {
		return nil
	}
	var b strings.Builder
	for i, p := range problems[:min(len(problems), shown)] {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(p.String())
	}
	if more := len(problems) - shown; more > 0 {
		fmt.Fprintf(&b, "; and %d more", more)
	}
	return errors.New(b.String())
}

// text checks the text of an object.
func (c *checker) text(raw []byte) {
	var o map[string]any
	if err := jsonv2.Unmarshal(raw, &o, jsontext.AllowDuplicateNames(true)); err != nil {
		return // no object: that is named already
	}
	c.object(o)
	if id, _ := o["id"].(string); o["type"] == "marking-definition" {
		c.definition(id, raw)
	}
	slices.SortStableFunc(c.list, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
}

// checker collects problems.
type checker struct {
	at         string
	errorsOnly bool
	list       []Problem
}

func (c *checker) add(path string, s Severity, section, format string, args ...any) {
	if c.errorsOnly && s != Error || c.full() {
		return
	}
	if path != "" && c.at != "" {
		path = "." + path
	}
	c.list = append(c.list, Problem{Path: c.at + path, Severity: s, Section: section, Reason: fmt.Sprintf(format, args...)})
}

// full reports that enough is known.
func (c *checker) full() bool { return c.errorsOnly && len(c.list) >= maxErrors }

func (c *checker) object(o map[string]any) {
	typ, _ := o["type"].(string)
	t, known := types[typ]
	if !known {
		t = object{section: "7.3"}
		if _, extended := o["extensions"]; !extended {
			c.add("type", Warning, "7.3", "%.60q is no type of STIX 2.1, and no extension defines it", typ)
		}
		_, versioned := o["created"]
		t.sco = !versioned
	}
	want := slices.Clone(t.required)
	switch {
	case typ == "marking-definition":
		want = append(want, "spec_version", "created")
	case !t.sco:
		want = append(want, "spec_version", "created", "modified")
	}
	if v, ok := o["spec_version"]; ok && v != "2.1" {
		c.add("spec_version", Error, "3.2", "is %.20v; 2.1 is meant here", v)
	}
	for _, name := range want {
		if _, ok := o[name]; !ok {
			section := t.section
			if name == "spec_version" || name == "created" || name == "modified" {
				section = "3.2"
			}
			c.add("", Error, section, "%s has no %s", typ, name)
		}
	}
	if len(t.anyOf) > 0 && !slices.ContainsFunc(t.anyOf, func(name string) bool { _, ok := o[name]; return ok }) {
		c.add("", Error, t.section, "%s has none of %s", typ, strings.Join(t.anyOf, ", "))
	}
	for name, v := range o {
		c.property(name, v)
		c.word(typ, name, v)
	}
	c.markings(o)
	if t.sco && !c.errorsOnly {
		c.derived(typ, o)
	}
	for _, pair := range append(t.orders, [2]string{"created", "modified"}) {
		c.order(o, pair[0], pair[1], t.section)
	}
	c.values(typ, o, t.section)
}

// property checks what holds for a property wherever it is.
func (c *checker) property(name string, v any) {
	if len(name) > 250 || strings.ContainsFunc(name, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_') }) {
		c.add(strconv.Quote(name), Error, "3.1", "a property's name is of a-z, 0-9 and _, 250 at most")
	}
	switch x := v.(type) {
	case nil:
		c.add(name, Error, "3.1", "is null; leave it out")
	case []any:
		if len(x) == 0 {
			c.add(name, Error, "2.12", "is an empty list; leave it out")
		}
		if strings.HasSuffix(name, "_refs") {
			for i, ref := range x {
				if c.full() {
					break
				}
				c.reference(fmt.Sprintf("%s[%d]", name, i), name, ref)
			}
		}
	case map[string]any:
		if len(x) == 0 {
			c.add(name, Error, "2.3", "is an empty dictionary; leave it out")
		}
	case string:
		if times[name] {
			if _, ok := timestamp(x); !ok {
				c.add(name, Error, "2.16", "%.60q is no timestamp such as 2026-03-19T00:04:07.000Z", x)
			}
		}
		if strings.HasSuffix(name, "_ref") {
			c.reference(name, name, x)
		}
	default:
		if times[name] {
			c.add(name, Error, "2.16", "is no timestamp")
		}
	}
}

func timestamp(s string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, s)
	return at, err == nil && strings.HasSuffix(s, "Z")
}

func (c *checker) reference(at, name string, v any) {
	id, _ := v.(string)
	typ, err := stix.ParseID(id)
	if err != nil {
		c.add(at, Error, "2.9", "%.80q is no identifier", fmt.Sprint(v))
		return
	}
	if may := targets[name]; may != nil && !slices.Contains(may, typ) {
		c.add(at, Error, "3.2", "refers to %s, and may to %s", typ, strings.Join(may, " or "))
	}
	if name == "object_marking_refs" {
		if _, ok := tlp.FromMarking(id); !ok {
			c.add(at, Warning, "7.2", "%s is no TLP marking that is known here: nobody may be shown the object", id)
		}
	}
}

// order checks that the second time is not before the first.
func (c *checker) order(o map[string]any, first, second, section string) {
	a, _ := o[first].(string)
	b, _ := o[second].(string)
	from, ok1 := timestamp(a)
	to, ok2 := timestamp(b)
	if !ok1 || !ok2 {
		return
	}
	if to.Before(from) || second == "valid_until" && !to.After(from) {
		c.add(second, Error, section, "%s is before %s %s", b, first, a)
	}
}

// values checks properties of which the standard bounds the value.
func (c *checker) values(typ string, o map[string]any, section string) {
	if labels, ok := o["labels"].([]any); ok {
		for i, v := range labels {
			if _, ok := v.(string); !ok && !c.full() {
				c.add(fmt.Sprintf("labels[%d]", i), Error, "3.2", "is no text")
			}
		}
	}
	if refs, ok := o["external_references"].([]any); ok {
		for i, v := range refs {
			r, _ := v.(map[string]any)
			if name, ok := r["source_name"].(string); (!ok || name == "") && !c.full() {
				c.add(fmt.Sprintf("external_references[%d]", i), Error, "2.5", "has no source_name")
			}
		}
	}
	texts := []string{"lang"}
	if _, known := types[typ]; known {
		texts = append(texts, "name", "description", "pattern", "pattern_type", "relationship_type", "identity_class", "context")
	}
	for _, name := range texts {
		if v, ok := o[name]; ok && v != nil {
			if _, ok := v.(string); !ok {
				c.add(name, Error, "2.15", "is no text")
			}
		}
	}
	between := func(name, section string, low, high float64) {
		v, ok := o[name]
		if !ok {
			return
		}
		f, ok := v.(float64)
		if !ok || f != math.Trunc(f) || f < low || f > high {
			c.add(name, Error, section, "is %.40v, not a whole number from %.0f to %.0f", v, low, high)
		}
	}
	between("confidence", "3.2", 0, 100)
	text := func(name string) string { s, _ := o[name].(string); return s }
	switch typ {
	case "indicator":
		if kind := text("pattern_type"); kind == "stix" {
			if _, err := pattern.Parse(text("pattern")); err != nil {
				c.add("pattern", Error, "9", "%v", err)
			}
		}
	case "observed-data":
		between("number_observed", section, 1, 999_999_999)
	case "sighting":
		between("count", section, 0, 999_999_999)
	case "network-traffic":
		between("src_port", section, 0, 65_535)
		between("dst_port", section, 0, 65_535)
	case "autonomous-system":
		between("number", section, 0, 1<<32-1)
	case "malware":
		if o["is_family"] == true && text("name") == "" {
			c.add("", Error, section, "a malware family has no name")
		}
	case "ipv4-addr", "ipv6-addr":
		c.address(text("value"), typ == "ipv4-addr", section)
	case "identity":
		if text("identity_class") == "" {
			c.add("", Warning, section, "identity has no identity_class")
		}
	}
}

func (c *checker) address(value string, four bool, section string) {
	p, err := netip.ParsePrefix(value)
	if err != nil {
		a, bad := netip.ParseAddr(value)
		if bad != nil || a.Zone() != "" {
			c.add("value", Error, section, "%.60q is neither an address nor in CIDR notation", value)
			return
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	if p.Addr().Is4() != four {
		c.add("value", Error, section, "%.60q is of the other IP version", value)
	}
}
