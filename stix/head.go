package stix

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// headParser reads heads; it keeps its buffers from one object to the next.
type headParser struct {
	in  bytes.Reader
	dec *jsontext.Decoder
}

func (p *headParser) parse(raw []byte) (h Head, err error) {
	p.in.Reset(raw)
	if p.dec == nil {
		p.dec = jsontext.NewDecoder(&p.in)
	} else {
		p.dec.Reset(&p.in)
	}
	d := p.dec
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return h, objectErr("%v", err)
		}
		return h, objectErr("not a JSON object")
	}
	if _, err := d.ReadToken(); err != nil {
		return h, objectErr("%v", err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return h, objectErr("%v", err)
		}
		if err := p.property(&h, name.String()); err != nil {
			return h, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return h, objectErr("%v", err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return h, objectErr("something follows the object")
	}
	return h, nil
}

func (p *headParser) property(h *Head, name string) (err error) {
	switch name {
	case "type":
		h.Type, err = p.text(name)
	case "id":
		h.ID, err = p.text(name)
	case "spec_version":
		h.SpecVersion, err = p.text(name)
	case "created":
		h.Created, err = p.text(name)
	case "modified":
		h.Modified, err = p.text(name)
	case "created_by_ref":
		h.CreatedByRef, err = p.text(name)
	case "revoked":
		h.Revoked, err = p.boolean(name)
	case "object_marking_refs":
		h.ObjectMarkingRefs, err = p.texts(name, h.ObjectMarkingRefs)
	case "labels":
		h.Labels, err = p.texts(name, h.Labels)
	case "granular_markings":
		err = p.granular(h)
	default:
		switch {
		case !isRef(name):
			if lower := strings.ToLower(name); h.Lookalike == "" && strings.Contains(lower, "tlp") && (lower == "tlp" || strings.ContainsAny(lower, "_-")) {
				h.Lookalike = name
			}
			value, e := p.dec.ReadValue()
			if e != nil {
				return objectErr("%v", e)
			}
			if bytes.Contains(value, []byte("_ref")) || bytes.IndexByte(value, '\\') >= 0 {
				h.Refs = appendRefs(h.Refs, value)
			}
			if name == "extensions" && h.Lookalike == "" && bytes.Contains(bytes.ToLower(value), []byte(`"`+tlpExtension+`"`)) {
				h.Lookalike = tlpExtension
			}
		case strings.HasSuffix(name, "_ref"):
			var ref string
			ref, err = p.text(name)
			h.Refs = append(h.Refs, ref)
		default:
			h.Refs, err = p.texts(name, h.Refs)
		}
	}
	return err
}

// appendRefs appends the references that stand inside a value: those of its properties, at any depth, whose names end in
// _ref or _refs. The value is JSON.
func appendRefs(to []string, value []byte) []string {
	var walk func(d *jsontext.Decoder, name string) error
	walk = func(d *jsontext.Decoder, name string) error {
		open, err := d.ReadToken()
		if err != nil {
			return err
		}
		kind := open.Kind()
		if kind == '"' && isRef(name) {
			to = append(to, open.String())
		}
		if kind == '{' || kind == '[' {
			for d.PeekKind() != kind+2 { // its end: of either, two codes behind
				if kind == '{' {
					t, err := d.ReadToken()
					if err != nil {
						return err
					}
					name = t.String()
				}
				if err := walk(d, name); err != nil {
					return err
				}
			}
			_, err = d.ReadToken()
		}
		return err
	}
	_ = walk(jsontext.NewDecoder(bytes.NewReader(value)), "") // it was read once
	return to
}

// isRef tells whether a property's name is that of references to objects, but for those that say who made it and what
// marks it.
func isRef(name string) bool {
	switch name {
	case "created_by_ref", "object_marking_refs", "marking_ref":
		return false
	}
	return strings.HasSuffix(name, "_ref") || strings.HasSuffix(name, "_refs")
}

func (p *headParser) text(name string) (string, error) {
	if p.dec.PeekKind() != '"' {
		return "", p.mismatch(name, "a string")
	}
	t, err := p.dec.ReadToken()
	if err != nil {
		return "", objectErr("%s: %v", name, err)
	}
	return t.String(), nil
}

func (p *headParser) boolean(name string) (bool, error) {
	if k := p.dec.PeekKind(); k != 't' && k != 'f' {
		return false, p.mismatch(name, "true or false")
	}
	t, err := p.dec.ReadToken()
	if err != nil {
		return false, objectErr("%s: %v", name, err)
	}
	return t.Bool(), nil
}

func (p *headParser) texts(name string, to []string) ([]string, error) {
	err := p.list(name, func() error {
		s, err := p.text(name)
		to = append(to, s)
		return err
	})
	return to, err
}

// granular reads the marking_ref of each member of granular_markings.
func (p *headParser) granular(h *Head) error {
	return p.list("granular_markings", func() error {
		if p.dec.PeekKind() != '{' {
			return p.mismatch("granular_markings", "a list of objects")
		}
		if _, err := p.dec.ReadToken(); err != nil {
			return objectErr("granular_markings: %v", err)
		}
		for p.dec.PeekKind() != '}' {
			name, err := p.dec.ReadToken()
			if err != nil {
				return objectErr("granular_markings: %v", err)
			}
			if name.String() != "marking_ref" {
				if err := p.dec.SkipValue(); err != nil {
					return objectErr("granular_markings: %v", err)
				}
				continue
			}
			ref, err := p.text("marking_ref")
			if err != nil {
				return err
			}
			h.GranularMarkingRefs = append(h.GranularMarkingRefs, ref)
		}
		_, err := p.dec.ReadToken()
		return err
	})
}

// list reads an array and calls each before every element.
func (p *headParser) list(name string, each func() error) error {
	if p.dec.PeekKind() != '[' {
		return p.mismatch(name, "a list")
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return objectErr("%s: %v", name, err)
	}
	for p.dec.PeekKind() != ']' {
		if err := each(); err != nil {
			return err
		}
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return objectErr("%s: %v", name, err)
	}
	return nil
}

// mismatch reports a value of the wrong kind, or the syntax error that stands
// where the value should be.
func (p *headParser) mismatch(name, want string) error {
	if err := p.dec.SkipValue(); err != nil {
		return objectErr("%s: %v", name, err)
	}
	return objectErr("%s is not %s", name, want)
}
