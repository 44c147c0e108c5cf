package report

import (
	"errors"

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

func (s scalars) first() scalar {
	if len(s) == 0 {
		return ""
	}
	return s[0]
}

// flag is a JSON truth value, which some write as 0 and 1, or as text.
type flag bool

// UnmarshalJSONFrom reads any value.
func (f *flag) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	v, err := d.ReadValue()
	*f = flag(err == nil && (v.Kind() == jsontext.KindTrue || string(scalarText(v)) == "1" || string(scalarText(v)) == "true"))
	return err
}

// marking is a label as text. What is no text could mean any: it is an error.
type marking string

// UnmarshalJSONFrom reads any value.
func (m *marking) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if k := d.PeekKind(); k != jsontext.KindString && k != jsontext.KindNull {
		return errNoLabel
	}
	return (*scalar)(m).UnmarshalJSONFrom(d)
}

var errNoLabel = errors.New("the label is no text, so nobody may be shown it")

// decode reads one value into a struct, or names what is wrong with it.
func decode(line int, raw []byte, to any, opts ...json.Options) error {
	if err := json.Unmarshal(raw, to, opts...); err != nil {
		return rowError(line, "", "%s", bound(err.Error()))
	}
	return nil
}
