package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
		if len(bytes.TrimSpace(body)) == 0 || r.width == 0 && bytes.HasPrefix(body, separatorLine) {
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
	if n := len(rec.fields); r.width != 0 && n == r.width+1 && len(rec.fields[n-1]) == 0 {
		rec.fields = rec.fields[:n-1] // a comma at the line's end
	}
	switch {
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
