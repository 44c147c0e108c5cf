package report

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxNested is how deep objects are looked into; their keys are joined by dots.
const maxNested = 4

// shape reads one JSON value of a format.
type shape interface {
	// value adds the rows that a value holds, which stands at a line.
	value(line int, raw []byte, to *found)
	// end adds what is only known once all values are read.
	end(to *found)
}

// found are rows, read and not yet returned, and what is to be said of those that were taken.
type found struct {
	rows   []foundRow
	notes  []exchange.Note
	unread []string
}

// skip notes that nothing is read from a key.
func (f *found) skip(name string) {
	if len(f.unread) < exchange.MaxNotes && !slices.Contains(f.unread, name) {
		f.unread = append(f.unread, name)
	}
}

type foundRow struct {
	ev  exchange.Event
	err error
	of  *stixObject // where it was made of one
}

func (f *found) event(ev *exchange.Event) {
	if err := complete(ev); err != nil {
		f.problem(err)
		return
	}
	f.rows = append(f.rows, foundRow{ev: *ev})
}

func (f *found) problem(err error) { f.rows = append(f.rows, foundRow{err: err}) }

// jsonSource is JSON of any format: its values are lines, or members of a document.
type jsonSource struct {
	values values
	shape  shape
	found  found
	at     int // into found
	ended  bool
}

func (s *jsonSource) next(ev *exchange.Event) error {
	for s.at == len(s.found.rows) {
		if s.ended {
			return io.EOF
		}
		s.found.rows, s.at = s.found.rows[:0], 0
		line, raw, err := s.values.next()
		var row *RowError
		switch {
		case errors.Is(err, io.EOF):
			s.ended = true
			s.shape.end(&s.found)
		case errors.As(err, &row):
			s.found.problem(err)
		case err != nil:
			return err
		default:
			s.shape.value(line, raw, &s.found)
		}
	}
	r := &s.found.rows[s.at]
	s.at++
	if r.err != nil {
		return r.err
	}
	*ev = r.ev
	return nil
}

// keyed reads objects whose keys are named as columns are: plain JSON lines, and
// IntelMQ's.
type keyed struct {
	row *row
}

func (*keyed) end(*found) {}

func (k *keyed) value(line int, raw []byte, to *found) {
	w := k.row
	w.clear()
	resolver := false
	err := walk(raw, func(name string, value jsontext.Value) error {
		resolver = resolver || strings.EqualFold(name, "query_type")
		return w.value(name, value)
	})
	if err != nil {
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	}
	if ip := w.picks[ipIndex]; ip.name == "src_ip" && resolver {
		w.fail(ip.name, "%s", resolverReason)
	}
	w.event(line, to)
}

// value takes a JSON value under a name: a text or a number. Others say nothing that is read, and a label that is one of
// them could mean any.
func (w *row) value(name string, value jsontext.Value) error {
	lower := strings.ToLower(name)
	if w.byName[lower].restricts() && value.Kind() != jsontext.KindString && value.Kind() != jsontext.KindNull {
		return errNoLabel
	}
	switch value.Kind() { //nolint:exhaustive // others say nothing
	case jsontext.KindString:
		text, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return err
		}
		w.add(name, text)
	case jsontext.KindNumber:
		w.add(name, bytes.Clone(value))
	case jsontext.KindTrue, jsontext.KindFalse:
		if w.ruled[lower] || w.byName[lower].field == nil {
			w.add(name, bytes.Clone(value))
		}
	}
	return nil
}

// walk calls take for each key of a JSON object. Keys of objects within it follow that one's and a dot, down
// to maxNested; a list is one value.
func walk(raw []byte, take func(name string, value jsontext.Value) error) error {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if err := walkObject(d, "", take); err != nil {
		return err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func walkObject(d *jsontext.Decoder, prefix string, take func(name string, value jsontext.Value) error) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := prefix + strings.TrimSpace(t.String())
		if d.PeekKind() == '{' && d.StackDepth() < maxNested && !isLabel(name) {
			if err := walkObject(d, name+".", take); err != nil {
				return err
			}
			continue
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := take(name, value); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// isLabel tells whether a key is one of a label, which is a text.
func isLabel(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.EqualFold(last, labelField) || strings.EqualFold(last, floorField)
}

// each calls take for each member of a list, or for the value itself where it is none.
func each(value jsontext.Value, take func(i int, value jsontext.Value) error) error {
	if value.Kind() != '[' {
		return take(0, value)
	}
	d := jsontext.NewDecoder(bytes.NewReader(value))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for i := 0; d.PeekKind() != ']'; i++ {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := take(i, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *jsonSource) noted() (notes []exchange.Note, unread []string) {
	notes, s.found.notes = s.found.notes, nil
	return notes, s.found.unread
}

func bound(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
