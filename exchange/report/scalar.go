package report

import (
	"bytes"
	"errors"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// scalar is a JSON text or number as its text; anything else is "".
type scalar string

// UnmarshalJSONFrom reads any value.
func (s *scalar) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	if err != nil {
		return err
	}
	if v.Kind() == jsontext.KindString {
		text, err := jsontext.AppendUnquote(nil, v)
		*s = scalar(text)
		return err
	}
	if v.Kind() == jsontext.KindNumber {
		*s = scalar(v)
	}
	return nil
}

// scalarOf is a JSON text or number as its text, trimmed; anything else is "".
func scalarOf(v jsontext.Value) scalar {
	if v.Kind() != jsontext.KindString && v.Kind() != jsontext.KindNumber {
		return ""
	}
	return scalar(bytes.TrimSpace(scalarText(v)))
}

// cutPrefixFold cuts a prefix off that stands there in any case.
func cutPrefixFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// scalars are a list of them; one that stands alone counts as a list.
type scalars []scalar

// UnmarshalJSONFrom reads any value.
func (s *scalars) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '[' {
		return json.UnmarshalDecode(d, (*[]scalar)(s))
	}
	var one scalar
	err := one.UnmarshalJSONFrom(d)
	if one != "" {
		*s = scalars{one}
	}
	return err
}

// flag is a JSON truth value, which some write as 0 and 1, or as text.
type flag bool

// UnmarshalJSONFrom reads any value.
func (f *flag) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	*f = flag(err == nil && (v.Kind() == jsontext.KindTrue || string(scalarText(v)) == "1" || string(scalarText(v)) == "true"))
	return err
}

var errNoLabel = errors.New("the label is no text, so nobody may be shown it")

// decode reads one value into a struct, or names what is wrong with it.
func decode(line int, raw []byte, to any, opts ...json.Options) error {
	if err := json.Unmarshal(raw, to, opts...); err != nil {
		return rowError(line, "", "%s", bound(err.Error()))
	}
	return nil
}
