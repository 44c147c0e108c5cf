package stix

import (
	"bytes"
	"fmt"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Mark returns an object with the marking of a label first in its object_marking_refs; all other bytes are as they were.
// The object was read by ParseHead before.
func Mark(raw []byte, label tlp.Level) []byte {
	id := label.MarkingID()
	at, empty := markings(raw)
	if at < 0 {
		at = bytes.IndexByte(raw, '{') + 1
		return slices.Concat(raw[:at], fmt.Appendf(nil, `"object_marking_refs":[%q],`, id), raw[at:])
	}
	text := fmt.Appendf(nil, "%q", id)
	if !empty {
		text = append(text, ',')
	}
	return slices.Concat(raw[:at], text, raw[at:])
}

// Unmark undoes Mark. It is as it was before, byte for byte.
func Unmark(raw []byte, label tlp.Level) []byte {
	text := fmt.Appendf(nil, "%q", label.MarkingID())
	at, _ := markings(raw)
	if at < 0 || !bytes.HasPrefix(raw[at:], text) {
		return raw
	}
	end := at + len(text)
	if raw[end] == ',' {
		return slices.Concat(raw[:at], raw[end+1:])
	}
	if property := []byte(`"object_marking_refs":[`); bytes.HasSuffix(raw[:at], property) && bytes.HasPrefix(raw[end:], []byte("],")) && raw[at-len(property)-1] == '{' {
		return slices.Concat(raw[:at-len(property)], raw[end+2:])
	}
	return slices.Concat(raw[:at], raw[end:])
}

// markings finds the first byte inside the list of an object's object_marking_refs, -1 for none, and whether the list is
// empty.
func markings(raw []byte) (at int, empty bool) {
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return -1, false
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return -1, false
		}
		if name.String() != "object_marking_refs" {
			if d.SkipValue() != nil {
				return -1, false
			}
			continue
		}
		if open, err := d.ReadToken(); err != nil || open.Kind() != '[' {
			return -1, false
		}
		return int(d.InputOffset()), d.PeekKind() == ']'
	}
	return -1, false
}

// Same tells whether two texts are the same object: equal in the form of RFC 8785, the TLP entries of their
// object_marking_refs left out.
func Same(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, err1 := unmarked(a)
	y, err2 := unmarked(b)
	return err1 == nil && err2 == nil && bytes.Equal(x, y)
}

// unmarked is an object in the form of RFC 8785 without TLP markings of the whole.
func unmarked(raw []byte) ([]byte, error) {
	var o map[string]jsontext.Value
	if err := jsonv2.Unmarshal(raw, &o); err != nil {
		return nil, err
	}
	var refs []string
	if list, there := o["object_marking_refs"]; there && jsonv2.Unmarshal(list, &refs) == nil {
		refs = slices.DeleteFunc(refs, func(id string) bool { _, label := tlp.FromMarking(id); return label })
		delete(o, "object_marking_refs")
		if len(refs) > 0 {
			text, err := jsonv2.Marshal(refs)
			if err != nil {
				return nil, err
			}
			o["object_marking_refs"] = text
		}
	}
	text, err := jsonv2.Marshal(o)
	if err != nil {
		return nil, err
	}
	return canonical(text)
}
