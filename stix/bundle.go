package stix

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendBundleOpen appends the start of a bundle with the id; objects follow,
// separated by commas, then AppendBundleClose.
func AppendBundleOpen(b []byte, id string) []byte {
	b = append(b, `{"type":"bundle"`...)
	b = appendProperty(b, "id", id)
	return append(b, `,"objects":[`...)
}

// AppendBundleClose appends the end of a bundle.
func AppendBundleClose(b []byte) []byte { return append(b, `]}`...) }

// Objects calls each with the text of every member of the "objects" array of a
// bundle or of a TAXII envelope, in order. The text points into data. It stops
// at the first error, its own or each's.
func Objects(data []byte, each func(raw []byte) error) error {
	d := jsontext.NewDecoder(bytes.NewBuffer(data))
	if d.PeekKind() != '{' {
		return fmt.Errorf("%w: a bundle or envelope is a JSON object", ErrObject)
	}
	if _, err := d.ReadToken(); err != nil {
		return objectErr("%v", err)
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return objectErr("%v", err)
		}
		if name.String() != "objects" || d.PeekKind() != '[' {
			if err := d.SkipValue(); err != nil {
				return objectErr("%v", err)
			}
			continue
		}
		if _, err := d.ReadToken(); err != nil {
			return objectErr("%v", err)
		}
		for d.PeekKind() != ']' {
			raw, err := d.ReadValue()
			if err != nil {
				return objectErr("%v", err)
			}
			end := int(d.InputOffset())
			if err := each(data[end-len(raw) : end : end]); err != nil {
				return err
			}
		}
		if _, err := d.ReadToken(); err != nil {
			return objectErr("%v", err)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return objectErr("%v", err)
	}
	return nil
}
