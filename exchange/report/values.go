package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxDocument is the longest JSON document that is read, in bytes: an array, a STIX
// bundle, a MISP event. It is read whole, so that its parts can refer to each
// other; JSON lines have no such limit.
const MaxDocument = 32 << 20

// values are the JSON values of a source. Where it is a document they are its
// members, and what stands for a line's number is a member's, from 1.
type values interface {
	// next returns a value that is an object, or io.EOF at the end. The bytes are
	// good until the next call.
	next() (line int, raw []byte, err error)
}

// jsonLines has a value on each line.
type jsonLines struct{ lines lines }

func (j *jsonLines) next() (int, []byte, error) {
	for {
		ln, err := j.lines.next()
		if err != nil {
			return 0, nil, err
		}
		if ln.raw == nil {
			return 0, nil, rowError(ln.number, "", "longer than 64 KiB")
		}
		raw := bytes.TrimSpace(ln.raw)
		switch {
		case len(raw) == 0:
			continue
		case bytes.IndexByte(raw, 0) >= 0:
			return 0, nil, rowError(ln.number, "", "holds a NUL byte")
		case raw[0] != '{':
			return 0, nil, rowError(ln.number, "", "is not a JSON object")
		}
		return ln.number, raw, nil
	}
}

// document has its values in a list.
type document struct {
	members []jsontext.Value
	at      int
}

func (d *document) next() (int, []byte, error) {
	if d.at == len(d.members) {
		return 0, nil, io.EOF
	}
	d.at++
	raw := d.members[d.at-1]
	if raw.Kind() != '{' {
		return 0, nil, rowError(d.at, "", "is not a JSON object")
	}
	return d.at, raw, nil
}

// readDocument reads a document to its end: an array, whose elements are the
// members; a STIX bundle or TAXII envelope, whose objects are; what MISP answers
// to a search; or one object, which is the only member.
func readDocument(in *bufio.Reader) (*document, error) {
	text, err := io.ReadAll(io.LimitReader(in, MaxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxDocument {
		return nil, fileError(1, "the JSON document is longer than %d MiB: send it in parts, or as JSON lines", MaxDocument>>20)
	}
	text = bytes.TrimSpace(text)
	d := new(document)
	if len(text) > 0 && text[0] == '[' {
		return d, damage(text, json.Unmarshal(text, &d.members))
	}
	var outer struct {
		Objects  jsontext.Value `json:"objects"`
		Response jsontext.Value `json:"response"`
	}
	if err := json.Unmarshal(text, &outer); err != nil {
		return nil, damage(text, err)
	}
	list := outer.Objects
	if list == nil {
		list = outer.Response
	}
	if list.Kind() == '[' {
		return d, damage(list, json.Unmarshal(list, &d.members))
	}
	d.members = []jsontext.Value{text}
	return d, nil
}

// damage names the line at which a document cannot be read.
func damage(text []byte, err error) error {
	if err == nil {
		return nil
	}
	at := int64(len(text))
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at = min(at, syntax.ByteOffset)
	}
	return fileError(1+bytes.Count(text[:at], []byte{'\n'}), "the JSON document is damaged: %s", bound(err.Error()))
}
