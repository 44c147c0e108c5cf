package report

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxJoined is how many lines a quoted field may add to its row. A row with a longer field is
// rejected, up to the line on which the row ends: what stands inside a quoted field can be an
// attacker's text, such as a banner, and must never be read as rows.
const maxJoined = 16

// record is one CSV record: the numbers of its first and last line, the bytes it was read from
// (nil where they are more than MaxRow), and its fields, unquoted. Where problem is set there are
// no fields.
type record struct {
	line    int
	last    int
	blank   int // blank lines before it
	raw     []byte
	fields  [][]byte
	problem string
}

// records reads CSV records (RFC 4180). encoding/csv is not used, because it has no limit to a
// record.
type records struct {
	lines   lines
	comma   byte
	width   int // fields a record must have; 0 before the header
	scratch []byte
	rec     record
}

// next returns the next record that is not blank; it is good until the next call.
func (r *records) next() (*record, error) {
	for blank := 0; ; blank++ {
		quote := quoting{comma: r.comma}
		ln, err := r.lines.next(quote.read)
		if err != nil {
			return nil, err
		}
		rec := &r.rec
		*rec = record{line: ln.number, last: ln.number, blank: blank, raw: ln.raw, fields: rec.fields[:0]}
		if ln.raw == nil {
			return r.join(&quote)
		}
		body := trimEnd(ln.raw)
		if len(bytes.TrimSpace(body)) == 0 {
			continue
		}
		r.scratch = append(r.scratch[:0], body...)
		var closed bool
		if rec.fields, closed = split(r.scratch, r.comma, rec.fields); !closed {
			quote.read(ln.raw)
			return r.join(&quote)
		}
		return r.checked(rec), nil
	}
}

// join reads on until the record's quoted field is closed and the record ends. quote has read the
// record's first line.
func (r *records) join(quote *quoting) (*record, error) {
	rec := &r.rec
	raw := bytes.Clone(rec.raw)
	for quote.open() {
		ln, err := r.lines.next(quote.read)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		rec.last = ln.number
		if ln.raw != nil {
			quote.read(ln.raw)
		}
		if raw == nil || ln.raw == nil || len(raw)+len(ln.raw) > MaxRow {
			raw = nil
		} else {
			raw = append(raw, ln.raw...)
		}
	}
	rec.raw, rec.fields = raw, rec.fields[:0]
	switch {
	case quote.open():
		rec.problem = "a quote is opened and not closed"
	case raw == nil:
		rec.problem = "longer than 64 KiB"
	case rec.last-rec.line > maxJoined:
		rec.problem = fmt.Sprintf("a quoted field runs over more than %d lines", maxJoined)
	default:
		r.scratch = append(r.scratch[:0], trimEnd(raw)...)
		rec.fields, _ = split(r.scratch, r.comma, rec.fields)
		r.checked(rec)
	}
	if rec.problem != "" && rec.last > rec.line {
		rec.problem += fmt.Sprintf(": lines %d to %d are rejected", rec.line, rec.last)
	}
	return rec, nil
}

func (r *records) checked(rec *record) *record {
	switch {
	case bytes.IndexByte(rec.raw, 0) >= 0:
		rec.problem = "holds a NUL byte"
	case r.width != 0 && len(rec.fields) != r.width:
		rec.problem = "has " + plural(len(rec.fields), "field") + ", the header has " + plural(r.width, "field")
	}
	return rec
}

// quoting follows the quotes of one record, as split does, in bytes that come in parts.
type quoting struct {
	comma byte
	state byte // of the constants below
}

const (
	fieldStarts = iota // or the record does
	unquoted
	quoted
	quoteInQuoted // which closes the field, or is the first of two
)

// open reports whether a quoted field goes on.
func (q *quoting) open() bool { return q.state == quoted }

// read takes the next bytes.
func (q *quoting) read(b []byte) {
	for _, c := range b {
		switch {
		case q.state == quoted:
			if c == '"' {
				q.state = quoteInQuoted
			}
		case c == '"' && (q.state == quoteInQuoted || q.state == fieldStarts):
			q.state = quoted
		case c == q.comma:
			q.state = fieldStarts
		default:
			q.state = unquoted
		}
	}
}

