package report

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// Piece is a cut of a source that can be read on its own: whole rows, for a CSV
// with the header before them.
type Piece struct {
	// Offset is where its first row stands in the uncompressed source, in bytes.
	Offset int64
	// FirstLine is that row's line number, for Options.FirstLine.
	FirstLine int
	Data      []byte
	// Rejected are rows that are too long to be sent.
	Rejected []exchange.Problem
	// Notes are of rows that are sent, where the source was read whole.
	Notes []exchange.Note
}

// Cutter cuts a source into pieces, so that it can be sent in parts that are
// safe to repeat: where it cuts depends on nothing but the content. What can only
// be read whole is read here, and its pieces are JSON lines of its events.
type Cutter struct {
	// Format is what the source was taken for, Sent what its pieces are.
	Format, Sent string

	header  []byte
	records records
	offset  int64
	size    int
	csv     bool
	done    bool
	whole   *Reader // of what can only be read whole
	ahead   *Piece  // begun with the row that did not fit
}

// NewCutter starts cutting a source, compressed or not, into pieces of about
// size bytes. It refuses what NewReader refuses.
func NewCutter(r io.Reader, opt Options, size int) (*Cutter, error) {
	plain, err := Decompress(r)
	if err != nil {
		return nil, err
	}
	in := withLines(plain)
	head, _ := in.Peek(MaxRow)
	if k, err := detect(bufio.NewReaderSize(bytes.NewReader(head), MaxRow), opt.Format, false); err == nil && k.whole() {
		opt.Keep = true // the server knows whether the feed does
		rd, err := NewReader(in, opt)
		if err != nil {
			return nil, err
		}
		return &Cutter{Format: rd.Format, Sent: JSONLines, size: size, whole: rd}, nil
	}
	probe, err := NewReader(bytes.NewReader(head), opt) // checks options and header, names the format
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, bom) {
		_, _ = in.Discard(len(bom))
	}
	c := &Cutter{Format: probe.Format, Sent: probe.Format, size: size, csv: probe.Format == CSV || probe.Format == Shadowserver}
	c.records = records{lines: lines{in: in}}
	if c.csv {
		c.records.comma = delimiter(in)
		first, err := c.records.next()
		if err != nil {
			return nil, err
		}
		c.header = bytes.Clone(first.raw)
		if !bytes.HasSuffix(c.header, []byte{'\n'}) {
			c.header = append(c.header, '\n')
		}
		c.offset = int64(len(first.raw))
		c.records.width = len(first.fields)
	}
	return c, nil
}

// Mapped reports that its pieces want the options' map no more: they are of what was read.
func (c *Cutter) Mapped() bool { return c.whole != nil }

// Next returns the next piece, and io.EOF after the last.
func (c *Cutter) Next() (*Piece, error) {
	if c.done {
		return nil, io.EOF
	}
	if c.whole != nil {
		p, err := c.events()
		if p != nil {
			p.Notes, _ = c.whole.Noted()
		}
		return p, err
	}
	p := &Piece{Offset: c.offset, Data: append(make([]byte, 0, c.size+len(c.header)), c.header...)}
	for len(p.Data)-len(c.header) < c.size {
		rec, err := c.row()
		if errors.Is(err, io.EOF) {
			c.done = true
			break
		}
		if err != nil {
			return nil, err
		}
		if p.FirstLine == 0 {
			p.FirstLine = rec.line
		} else {
			p.Data = append(p.Data, bytes.Repeat([]byte{'\n'}, rec.blank)...)
		}
		if rec.raw == nil {
			// The piece ends here: the numbers of its lines stay in step.
			p.Rejected = append(p.Rejected, exchange.Problem{Line: rec.line, Reason: cmp.Or(rec.problem, "longer than 64 KiB")})
			break
		}
		c.offset += int64(len(rec.raw))
		p.Data = append(p.Data, rec.raw...)
	}
	if p.FirstLine == 0 {
		return nil, io.EOF
	}
	if len(p.Data) == len(c.header) {
		p.Data = nil
	}
	return p, nil
}

// row returns the next record of a CSV or line of JSON.
func (c *Cutter) row() (*record, error) {
	if c.csv {
		return c.records.next()
	}
	ln, err := c.records.lines.next(nil)
	if err != nil {
		return nil, err
	}
	c.records.rec = record{line: ln.number, raw: ln.raw}
	return &c.records.rec, nil
}

// events returns a piece of what is read whole: its events as JSON lines, each at the
// number that it had.
func (c *Cutter) events() (*Piece, error) {
	p := c.ahead
	c.ahead = nil
	line := 0 // of the piece's last row
	if p != nil {
		line = p.FirstLine
	}
	for p == nil || len(p.Data) < c.size && len(p.Rejected) < exchange.MaxProblems {
		var ev exchange.Event
		err := c.whole.Next(&ev)
		var row *RowError
		at := ev.Line
		switch {
		case errors.Is(err, io.EOF):
			c.done = true
			if p == nil {
				return nil, io.EOF
			}
			return p, nil
		case errors.As(err, &row):
			if p == nil {
				p = &Piece{Offset: c.offset, FirstLine: row.Line}
			}
			p.Rejected = append(p.Rejected, row.Problem)
			c.offset++
			continue
		case err != nil:
			return nil, err
		}
		c.offset++
		if p == nil || p.Data == nil && len(p.Rejected) == 0 {
			p = &Piece{Offset: c.offset - 1}
		}
		switch {
		case p.Data == nil:
			p.FirstLine = at
		case at > line:
			p.Data = append(p.Data, bytes.Repeat([]byte{'\n'}, at-line-1)...)
		default: // two of one number, or out of order
			c.ahead = &Piece{Offset: c.offset - 1, FirstLine: at, Data: appendRow(nil, &ev)}
			return p, nil
		}
		p.Data, line = appendRow(p.Data, &ev), at
	}
	return p, nil
}
