// Package report reads what publishers have: Shadowserver reports, IntelMQ, n6,
// IDEA, XARF, STIX, MISP, plain CSV and JSON lines, each sighting normalised to
// one exchange.Event. A row that names several hosts is as many rows.
//
// It streams: memory does not grow with the file, one row is at most MaxRow bytes,
// and a JSON document, which is read whole, MaxDocument. A row that cannot be used is returned as a *RowError, with line, column
// and reason, and reading goes on with the next; no row is dropped silently.
// It does not judge whose an address is or whether it may be published.
package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// MaxRow is the longest row that is read, in bytes. Longer ones are skipped
// and reported.
const MaxRow = 64 << 10

// The formats, as --format and ?format= name them.
const (
	Auto         = "auto"
	Shadowserver = "shadowserver"
	IntelMQ      = "intelmq"
	N6           = "n6"
	IDEA         = "idea"
	XARF         = "xarf"
	STIX         = "stix"
	MISP         = "misp"
	CSV          = "csv"
	JSONLines    = "jsonl"
)

// Formats lists the formats that are read, Auto first.
func Formats() []string {
	return []string{Auto, Shadowserver, IntelMQ, N6, IDEA, XARF, STIX, MISP, CSV, JSONLines}
}

// RowError is a row that was rejected. Reading goes on after it.
type RowError struct{ exchange.Problem }

func (e *RowError) Error() string { return e.Problem.String() }

// FileError is a source of which nothing can be read. It ends reading.
type FileError struct{ exchange.Problem }

func (e *FileError) Error() string { return e.Problem.String() }

// Options say how to read a source.
type Options struct {
	// Format is one of Formats; "" means Auto.
	Format string
	// Map renames columns or keys: from the source's name to a field of ours.
	Map map[string]string
	// Keep keeps what else rows say in their events' Extra, at most MaxExtra bytes of each.
	Keep bool
	// Name is what the source is called, which for some formats says what its rows are: a file's name without its folder.
	Name string
	// FirstLine is the number of the first row after a header (for JSON lines
	// the first row), where the source is a cut of a longer one, which is not compressed; 0 where not.
	FirstLine int
}

// CheckFormat reports an error unless the format is one that is read.
func CheckFormat(format string) error {
	if format == "" || slices.Contains(Formats(), format) {
		return nil
	}
	return fmt.Errorf("format %.40q is not read (use one of %s)", format, strings.Join(Formats(), ", "))
}

// CheckMap reports an error unless every target of the map is a field of ours.
func CheckMap(m map[string]string) error {
	for from, to := range m {
		if _, ok := fieldByName[to]; !ok {
			return fmt.Errorf("cannot map %.60q to %.60q: the fields are %s", from, to, strings.Join(fieldNames(), ", "))
		}
	}
	return nil
}

// MaxExtra is how much of what else a row says is kept, in bytes of JSON: whole columns,
// the first ones.
const MaxExtra = 1 << 10

// Reader reads the rows of one source. It is for one goroutine.
type Reader struct {
	// Format is what the source was taken for.
	Format string

	source rowSource
	rows   int64
}

// rowSource fills in one event from the next row.
type rowSource interface {
	next(ev *exchange.Event) error
	// noted returns what is to be said of rows that were taken, since it was asked last, and all names so far that nothing
	// is read from.
	noted() (notes []exchange.Note, unread []string)
}

// NewReader starts reading a source, plain or compressed with gzip or zstd: it
// takes its format from the options or from its content, and reads its header.
// A source that is none of the formats gives a *FileError.
func NewReader(r io.Reader, opt Options) (*Reader, error) {
	if err := CheckFormat(opt.Format); err != nil {
		return nil, err
	}
	if err := CheckMap(opt.Map); err != nil {
		return nil, err
	}
	if opt.FirstLine == 0 { // a row can begin as a compressed file does
		var err error
		if r, err = Decompress(r); err != nil {
			return nil, err
		}
	}
	in := withLines(r)
	k, err := detect(in, opt.Format, opt.FirstLine > 0)
	if err != nil {
		return nil, err
	}
	rd := &Reader{Format: k.format}
	if k.format == CSV || k.format == Shadowserver {
		src, err := newCSVSource(in, opt)
		if err != nil {
			return nil, err
		}
		if opt.Format == "" || opt.Format == Auto {
			rd.Format = src.flavour()
		}
		rd.source = src
		return rd, nil
	}
	src := new(jsonSource)
	src.shape = newShape(k, opt, &src.found)
	if k.document {
		if src.values, err = readDocument(in, k.format); err != nil {
			return nil, err
		}
	} else {
		rows := &jsonLines{lines{in: in}}
		if opt.FirstLine > 0 {
			rows.lines.number = opt.FirstLine - 1
		}
		src.values = rows
	}
	rd.source = src
	return rd, nil
}

func newShape(k kind, opt Options, to *found) shape {
	switch k.format {
	case N6:
		return n6{n6Table.with(opt).row(to.skip)}
	case IDEA:
		return idea{ideaTable.with(opt).row(to.skip)}
	case XARF:
		return xarf{xarfTable.with(opt).row(to.skip)}
	case STIX:
		return newSTIX(stixTable.with(opt).row(nil))
	case MISP:
		return &misp{document: k.document, row: mispTable.with(opt).row(nil)}
	}
	return &keyed{plain.with(opt).row(to.skip)}
}

// Next fills in the next event. It returns io.EOF at the end, a *RowError for a
// rejected row, a *FileError where the rest is beyond reading, and whatever the
// source's reader returned.
func (r *Reader) Next(ev *exchange.Event) error {
	*ev = exchange.Event{Count: 1}
	err := r.source.next(ev)
	if err == nil {
		r.rows++
		return nil
	}
	var row *RowError
	if errors.As(err, &row) {
		r.rows++
	}
	return err
}

// Noted returns what is to be said of the rows since it was called last: what of them was left out. unread are the columns
// and keys that nothing is read from.
func (r *Reader) Noted() (notes []exchange.Note, unread []string) { return r.source.noted() }

// Rows returns how many rows were read, rejected ones included.
func (r *Reader) Rows() int64 { return r.rows }

func fileError(line int, format string, args ...any) error {
	return &FileError{exchange.Problem{Line: line, Reason: fmt.Sprintf(format, args...)}}
}

func rowError(line int, column, format string, args ...any) error {
	return &RowError{exchange.Problem{Line: line, Column: column[:min(len(column), 64)], Reason: fmt.Sprintf(format, args...)}}
}

// atLine says on which line a row stands that is rejected.
func atLine(err error, line int) error {
	var row *RowError
	if errors.As(err, &row) {
		row.Line = line
	}
	return err
}

var bom = []byte("\xef\xbb\xbf")
