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
const MaxDocument = 16 << 20

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
		ln, err := j.lines.next(nil)
		if err != nil {
			return 0, nil, err
		}
		if ln.raw == nil {
			return 0, nil, rowError(ln.number, "", "longer than 64 KiB")
		}
		raw := trim(ln.raw) // JSON has no NUL bytes
		switch {
		case len(raw) == 0:
			continue
		case raw[0] != '{':
			return 0, nil, rowError(ln.number, "", "is not a JSON object")
		}
		return ln.number, raw, nil
	}
}

// maxMember is the longest member of a document, in bytes; a MISP event may be as long as
// the document.
const maxMember = 256 << 10

// document has its values in a list, which is read member by member.
type document struct {
	text  []byte // the list, or the one member
	first int    // the line on which text begins
	dec   *jsontext.Decoder
	limit int
	at    int
	done  bool
}

func (d *document) next() (int, []byte, error) {
	if d.done {
		return 0, nil, io.EOF
	}
	d.at++
	raw := jsontext.Value(d.text)
	if d.dec == nil {
		d.done = true
	} else {
		if d.dec.PeekKind() == ']' {
			d.done = true
			return 0, nil, io.EOF
		}
		var err error
		if raw, err = d.dec.ReadValue(); err != nil {
			d.done = true
			return 0, nil, damage(d.text, d.first, err)
		}
	}
	switch {
	case raw.Kind() != '{':
		return 0, nil, rowError(d.at, "", "is not a JSON object")
	case len(raw) > d.limit:
		return 0, nil, rowError(d.at, "", "longer than %d KiB", d.limit>>10)
	}
	return d.at, raw, nil
}

// readDocument reads a document to its end: an array, whose elements are the
// members; a STIX bundle or TAXII envelope, whose objects are; what MISP answers
// to a search; or one object, which is the only member.
func readDocument(in *bufio.Reader, format string) (*document, error) {
	text, err := io.ReadAll(io.LimitReader(in, MaxDocument+1))
	if err != nil {
		return nil, err
	}
	if len(text) > MaxDocument {
		return nil, fileError(1, "the JSON document is longer than %d MiB: send it in parts, or as JSON lines", MaxDocument>>20)
	}
	d := &document{text: bytes.TrimLeft(text, " \t\r\n"), limit: maxMember}
	d.first = 1 + bytes.Count(text[:len(text)-len(d.text)], []byte{'\n'})
	if format == MISP {
		d.limit = MaxDocument
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	if len(d.text) > 0 && d.text[0] != '[' {
		var outer struct {
			Objects  jsontext.Value `json:"objects"`
			Response jsontext.Value `json:"response"`
		}
		if err := json.Unmarshal(d.text, &outer); err != nil {
			return nil, damage(d.text, d.first, err)
		}
		list := outer.Objects
		if list == nil {
			list = outer.Response
		}
		if list.Kind() != '[' {
			return d, nil
		}
		d.text = list
	}
	d.dec = jsontext.NewDecoder(bytes.NewBuffer(d.text))
	_, err = d.dec.ReadToken()
	return d, err
}

// check reads the document once, so that one that is damaged is refused whole.
func (d *document) check() error {
	dec := jsontext.NewDecoder(bytes.NewBuffer(d.text))
	err := dec.SkipValue()
	if err == nil {
		if _, err = dec.ReadToken(); errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = errors.New("something follows it")
		}
	}
	return damage(d.text, d.first, err)
}

// damage names the line at which a document that begins on a line cannot be read.
func damage(text []byte, first int, err error) error {
	at := int64(len(text))
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at = min(at, syntax.ByteOffset)
	}
	return fileError(first+bytes.Count(text[:at], []byte{'\n'}), "the JSON document is damaged: %s", bound(err.Error()))
}
