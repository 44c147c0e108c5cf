// Package lint says what is wrong with STIX 2.1 objects: every problem, with where
// it is, how bad, and the section of the standard that says so. It judges each object
// alone, and a bundle's objects against each other.
package lint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/pattern"
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
// the object; it does not look for what is only a warning. Two things are taken there that many programs
// write and nobody can misread: times of created and modified without three digits of a second (section 3.2), and
// definitions of TLP that are not word for word the standard's (7.2.1.4).
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
		c.definition(id, o, raw)
	}
	slices.SortStableFunc(c.list, func(a, b Problem) int { return cmp.Compare(a.Path, b.Path) })
}

// checker collects problems.
type checker struct {
	at         string
	typ        string // of the object
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

// object checks an object by the table.
func (c *checker) object(o map[string]any) {
	typ, _ := o["type"].(string)
	t := theStandard().types[typ]
	if t == nil {
		if _, extended := o["extensions"]; !extended {
			c.add("type", Warning, "7.3", "%.60q is no type of STIX 2.1, and no extension defines it", typ)
		}
		class := "(sco)"
		if _, versioned := o["created"]; versioned {
			class = "(sdo)"
		}
		t = theStandard().structs[class]
	}
	c.typ = typ
	if v, ok := o["spec_version"]; ok && v != "2.1" {
		c.add("spec_version", Error, "3.2", "is %.20v; 2.1 is meant here", v)
	}
	if id, ok := o["id"].(string); ok && len(id) > 36 && !isUUID(id) {
		c.add("id", Error, "2.9", "its UUID is not one of RFC 4122, versions 1 to 5")
	}
	c.properties("", t, o)
	c.markings(o)
	if kind, _ := o["pattern_type"].(string); typ == "indicator" && kind == "stix" {
		text, _ := o["pattern"].(string)
		if _, err := pattern.Parse(text); err != nil {
			c.add("pattern", Error, "9", "%v", err)
		}
	}
	for _, name := range reserved {
		if _, there := o[name]; there {
			c.add(name, Error, "", "the name is reserved for later versions of the standard")
		}
	}
	if t.class == "sco" && !c.errorsOnly {
		c.derived(t, o)
	}
}

// reserved are names of properties that no object may have yet.
var reserved = []string{"severity", "action", "username", "phone_numbers"}

// properties checks what stands in an object, or in a part of it at a path.
func (c *checker) properties(at string, t *object, o map[string]any) {
	c.names(at, o)
	for _, p := range t.properties {
		v, there := o[p.name]
		switch {
		case there:
			c.value(join(at, p.name), p.is, v, p.section)
		case p.required:
			c.add(at, Error, p.section, "%s has no %s", cmp.Or(c.what(at, t), "it"), p.name)
		}
	}
	for name, v := range o {
		if t.byName[name] == nil {
			if t.only {
				c.add(join(at, name), Error, t.section, "is no property of %s", t.name)
			}
			c.custom(at, name, v)
		}
	}
	for i := range t.rules {
		c.rule(at, t, &t.rules[i], o)
	}
	if t.name == "external-reference" {
		c.external(at, o)
	}
}

// what is how an object is called in a message.
func (c *checker) what(at string, t *object) string {
	if at == "" {
		return c.typ
	}
	return t.name
}

// names checks the names of properties, and that none is empty.
func (c *checker) names(at string, o map[string]any) {
	for name, v := range o {
		begins, whole := formOf(name)
		switch {
		case name == "id":
		case !begins || len(name) > 250:
			c.add(join(at, strconv.Quote(name)), Error, "3.1", "a property's name begins with three of a-z, 0-9 and _, a letter first, and has 250 at most")
		case !whole:
			c.add(join(at, strconv.Quote(name)), Warning, "3.1", "a property's name is of a-z, 0-9 and _")
		}
		c.plain(at, name, v)
	}
}

// formOf tells whether a property's name begins as it has to, and whether it is of a-z, 0-9 and _ to its end.
func formOf(name string) (begins, whole bool) {
	n := 0
	for n < len(name) && (name[n] >= 'a' && name[n] <= 'z' || n > 0 && (name[n] >= '0' && name[n] <= '9' || name[n] == '_')) {
		n++
	}
	return n >= 3, n == len(name)
}

// plain checks what holds for any value: it is there.
func (c *checker) plain(at, name string, v any) {
	switch x := v.(type) {
	case nil:
		c.add(join(at, name), Error, "3.1", "is null; leave it out")
	case []any:
		if len(x) == 0 {
			c.add(join(at, name), Error, "2.12", "is an empty list; leave it out")
		}
	case map[string]any:
		if len(x) == 0 {
			c.add(join(at, name), Error, "2.3", "is an empty dictionary; leave it out")
		}
	}
}

// custom checks a property that the standard does not have.
func (c *checker) custom(at, name string, v any) {
	s, text := v.(string)
	switch {
	case strings.HasSuffix(name, "_bin"):
		c.value(join(at, name), &valueType{kind: "binary"}, v, "2.1")
	case strings.HasSuffix(name, "_hex"):
		c.value(join(at, name), &valueType{kind: "hex"}, v, "2.8")
	case strings.HasSuffix(name, "_ref") && text:
		if _, err := stix.ParseID(s); err != nil {
			c.add(join(at, name), Warning, "2.9", "%.80q is no identifier", s)
		}
	}
}

// rule checks what holds between properties.
func (c *checker) rule(at string, t *object, r *rule, o map[string]any) {
	there := func(name string) bool { _, ok := o[name]; return ok }
	n := 0
	for _, name := range r.names {
		if there(name) {
			n++
		}
	}
	applies := there(r.names[0]) && (r.value == "" || fmt.Sprint(o[r.names[0]]) == r.value)
	what, last := c.what(at, t), r.names[len(r.names)-1]
	switch r.kind {
	case "<=", "<":
		c.order(at, o, r, t.section)
	case "any":
		if n == 0 {
			c.add(at, Error, t.section, "%s has none of %s", what, strings.Join(r.names, ", "))
		}
	case "one":
		if n != 1 {
			c.add(at, Error, t.section, "%s has to have exactly one of %s", what, strings.Join(r.names, ", "))
		}
	case "needs":
		if applies && (!there(last) || o[last] == "") {
			c.add(at, Error, t.section, "%s with %s has no %s", what, strings.TrimSuffix(r.names[0]+"="+r.value, "="), last)
		}
	case "excludes":
		if applies && there(last) {
			c.add(join(at, last), Error, t.section, "may not stand beside %s=%s", r.names[0], r.value)
		}
	case "always":
		if n == 0 {
			c.add(at, Error, t.section, "%s has no %s", what, last)
		}
	case "should":
		if n == 0 || o[last] == "" {
			c.add(at, Warning, t.section, "%s has no %s", what, last)
		}
	}
}

// order checks that the second time is not before the first.
func (c *checker) order(at string, o map[string]any, r *rule, section string) {
	a, _ := o[r.names[0]].(string)
	b, _ := o[r.names[1]].(string)
	from, ok1 := timestamp(a)
	to, ok2 := timestamp(b)
	if !ok1 || !ok2 {
		return
	}
	switch {
	case to.Before(from):
		c.add(join(at, r.names[1]), Error, section, "%s is before %s %s", b, r.names[0], a)
	case r.kind == "<" && to.Equal(from):
		c.add(join(at, r.names[1]), Error, section, "%s is not after %s", b, r.names[0])
	}
}

var (
	cve   = regexp.MustCompile(`^CVE-\d{4}-(0\d{3}|[1-9]\d{3,})$`)
	capec = regexp.MustCompile(`^CAPEC-\d+$`)
)

// external checks that a reference to CVE or CAPEC has an id of theirs, and that others have none (section 2.5.2).
func (c *checker) external(at string, o map[string]any) {
	source, _ := o["source_name"].(string)
	id, _ := o["external_id"].(string)
	for name, form := range map[string]*regexp.Regexp{"cve": cve, "capec": capec} {
		switch is := form.MatchString(id); {
		case source == name && !is:
			c.add(join(at, "external_id"), Error, "2.5", "%.40q is no id of %s", id, strings.ToUpper(name))
		case source != name && is:
			c.add(join(at, "source_name"), Error, "2.5", "is not %s, which external_id is of", name)
		}
	}
}

func join(at, name string) string {
	if at == "" {
		return name
	}
	return at + "." + name
}