// split cuts a record into fields and unquotes them in place. It reports false
// when a quoted field is still open at the end. A quote within an unquoted field
// is a character like any other.
func split(b []byte, comma byte, fields [][]byte) ([][]byte, bool) {
	for {
		if len(b) == 0 || b[0] != '"' {
			i := bytes.IndexByte(b, comma)
			if i < 0 {
				return append(fields, b), true
			}
			fields, b = append(fields, b[:i]), b[i+1:]
			continue
		}
		w, i := 0, 1
		for ; i < len(b); i++ {
			if b[i] == '"' {
				if i+1 >= len(b) || b[i+1] != '"' {
					break
				}
				i++
			}
			b[w] = b[i]
			w++
		}
		if i >= len(b) {
			return fields, false
		}
		field := b[:w]
		rest := b[i+1:]
		// What stands between the closing quote and the comma is kept.
		if j := bytes.IndexByte(rest, comma); j < 0 {
			return append(fields, append(field, rest...)), true
		} else {
			fields, b = append(fields, append(field, rest[:j]...)), rest[j+1:]
		}
	}
}

// csvSource is a CSV with a header line.
type csvSource struct {
	records records
	columns []*field // by position; nil for a column we do not read
	extra   extra
	names   []string
	last    []text // by column, of fields that are the same row after row
	// email is the column of an account, -1 for none; ips are all that can name a host
	// where there is one.
	email int
	ips   []int
}

// text is what a column of the row before said, and what was made of it.
type text struct {
	raw  []byte
	made string
}

func newCSVSource(in *bufio.Reader, opt Options) (*csvSource, error) {
	s := &csvSource{records: records{lines: lines{in: in}, comma: ','}, extra: extra{keep: opt.Keep}}
	s.records.comma = delimiter(in)
	head, err := s.records.next()
	if errors.Is(err, io.EOF) {
		return nil, fileError(1, "the source is empty: a header line was expected")
	}
	if err != nil {
		return nil, err
	}
	if head.problem != "" {
		return nil, fileError(head.line, "the header line %s", head.problem)
	}
	for _, f := range head.fields {
		if !utf8.Valid(f) {
			return nil, fileError(head.line, "the header line is not UTF-8")
		}
		s.names = append(s.names, strings.ToLower(strings.TrimSpace(string(f))))
	}
	if s.columns, err = assign(s.names, opt.Map); err != nil {
		return nil, fileError(head.line, "%v", err)
	}
	s.email = slices.Index(s.columns, fieldByName[emailField])
	if s.email >= 0 {
		s.ips = columnsOf(s.names, opt.Map, fieldByName["ip"])
	}
	s.records.width = len(s.names)
	s.last = make([]text, len(s.names))
	if opt.FirstLine > 0 {
		s.records.lines.number = opt.FirstLine - 1
	}
	return s, nil
}

// delimiter is the first of comma, semicolon and tab that the first line has.
func delimiter(in *bufio.Reader) byte {
	head, _ := in.Peek(4096)
	first, _, _ := bytes.Cut(bytes.TrimLeft(head, "\r\n"), []byte{'\n'})
	for _, c := range []byte(",;\t") {
		if bytes.IndexByte(first, c) >= 0 {
			return c
		}
	}
	return ','
}

func (s *csvSource) flavour() string {
	for _, n := range s.names {
		if n == "src_ip" || n == "severity" {
			return Shadowserver
		}
	}
	return CSV
}

func (s *csvSource) next(ev *exchange.Event) error {
	rec, err := s.records.next()
	if err != nil {
		return err
	}
	ev.Line = rec.line
	if rec.problem != "" {
		return rowError(rec.line, "", "%s", rec.problem)
	}
	s.extra.text = s.extra.text[:0]
	host := s.email >= 0 && slices.ContainsFunc(s.ips, func(i int) bool { return len(bytes.TrimSpace(rec.fields[i])) > 0 })
	for i, value := range rec.fields {
		f := s.columns[i]
		if host && i == s.email { // who reads mail there is not what was seen
			f = nil
		}
		if f == nil {
			if s.extra.keep {
				s.extra.add(s.names[i], bytes.TrimSpace(value))
			}
			continue
		}
		if value = bytes.TrimSpace(value); len(value) == 0 {
			continue
		}
		last := &s.last[i]
		if f.text != nil && bytes.Equal(last.raw, value) {
			*f.text(ev) = last.made
			continue
		}
		if err := f.set(ev, value); err != nil {
			return rowError(rec.line, s.names[i], "%v", err)
		}
		if f.text != nil {
			last.raw, last.made = append(last.raw[:0], value...), *f.text(ev)
		}
	}
	ev.Extra = s.extra.String()
	return complete(ev)
}
