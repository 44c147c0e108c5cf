package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxJoined is over how many lines a quoted field may run. Where the quote is
// not closed by then, its first line alone is rejected and the others are read
// as rows: a stray quote must not swallow what follows it.
const maxJoined = 16

// record is one CSV record: its first line's number, the bytes it was read
// from, and its fields, unquoted. Where problem is set there are no fields.
type record struct {
	line    int
	blank   int // blank lines before it
	raw     []byte
	fields  [][]byte
	problem string
}

// records reads CSV records (RFC 4180). encoding/csv is not used, because it
// has no limit to a record and cannot go back to the line after a stray quote.
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
		ln, err := r.lines.next()
		if err != nil {
			return nil, err
		}
		rec := &r.rec
		*rec = record{line: ln.number, blank: blank, raw: ln.raw, fields: rec.fields[:0]}
		if ln.raw == nil {
			rec.problem = "longer than 64 KiB"
			return rec, nil
		}
		body := trimEnd(ln.raw)
		if len(bytes.TrimSpace(body)) == 0 {
			continue
		}
		r.scratch = append(r.scratch[:0], body...)
		var closed bool
		if rec.fields, closed = split(r.scratch, r.comma, rec.fields); !closed {
			return r.join(ln)
		}
		return r.checked(rec), nil
	}
}

// join adds the lines after ln to it until its quoted field is closed.
func (r *records) join(ln line) (*record, error) {
	rec := &r.rec
	raw := append([]byte(nil), ln.raw...)
	var more []line
	for len(more) < maxJoined {
		next, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		next.raw = bytes.Clone(next.raw)
		more = append(more, next)
		if next.raw == nil || len(raw)+len(next.raw) > MaxRow {
			break
		}
		raw = append(raw, next.raw...)
		r.scratch = append(r.scratch[:0], trimEnd(raw)...)
		fields, closed := split(r.scratch, r.comma, rec.fields[:0])
		if !closed {
			continue
		}
		if r.width != 0 && len(fields) != r.width {
			break
		}
		rec.fields, rec.raw = fields, raw
		return r.checked(rec), nil
	}
	r.lines.unread(more)
	rec.raw, rec.fields, rec.problem = raw[:len(ln.raw)], rec.fields[:0], "a quote is opened and not closed"
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
