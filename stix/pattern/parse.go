package pattern

import (
	"encoding/base64"
	enchex "encoding/hex"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// keywords are the words that stand for something of their own.
var keywords = map[string]bool{
	"AND": true, "OR": true, "NOT": true, "FOLLOWEDBY": true, "LIKE": true, "MATCHES": true, "ISSUPERSET": true, "ISSUBSET": true, "EXISTS": true,
	"LAST": true, "IN": true, "START": true, "STOP": true, "SECONDS": true, "true": true, "false": true, "WITHIN": true, "REPEATS": true, "TIMES": true,
}

// Parse reads a pattern. Its errors are *Error.
func Parse(s string) (*Pattern, error) {
	if len(s) > MaxLength {
		return nil, &Error{MaxLength, "the pattern is longer than 64 KiB"}
	}
	if !utf8.ValidString(s) {
		return nil, &Error{0, "the pattern is not UTF-8"}
	}
	p := &parser{lex: lexer{s: s}}
	p.advance()
	root := p.observation(0)
	if p.err == nil && p.tok.kind != end {
		p.unexpected("AND, OR, FOLLOWEDBY or a qualifier")
	}
	if p.err != nil {
		return nil, p.err
	}
	return &Pattern{root}, nil
}

// parser keeps the first error; after it, all that it reads is empty.
type parser struct {
	lex   lexer
	tok   token
	depth int
	err   error
}

func (p *parser) advance() {
	if p.err != nil {
		return
	}
	tok, err := p.lex.next()
	if err != nil {
		p.err, tok = err, token{}
	}
	p.tok = tok
}

func (p *parser) fail(at int, format string, args ...any) {
	if p.err == nil {
		p.err = p.lex.fail(at, format, args...)
	}
	p.tok = token{at: p.tok.at}
}

func (p *parser) unexpected(want string) {
	if p.tok.kind == end {
		p.fail(p.tok.at, "the pattern ends where %s was expected", want)
		return
	}
	p.fail(p.tok.at, "%.40q stands where %s was expected", p.tok.value, want)
}

func (p *parser) is(k kind, value string) bool { return p.tok.kind == k && p.tok.value == value }

// take goes over a token if it is next.
func (p *parser) take(k kind, value string) bool {
	if !p.is(k, value) {
		return false
	}
	p.advance()
	return true
}

func (p *parser) need(k kind, value string) {
	if !p.take(k, value) {
		p.unexpected(value)
	}
}

// deeper reports whether one more bracket may be opened.
func (p *parser) deeper() bool {
	if p.depth++; p.depth > MaxDepth {
		p.fail(p.tok.at, "the brackets are more than %d deep", MaxDepth)
	}
	return p.err == nil
}

// joins are the operators between observations, the loosest first.
var joins = []string{"FOLLOWEDBY", "OR", "AND"}

// observation reads operands joined by an operator of a level, or by tighter ones.
func (p *parser) observation(level int) Observation {
	if level == len(joins) {
		return p.qualified()
	}
	o := Observation{Operands: []Observation{p.observation(level + 1)}}
	for p.err == nil && p.take(word, joins[level]) {
		o.Operator = joins[level]
		o.Operands = append(o.Operands, p.observation(level+1))
	}
	if len(o.Operands) == 1 {
		return o.Operands[0]
	}
	return o
}

// qualified reads what stands in brackets or parentheses, with its qualifiers.
func (p *parser) qualified() (o Observation) {
	switch {
	case p.take(sign, "["):
		c := p.comparison()
		o.Test = &c
		p.need(sign, "]")
	case p.take(sign, "("):
		if p.deeper() {
			in := p.observation(0)
			o.Group = &in
		}
		p.depth--
		p.need(sign, ")")
	default:
		p.unexpected("[ or (")
	}
	for p.err == nil {
		switch {
		case p.take(word, "START"):
			from := p.time()
			p.need(word, "STOP")
			o.Qualifiers = append(o.Qualifiers, Qualifier{"START", []string{from, p.time()}})
		case p.take(word, "WITHIN"):
			n := p.positive(true)
			p.need(word, "SECONDS")
			o.Qualifiers = append(o.Qualifiers, Qualifier{"WITHIN", []string{n}})
		case p.take(word, "REPEATS"):
			n := p.positive(false)
			p.need(word, "TIMES")
			o.Qualifiers = append(o.Qualifiers, Qualifier{"REPEATS", []string{n}})
		default:
			return o
		}
	}
	return o
}

func (p *parser) time() string {
	t := p.tok
	if t.kind != stamp {
		p.unexpected("a timestamp such as t'2026-03-19T00:00:00Z'")
		return ""
	}
	p.checkTime(t)
	p.advance()
	return t.value
}

func (p *parser) checkTime(t token) {
	if _, err := time.Parse(time.RFC3339Nano, t.value); err != nil || !strings.HasSuffix(t.value, "Z") {
		p.fail(t.at, "t'%.40s' is no timestamp such as t'2026-03-19T00:00:00Z'", t.value)
	}
}

// positive reads a number above zero, whole unless fractions may be.
func (p *parser) positive(fraction bool) string {
	t := p.tok
	n, err := strconv.ParseFloat(t.value, 64)
	if t.kind != number || err != nil || n <= 0 || !fraction && strings.Contains(t.value, ".") {
		p.unexpected("a number above zero")
		return ""
	}
	p.advance()
	return t.value
}

// comparison reads tests joined by OR, which joins looser, and AND.
func (p *parser) comparison() Comparison {
	return p.joined("OR", func() Comparison { return p.joined("AND", p.test) })
}

func (p *parser) joined(operator string, operand func() Comparison) Comparison {
	c := Comparison{Operator: operator, Operands: []Comparison{operand()}}
	for p.err == nil && p.take(word, operator) {
		c.Operands = append(c.Operands, operand())
	}
	if len(c.Operands) == 1 {
		return c.Operands[0]
	}
	return c
}

// test reads one test of a property, or a comparison in parentheses.
func (p *parser) test() (c Comparison) {
	switch {
	case p.take(sign, "("):
		c.Operator = "()"
		if p.deeper() {
			c.Operands = []Comparison{p.comparison()}
		}
		p.depth--
		p.need(sign, ")")
		return c
	case p.take(word, "EXISTS"):
		c.Operator = "EXISTS"
		c.Path = p.path()
		return c
	}
	c.Path = p.path()
	c.Not = p.take(word, "NOT")
	op := p.tok
	switch {
	case op.kind == sign && (op.value == "=" || op.value == "=="):
		c.Operator = "="
	case op.kind == sign && (op.value == "!=" || op.value == "<>"):
		c.Operator = "!="
	case op.kind == sign && (op.value == "<" || op.value == ">" || op.value == "<=" || op.value == ">="),
		op.kind == word && (op.value == "IN" || op.value == "LIKE" || op.value == "MATCHES" || op.value == "ISSUBSET" || op.value == "ISSUPERSET"):
		c.Operator = op.value
	default:
		p.unexpected("a comparison operator")
		return c
	}
	p.advance()
	if c.Operator == "IN" {
		p.need(sign, "(")
		for p.err == nil && !p.is(sign, ")") {
			if len(c.Values) > 0 {
				p.need(sign, ",")
			}
			c.Values = append(c.Values, p.literal())
		}
		p.need(sign, ")")
		return c
	}
	at := p.tok.at
	v := p.literal()
	c.Values = []Literal{v}
	switch {
	case p.err != nil:
	case op.kind == word && v.Kind != "text":
		p.fail(at, "%s wants text in quotes", op.value)
	case c.Operator == "MATCHES":
		if _, err := regexp.Compile(v.Value); err != nil && !strings.Contains(v.Value, "(?") && !strings.Contains(v.Value, `\`) {
			p.fail(at, "%.60q is no regular expression", v.Value) // of PCRE we have no more
		}
	case strings.ContainsAny(c.Operator, "<>") && v.Kind == "boolean":
		p.fail(at, "%s has no meaning for %s", c.Operator, v.Value)
	}
	return c
}

// path reads an object path: type:property, with .property and [index] behind it.
func (p *parser) path() (path Path) {
	if p.tok.kind != word || keywords[p.tok.value] {
		p.unexpected("an object type, as in ipv4-addr:value")
		return path
	}
	path.Type = p.tok.value
	p.advance()
	p.need(sign, ":")
	p.step(&path)
	for p.err == nil {
		switch {
		case p.take(sign, "."):
			p.step(&path)
		case p.take(sign, "["):
			if n, err := strconv.ParseInt(p.tok.value, 10, 32); !p.is(sign, "*") && (p.tok.kind != number || err != nil || n < 0) {
				p.unexpected("an index or *")
				return path
			}
			path.Steps = append(path.Steps, Step{Index: p.tok.value})
			p.advance()
			p.need(sign, "]")
		default:
			return path
		}
	}
	return path
}

func (p *parser) step(path *Path) {
	name := p.tok
	if name.kind != text && (name.kind != word || keywords[name.value] || strings.Contains(name.value, "-")) {
		p.unexpected("a property's name (in quotes where it has a hyphen)")
		return
	}
	path.Steps = append(path.Steps, Step{Name: name.value})
	p.advance()
}

func (p *parser) literal() (v Literal) {
	t := p.tok
	v.Value = t.value
	switch {
	case t.kind == text:
		v.Kind = "text"
	case t.kind == number:
		v.Kind = "number"
		if _, err := strconv.ParseFloat(t.value, 64); err != nil {
			p.fail(t.at, "%.40q is no number", t.value)
		}
	case t.kind == hex:
		v.Kind = "hex"
		if _, err := enchex.DecodeString(t.value); err != nil {
			p.fail(t.at, "h'%.40s' is not pairs of hexadecimal digits", t.value)
		}
	case t.kind == binary:
		v.Kind = "binary"
		if _, err := base64.StdEncoding.DecodeString(t.value); err != nil || strings.ContainsAny(t.value, "\r\n") {
			p.fail(t.at, "b'%.40s' is not Base64", t.value)
		}
	case t.kind == stamp:
		v.Kind = "timestamp"
		p.checkTime(t)
	case t.kind == word && (t.value == "true" || t.value == "false"):
		v.Kind = "boolean"
	default:
		p.unexpected("a value: text in quotes, a number, a timestamp, true or false")
		return v
	}
	p.advance()
	return v
}
