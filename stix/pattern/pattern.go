// Package pattern reads STIX patterns (STIX 2.1 section 9) whole: observation
// expressions with their qualifiers, comparison expressions, object paths and
// literals. It judges the grammar, not whether an object type or property exists.
//
// What it reads it writes in one form, which reads as the same pattern again.
package pattern

import (
	"fmt"
	"strings"
)

// MaxLength is the longest pattern that is read, in bytes; MaxDepth how deep its
// brackets may be.
const (
	MaxLength = 64 << 10
	MaxDepth  = 64
)

// Error says where a pattern goes wrong, in bytes from its start, and why.
type Error struct {
	Offset int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("at %d: %s", e.Offset, e.Reason) }

// Pattern is a pattern: one observation expression.
type Pattern struct{ Root Observation }

// Observation is an expression over observations. It is one of: a Test; operands joined by Operator
// (AND, OR, FOLLOWEDBY); or Group, what stands in parentheses. Qualifiers apply to it in their
// order.
type Observation struct {
	Test       *Comparison
	Operator   string
	Operands   []Observation
	Group      *Observation
	Qualifiers []Qualifier
}

// Qualifier limits an observation: START and STOP with two timestamps, WITHIN seconds, or
// REPEATS times.
type Qualifier struct {
	Name   string // START, WITHIN or REPEATS
	Values []string
}

// Comparison is a test of one object: of Path with Operator and Values, of EXISTS and Path;
// or comparisons joined by Operator (AND, OR), or one in parentheses, which is Operator "()".
type Comparison struct {
	Path     Path
	Not      bool
	Operator string
	Values   []Literal
	Operands []Comparison
}

// Path names a property: an object type, and steps from it.
type Path struct {
	Type  string
	Steps []Step
}

// Step is a property's name, or an index into a list: a number or *.
type Step struct{ Name, Index string }

// Literal is a value; Kind is text, number, hex, binary, timestamp or boolean.
type Literal struct{ Kind, Value string }

// Each calls f with every comparison of a property in the pattern, in order.
func (p *Pattern) Each(f func(*Comparison)) { p.Root.each(f) }

// Addresses lists the addresses that a pattern says are there, themselves or as the source of traffic: by equality, in a
// list, or as a subset, as they are written.
func (p *Pattern) Addresses() (list []string) {
	return p.values(func(c *Path) bool {
		return c.Type == "ipv4-addr" || c.Type == "ipv6-addr" || c.Type == "network-traffic" && len(c.Steps) == 2 && c.Steps[0].Name == "src_ref"
	})
}

// Emails lists the e-mail addresses that a pattern says are there, in the same way.
func (p *Pattern) Emails() []string {
	return p.values(func(c *Path) bool { return c.Type == "email-addr" })
}

func (p *Pattern) values(of func(*Path) bool) (list []string) {
	p.Each(func(c *Comparison) {
		if last := len(c.Path.Steps) - 1; !of(&c.Path) || last < 0 || c.Path.Steps[last].Name != "value" || last > 1 || last == 1 && c.Path.Type != "network-traffic" || c.Not {
			return
		}
		if c.Operator == "=" || c.Operator == "IN" || c.Operator == "ISSUBSET" {
			for _, v := range c.Values {
				list = append(list, v.Value)
			}
		}
	})
	return list
}

func (o *Observation) each(f func(*Comparison)) {
	if o.Test != nil {
		o.Test.each(f)
	}
	if o.Group != nil {
		o.Group.each(f)
	}
	for i := range o.Operands {
		o.Operands[i].each(f)
	}
}

func (c *Comparison) each(f func(*Comparison)) {
	if c.Path.Type != "" {
		f(c)
	}
	for i := range c.Operands {
		c.Operands[i].each(f)
	}
}

// String writes the pattern in its one form.
func (p *Pattern) String() string {
	var b strings.Builder
	p.Root.write(&b)
	return b.String()
}

func (o *Observation) write(b *strings.Builder) {
	switch {
	case o.Test != nil:
		b.WriteByte('[')
		o.Test.write(b)
		b.WriteByte(']')
	case o.Group != nil:
		b.WriteByte('(')
		o.Group.write(b)
		b.WriteByte(')')
	}
	for i := range o.Operands {
		if i > 0 {
			b.WriteString(" " + o.Operator + " ")
		}
		o.Operands[i].write(b)
	}
	for _, q := range o.Qualifiers {
		switch q.Name {
		case "START":
			fmt.Fprintf(b, " START t'%s' STOP t'%s'", q.Values[0], q.Values[1])
		case "WITHIN":
			fmt.Fprintf(b, " WITHIN %s SECONDS", q.Values[0])
		default:
			fmt.Fprintf(b, " REPEATS %s TIMES", q.Values[0])
		}
	}
}

func (c *Comparison) write(b *strings.Builder) {
	switch {
	case c.Operator == "()":
		b.WriteByte('(')
		c.Operands[0].write(b)
		b.WriteByte(')')
		return
	case len(c.Operands) > 0:
		for i := range c.Operands {
			if i > 0 {
				b.WriteString(" " + c.Operator + " ")
			}
			c.Operands[i].write(b)
		}
		return
	case c.Operator == "EXISTS":
		b.WriteString("EXISTS ")
		c.Path.write(b)
		return
	}
	c.Path.write(b)
	if c.Not {
		b.WriteString(" NOT")
	}
	b.WriteString(" " + c.Operator + " ")
	if c.Operator == "IN" {
		b.WriteByte('(')
	}
	for i, v := range c.Values {
		if i > 0 {
			b.WriteString(", ")
		}
		v.write(b)
	}
	if c.Operator == "IN" {
		b.WriteByte(')')
	}
}

func (p *Path) write(b *strings.Builder) {
	b.WriteString(p.Type)
	for i, s := range p.Steps {
		switch {
		case s.Index != "":
			b.WriteString("[" + s.Index + "]")
			continue
		case i == 0:
			b.WriteByte(':')
		default:
			b.WriteByte('.')
		}
		if plain(s.Name) {
			b.WriteString(s.Name)
		} else {
			b.WriteString(quote(s.Name))
		}
	}
}

// plain reports whether a name needs no quotes: it has no hyphen.
func plain(s string) bool {
	if s == "" || digit(s[0]) || keywords[s] {
		return false
	}
	for i := range len(s) {
		if !letter(s[i]) && !digit(s[i]) {
			return false
		}
	}
	return true
}

func (v Literal) write(b *strings.Builder) {
	switch v.Kind {
	case "text":
		b.WriteString(quote(v.Value))
	case "hex":
		b.WriteString("h'" + v.Value + "'")
	case "binary":
		b.WriteString("b'" + v.Value + "'")
	case "timestamp":
		b.WriteString("t'" + v.Value + "'")
	default:
		b.WriteString(v.Value)
	}
}

var escaper = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func quote(s string) string { return "'" + escaper.Replace(s) + "'" }
