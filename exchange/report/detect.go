package report

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// kind is what a source is: its format, and for JSON whether it is a document
// or has a value on each line.
type kind struct {
	format   string
	document bool
}

// whole reports whether the source can only be read whole.
func (k kind) whole() bool { return k.document || k.format == STIX }

// detect decides by content what the source is, unless want says it, and
// refuses what is no text at all. It consumes a byte order mark. A cut of a longer
// source of JSON is rows, whatever its first one is.
func detect(in *bufio.Reader, want string, cut bool) (kind, error) {
	if head, _ := in.Peek(len(bom)); bytes.Equal(head, bom) {
		_, _ = in.Discard(len(bom))
	}
	head, err := in.Peek(1024)
	if len(head) == 0 {
		if err != nil && !errors.Is(err, io.EOF) {
			return kind{}, err
		}
		return kind{}, fileError(1, "the source is empty: a header line or a JSON object was expected")
	}
	if cut && want != "" && want != Auto && want != CSV && want != Shadowserver {
		return kind{format: want}, nil
	}
	first, _, _ := bytes.Cut(head, []byte{'\n'})
	text := bytes.TrimLeft(head, " \t\r\n")
	if !utf8.Valid(trimPartialRune(first)) || bytes.IndexByte(first, 0) >= 0 {
		return kind{}, fileError(1, "this is not text: a CSV with a header line, or JSON, plain or compressed with gzip or zstd, was expected")
	}
	k := kind{format: want}
	if want == "" {
		k.format = Auto
	}
	if csv := want == CSV || want == Shadowserver; csv || k.format == Auto && (len(text) == 0 || text[0] != '{' && text[0] != '[') {
		if k.format == Auto {
			k.format = CSV
		}
		return k, nil
	}
	head, _ = in.Peek(MaxRow)
	text = bytes.TrimLeft(head, " \t\r\n")
	line, _, _ := bytes.Cut(text, []byte{'\n'})
	signs, whole := signsOf(line)
	// The first value of JSON lines ends with its line; a line that is damaged has
	// nothing of it on the next.
	if !whole {
		all, complete := signsOf(text)
		k.document = complete || len(all) > len(signs)
		signs = all
	}
	if k.format == Auto {
		k.format = formatOf(signs)
	}
	list := len(text) > 0 && text[0] == '['
	k.document = k.document || list || signs["objects"] == "[" || signs["response"] == "[" || k.format == MISP && !whole
	return k, nil
}

// formatOf tells a JSON format by the names and texts of its first object.
func formatOf(signs map[string]string) string {
	has := func(names ...string) bool {
		for _, n := range names {
			if signs[n] == "" {
				return false
			}
		}
		return true
	}
	typ, id := signs["type"], signs["id"]
	switch {
	case typ == "bundle", signs["objects"] == "[", typ != "" && strings.HasPrefix(id, typ+"--"):
		return STIX
	case has("Event"), signs["response"] == "[", has("Attribute", "info"):
		return MISP
	case strings.HasPrefix(signs["Format"], "IDEA"), strings.HasPrefix(signs["format"], "IDEA"):
		return IDEA
	case has("xarf_version"):
		return XARF
	case has("restriction", "category"):
		return N6
	case has("__type"), has("source.ip"), has("classification.type"), has("feed.provider"), has("time.source"):
		return IntelMQ
	}
	return JSONLines
}

// signsOf reads the names of the first object in a text, with what those that
// hold text say; a list is there as [, others with one space. It returns what there is until
// the text ends, and whether the object does before.
func signsOf(text []byte) (signs map[string]string, whole bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	for d.PeekKind() == '[' && d.StackDepth() < 2 {
		if _, err := d.ReadToken(); err != nil {
			return nil, false
		}
	}
	if d.PeekKind() != '{' {
		return nil, false
	}
	signs = make(map[string]string)
	_, _ = d.ReadToken()
	for d.PeekKind() != '}' {
		t, err := d.ReadToken()
		if err != nil {
			return signs, false
		}
		name := t.String()
		signs[name] = " "
		if d.PeekKind() == '[' {
			signs[name] = "["
		}
		value, err := d.ReadValue()
		if err != nil {
			return signs, false
		}
		if value.Kind() == '"' {
			if text, err := jsontext.AppendUnquote(nil, value); err == nil && len(text) > 0 {
				signs[name] = string(text)
			}
		}
	}
	_, err := d.ReadToken()
	return signs, err == nil
}

// trimPartialRune drops the bytes of a rune that the end of the text cut.
func trimPartialRune(b []byte) []byte {
	for i := 1; i <= min(utf8.UTFMax, len(b)); i++ {
		if utf8.RuneStart(b[len(b)-i]) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}
