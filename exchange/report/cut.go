package report

import (
	"bufio"
	"bytes"
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
}

// Cutter cuts a source into pieces, so that it can be sent in parts that are
// safe to repeat: where it cuts depends on nothing but the content.
type Cutter struct {
	// Format is what the source was taken for.
	Format string

	header  []byte
	records records
	offset  int64
	size    int
	csv     bool
	done    bool
}

// NewCutter starts cutting a source, compressed or not, into pieces of about
// size bytes. It refuses what NewReader refuses.
func NewCutter(r io.Reader, opt Options, size int) (*Cutter, error) {
	var seen bytes.Buffer
	plain, err := Decompress(r)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReaderSize(plain, MaxRow)
	head, _ := in.Peek(MaxRow)
	seen.Write(head)
	probe, err := NewReader(&seen, opt) // checks options and header, names the format
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(head, bom) {
		_, _ = in.Discard(len(bom))
	}
	c := &Cutter{Format: probe.Format, size: size, csv: probe.Format != JSONLines}
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

// Next returns the next piece, and io.EOF after the last.
func (c *Cutter) Next() (*Piece, error) {
	if c.done {
		return nil, io.EOF
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
			p.Rejected = append(p.Rejected, exchange.Problem{Line: rec.line, Reason: "longer than 64 KiB"})
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
	ln, err := c.records.lines.next()
	if err != nil {
		return nil, err
	}
	c.records.rec = record{line: ln.number, raw: ln.raw}
	return &c.records.rec, nil
}
