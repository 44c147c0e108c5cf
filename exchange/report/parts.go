package report

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/exchange"
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

// decode reads one value into a struct, or names what is wrong with it.
func decode(line int, raw []byte, to any, opts ...json.Options) error {
	if err := json.Unmarshal(raw, to, opts...); err != nil {
		return rowError(line, "", "%s", bound(err.Error()))
	}
	return nil
}

// draft fills in an event field by field and keeps the first error.
type draft struct {
	exchange.Event
	err error
}

func newDraft(line int) *draft { return &draft{Event: exchange.Event{Line: line, Count: 1}} }

// set fills in a field from what stands under a name, if anything does.
func (d *draft) set(field, name string, value scalar) {
	value = scalar(strings.TrimSpace(string(value)))
	if value == "" || d.err != nil {
		return
	}
	if err := fieldByName[field].set(&d.Event, []byte(value)); err != nil {
		d.err = rowError(d.Line, name, "%v", err)
	}
}

// end adds the event, or what is wrong with it.
func (d *draft) end(to *found) {
	if d.err != nil {
		to.problem(d.err)
		return
	}
	to.event(&d.Event)
}

// single returns the address that a text names which may be an address, a prefix or a
// range from-to: a range of one is that address, and one of more is no host.
func single(text string) (string, error) {
	text = strings.TrimSpace(text)
	many := fmt.Errorf("%.60q is a range of addresses: an infection is of one host, so name each", text)
	if p, err := netip.ParsePrefix(text); err == nil {
		if !p.IsSingleIP() {
			return "", many
		}
		return p.Addr().String(), nil
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return text, nil
	}
	a, _ := netip.ParseAddr(strings.TrimSpace(from))
	b, _ := netip.ParseAddr(strings.TrimSpace(to))
	if a.IsValid() && b.IsValid() && a != b {
		return "", many
	}
	if a.IsValid() && a == b {
		return a.String(), nil
	}
	return text, nil
}
