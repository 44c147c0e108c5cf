package taxii

import (
	"bytes"
	"errors"
	"fmt"
)

// SplitEnvelope returns the texts of the members of "objects" in an envelope
// (section 3.7), as parts of data. It looks at no more of them than at where
// they end, so that one that is malformed does not take the others with it; what
// is around them has to be sound. Other properties are passed over (section 7.1).
// It stops with an error at more than limit objects.
func SplitEnvelope(data []byte, limit int) ([][]byte, error) {
	s := splitter{b: bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))}
	var list [][]byte
	seen := false
	if !s.take('{') {
		return nil, errors.New("an envelope is a JSON object")
	}
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return nil, s.fail("a comma or } is missing")
		}
		name, ok := s.text()
		if !ok || !s.take(':') {
			return nil, s.fail("a property's name is missing")
		}
		if string(name) != "objects" {
			if _, ok := s.value(); !ok {
				return nil, s.fail("a value does not end")
			}
			continue
		}
		if seen {
			return nil, s.fail("objects is there twice")
		}
		seen = true
		if !s.take('[') {
			return nil, s.fail("objects is not a list")
		}
		for first := true; !s.take(']'); first = false {
			if !first && !s.take(',') {
				return nil, s.fail("a comma or ] is missing")
			}
			raw, ok := s.value()
			if !ok || len(raw) == 0 {
				return nil, s.fail("a value is missing or does not end")
			}
			if len(list) == limit {
				return nil, fmt.Errorf("more than %d objects", limit)
			}
			list = append(list, raw)
		}
	}
	if s.space(); s.i != len(s.b) {
		return nil, s.fail("something follows the envelope")
	}
	return list, nil
}

// splitter walks over JSON without judging what is inside of values.
type splitter struct {
	b []byte
	i int
}

func (s *splitter) fail(what string) error { return fmt.Errorf("byte %d: %s", s.i, what) }

func (s *splitter) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\n' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

func (s *splitter) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

// text takes a string and returns what is between its quotes.
func (s *splitter) text() ([]byte, bool) {
	if !s.take('"') {
		return nil, false
	}
	for start := s.i; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return s.b[start : s.i-1], true
		}
	}
	return nil, false
}

// value takes any value: up to where its brackets and strings are closed.
func (s *splitter) value() ([]byte, bool) {
	s.space()
	depth := 0
	for start := s.i; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			if _, ok := s.text(); !ok {
				return nil, false
			}
			if depth == 0 {
				return s.b[start:s.i:s.i], true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of what holds a number or a word
				return s.b[start:s.i:s.i], true
			}
			if depth--; depth == 0 {
				s.i++
				return s.b[start:s.i:s.i], true
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return s.b[start:s.i:s.i], true
			}
		}
		s.i++
	}
	return nil, false
}
