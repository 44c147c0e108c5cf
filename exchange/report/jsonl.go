package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// maxNested is how deep objects are looked into; their keys are joined by dots.
const maxNested = 4

// jsonSource is JSON lines: one object a line, its keys named as columns are.
type jsonSource struct {
	lines lines
	names map[string]named
	in    bytes.Reader
	dec   *jsontext.Decoder
	picks picks
	// resolver is set when the row is one of a sinkhole DNS report.
	resolver bool
}

func newJSONSource(in *bufio.Reader, opt Options) *jsonSource {
	s := &jsonSource{lines: lines{in: in}, names: mapped(opt.Map), picks: make(picks)}
	s.dec = jsontext.NewDecoder(&s.in)
	if opt.FirstLine > 0 {
		s.lines.number = opt.FirstLine - 1
	}
	return s
}

func (s *jsonSource) next(ev *exchange.Event) error {
	for {
		ln, err := s.lines.next()
		if err != nil {
			return err
		}
		ev.Line = ln.number
		if ln.raw == nil {
			return rowError(ln.number, "", "longer than 64 KiB")
		}
		raw := bytes.TrimSpace(ln.raw)
		if len(raw) == 0 {
			continue
		}
		if bytes.IndexByte(raw, 0) >= 0 {
			return rowError(ln.number, "", "holds a NUL byte")
		}
		if raw[0] != '{' {
			return rowError(ln.number, "", "is not a JSON object")
		}
		s.in.Reset(raw)
		s.dec.Reset(&s.in)
		clear(s.picks)
		s.resolver = false
		if err := s.object(""); err != nil {
			return rowError(ln.number, "", "%s", bound(err.Error()))
		}
		if _, err := s.dec.ReadToken(); !errors.Is(err, io.EOF) {
			return rowError(ln.number, "", "something follows the JSON object")
		}
		if p := s.picks[fieldByName["ip"]]; p.name == "src_ip" && s.resolver {
			return rowError(ln.number, "src_ip", "%s", resolverReason)
		}
		for _, f := range fields {
			p, ok := s.picks[f]
			if !ok {
				continue
			}
			if err := f.set(ev, p.value); err != nil {
				return rowError(ln.number, p.name, "%v", err)
			}
		}
		return complete(ev)
	}
}

// picks holds, for each field, the value under the name that ranks first.
type picks map[*field]pick

type pick struct {
	name  string
	rank  int
	value []byte
}

// object reads an object whose '{' is next.
func (s *jsonSource) object(prefix string) error {
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for s.dec.PeekKind() != '}' {
		t, err := s.dec.ReadToken()
		if err != nil {
			return err
		}
		name := prefix + t.String()
		if s.dec.PeekKind() == '{' && s.dec.StackDepth() < maxNested {
			if err := s.object(name + "."); err != nil {
				return err
			}
			continue
		}
		value, err := s.dec.ReadValue()
		if err != nil {
			return err
		}
		s.resolver = s.resolver || name == "query_type"
		n := s.names[name]
		if n.field == nil {
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
		if have, ok := s.picks[n.field]; len(text) > 0 && (!ok || n.rank < have.rank) {
			s.picks[n.field] = pick{name: name, rank: n.rank, value: text}
		}
	}
	_, err := s.dec.ReadToken()
	return err
}

func bound(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
