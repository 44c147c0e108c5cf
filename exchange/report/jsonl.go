package report

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"

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

// members are those of a list, or the value itself where it is none.
func members(value jsontext.Value) (list []jsontext.Value, err error) {
	err = each(value, func(_ int, v jsontext.Value) error { list = append(list, v); return nil })
	return list, err
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
		text, err := textOf(value)
		if err != nil {
			return err
		}
		w.add(name, text)
	case jsontext.KindNumber:
		w.add(name, value)
	case jsontext.KindTrue, jsontext.KindFalse:
		if w.ruled[lower] || w.byName[lower].field == nil {
			w.add(name, value)
		}
	}
	return nil
}

// walker reads JSON that is in memory. What it hands out is part of that, and stays as long.
type walker struct {
	in   bytes.Buffer
	d    jsontext.Decoder
	name []byte
	// names has keys that were met, so that rows of one kind share them.
	names map[string]string
}

// maxNames is how many keys of maxName bytes a walker remembers.
const maxNames, maxName = 512, 64

var walkers = sync.Pool{New: func() any { return &walker{names: make(map[string]string)} }}

func walkerOf(raw []byte) *walker {
	w := walkers.Get().(*walker)
	w.in = *bytes.NewBuffer(raw)
	w.d.Reset(&w.in)
	return w
}

// walk calls take for each key of a JSON object. Keys of objects within it follow that one's and a dot, down
// to maxNested; a list is one value.
func walk(raw []byte, take func(name string, value jsontext.Value) error) error {
	w := walkerOf(raw)
	defer walkers.Put(w)
	if err := w.object("", take); err != nil {
		return err
	}
	if _, err := w.d.ReadToken(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON object")
	}
	return nil
}

func (w *walker) object(prefix string, take func(name string, value jsontext.Value) error) error {
	d := &w.d
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		if d.PeekKind() != '"' {
			_, err := d.ReadToken() // says what is wrong
			return err
		}
		key, err := d.ReadValue()
		if err != nil {
			return err
		}
		name, err := w.key(prefix, key)
		if err != nil {
			return err
		}
		if d.PeekKind() == '{' && d.StackDepth() < maxNested && !isLabel(name) {
			if err := w.object(name+".", take); err != nil {
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

// key is a key's name behind a prefix.
func (w *walker) key(prefix string, key jsontext.Value) (string, error) {
	text, err := textOf(key)
	w.name = append(append(w.name[:0], prefix...), bytes.TrimSpace(text)...)
	name, ok := w.names[string(w.name)]
	if !ok {
		name = string(w.name)
		if len(w.names) < maxNames && len(name) <= maxName {
			w.names[name] = name
		}
	}
	return name, err
}

// textOf is what a JSON text says: of the value's own bytes, where they hold no escapes.
func textOf(text jsontext.Value) ([]byte, error) {
	if n := len(text); n >= 2 && text.Kind() == jsontext.KindString && bytes.IndexByte(text, '\\') < 0 {
		return text[1 : n-1], nil
	}
	return jsontext.AppendUnquote(nil, text)
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
	w := walkerOf(value)
	defer walkers.Put(w)
	d := &w.d
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
