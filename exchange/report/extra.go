package report

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// extra collects what else a row says, as the text of a JSON object.
type extra struct {
	keep bool
	text []byte
}

// add keeps a value under a name, if it has room. The field's own prefix is what a row that
// was read before has: it is not doubled. What starts with an underscore is nobody else's
// (XARF's _internal must not be sent on).
func (x *extra) add(name string, value []byte) {
	name, _ = strings.CutPrefix(name, "extra.")
	if !x.keep || strings.HasPrefix(name, "_") || len(value) == 0 || len(x.text)+len(name)+len(value)+8 > MaxExtra {
		return
	}
	before := len(x.text)
	if before == 0 {
		x.text = append(x.text, '{')
	} else {
		x.text = append(x.text, ',')
	}
	key, err1 := jsontext.AppendQuote(nil, name)
	for _, sep := range []string{"{", ","} { // no value can look like this: its quotes are escaped
		if bytes.Contains(x.text[:before], append([]byte(sep), append(key, ':')...)) {
			x.text = x.text[:before]
			return
		}
	}
	x.text = append(x.text, key...)
	var err2 error
	x.text = append(x.text, ':')
	x.text, err2 = jsontext.AppendQuote(x.text, value)
	if err1 != nil || err2 != nil || len(x.text) >= MaxExtra { // it is not UTF-8, or its quotes took the room
		x.text = x.text[:before]
	}
}

// scalarText is a text, number or truth value as its text; nil for others.
func scalarText(v jsontext.Value) []byte {
	switch v.Kind() {
	case jsontext.KindString:
		text, err := jsontext.AppendUnquote(nil, v)
		if err != nil {
			return nil
		}
		return text
	case jsontext.KindNumber, jsontext.KindTrue, jsontext.KindFalse:
		return v
	default:
		return nil
	}
}

// String ends the object.
func (x *extra) String() string {
	if len(x.text) == 0 {
		return ""
	}
	return string(x.text) + "}"
}
