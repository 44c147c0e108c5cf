package report

import (
	"bytes"
	"errors"
	"io"
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

// found are rows, read and not yet returned.
type found struct{ rows []foundRow }

type foundRow struct {
	ev  exchange.Event
	err error
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
	names map[string]named
	// restricting are the names of fields that restrict, in lower case; marks is what a row has of them.
	restricting map[string]*field
	in          bytes.Reader
	dec         *jsontext.Decoder
	picks       picks
	marks       []mark
	// resolver is set when the row is one of a sinkhole DNS report.
	resolver bool
	extra    extra
}

func newKeyed(opt Options) *keyed {
	k := &keyed{names: mapped(opt.Map), restricting: make(map[string]*field), picks: make(picks), extra: extra{keep: opt.Keep}}
	for name, n := range k.names {
		if n.restricts() {
			k.restricting[strings.ToLower(name)] = n.field
		}
	}
	k.dec = jsontext.NewDecoder(&k.in)
	return k
}

func (*keyed) end(*found) {}

func (k *keyed) value(line int, raw []byte, to *found) {
	k.in.Reset(raw)
	k.dec.Reset(&k.in)
	clear(k.picks)
	k.marks = k.marks[:0]
	k.resolver = false
	k.extra.text = k.extra.text[:0]
	if err := k.object(""); err != nil {
		to.problem(rowError(line, "", "%s", bound(err.Error())))
		return
	}
	if _, err := k.dec.ReadToken(); !errors.Is(err, io.EOF) {
		to.problem(rowError(line, "", "something follows the JSON object"))
		return
	}
	if p := k.picks[fieldByName["ip"]]; p.name == "src_ip" && k.resolver {
		to.problem(rowError(line, "src_ip", "%s", resolverReason))
		return
	}
	if email := fieldByName[emailField]; len(k.picks[fieldByName["ip"]].value) > 0 {
		k.extra.add(emailField, k.picks[email].value)
		delete(k.picks, email)
	}
	ev := exchange.Event{Line: line, Count: 1}
	for _, f := range fields {
		p, ok := k.picks[f]
		if !ok {
			continue
		}
		if err := f.set(&ev, p.value); err != nil {
			to.problem(rowError(line, p.name, "%v", err))
			return
		}
	}
	for _, m := range k.marks {
		if err := m.set(&ev, m.value); err != nil {
			to.problem(rowError(line, m.name, "%v", err))
			return
		}
	}
	ev.Extra = k.extra.String()
	to.event(&ev)
}

// picks holds, for each field, the value under the name that ranks first.
type picks map[*field]pick

type pick struct {
	name  string
	rank  int
	value []byte
}

// mark is a value of a field that restricts.
type mark struct {
	*field
	name  string
	value []byte
}

// object reads an object whose '{' is next.
func (k *keyed) object(prefix string) error {
	if _, err := k.dec.ReadToken(); err != nil {
		return err
	}
	for k.dec.PeekKind() != '}' {
		t, err := k.dec.ReadToken()
		if err != nil {
			return err
		}
		name := prefix + t.String()
		n := k.names[name]
		if n.field == nil {
			n.field = k.restricting[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "extra.")))]
		}
		if n.restricts() {
			if kind := k.dec.PeekKind(); kind != jsontext.KindString && kind != jsontext.KindNull && kind != jsontext.KindInvalid {
				return errNoLabel
			}
		}
		if k.dec.PeekKind() == '{' && k.dec.StackDepth() < maxNested {
			if err := k.object(name + "."); err != nil {
				return err
			}
			continue
		}
		value, err := k.dec.ReadValue()
		if err != nil {
			return err
		}
		k.resolver = k.resolver || name == "query_type"
		if n.field == nil {
			if k.extra.keep {
				k.extra.add(name, scalarText(value))
			}
			continue
		}
		var text []byte
		switch value.Kind() {
		case '"':
			if text, err = jsontext.AppendUnquote(nil, value); err != nil {
				return err
			}
		case '0':
			text = bytes.Clone(value)
		default:
			continue // null, true, false, lists and deep objects say nothing we read
		}
		if n.restricts() {
			if len(bytes.TrimSpace(text)) > 0 {
				k.marks = append(k.marks, mark{n.field, name, text})
			}
			continue
		}
		if have, ok := k.picks[n.field]; len(text) > 0 && (!ok || n.rank < have.rank) {
			k.picks[n.field] = pick{name: name, rank: n.rank, value: text}
		}
	}
	_, err := k.dec.ReadToken()
	return err
}

func bound(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
