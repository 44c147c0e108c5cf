package stix

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MatchFields are the fields that ParseMatch knows: the optional ones of the
// STIX/TAXII 2.1 interoperability test document.
var MatchFields = []string{
	"confidence-gte", "confidence-lte", "indicator_types", "labels", "modified-gte", "revoked", "tlp", "valid_until-gte", "value",
}

// Match selects objects by what they say. Fields are ANDed, the values of one
// field ORed. An object that lacks a property does not match a field about it,
// but for revoked, which is false where it is absent.
type Match struct {
	confidenceMin, confidenceMax *int
	indicatorTypes, labels       []string
	values                       []string
	modifiedMin, validUntilMin   time.Time
	revoked                      *bool
	levels                       []tlp.Level
}

// ParseMatch reads fields by name, without the "match[…]" around them. It is
// nil where there are none; an unknown field is none.
func ParseMatch(fields map[string][]string) (*Match, error) {
	m := new(Match)
	known := 0
	for name, values := range fields {
		if !slices.Contains(MatchFields, name) {
			continue
		}
		known++
		if err := m.field(name, values); err != nil {
			return nil, fmt.Errorf("match[%s] %w", name, err)
		}
	}
	if known == 0 {
		return nil, nil
	}
	return m, nil
}

func (m *Match) field(name string, values []string) (err error) {
	one := func() (string, error) {
		if len(values) != 1 {
			return "", fmt.Errorf("takes one value, not %d", len(values))
		}
		return values[0], nil
	}
	switch name {
	case "indicator_types":
		m.indicatorTypes = values
	case "labels":
		m.labels = values
	case "value":
		m.values = values
	case "tlp":
		for _, v := range values {
			l, err := tlp.Parse(v)
			if err != nil {
				return err
			}
			m.levels = append(m.levels, l)
		}
	case "confidence-gte", "confidence-lte":
		s, err := one()
		if err != nil {
			return err
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 || n > 100 {
			return fmt.Errorf("is a whole number from 0 to 100, not %.20q", s)
		}
		if name == "confidence-gte" {
			m.confidenceMin = &n
		} else {
			m.confidenceMax = &n
		}
	case "modified-gte", "valid_until-gte":
		s, err := one()
		if err != nil {
			return err
		}
		t, err := ParseTime(s)
		if err != nil {
			return fmt.Errorf("%.60q is not a timestamp such as 2026-03-19T00:04:07.000Z", s)
		}
		if name == "modified-gte" {
			m.modifiedMin = t
		} else {
			m.validUntilMin = t
		}
	case "revoked":
		s, err := one()
		if err != nil {
			return err
		}
		if s != "true" && s != "false" {
			return fmt.Errorf("is true or false, not %.20q", s)
		}
		yes := s == "true"
		m.revoked = &yes
	}
	return nil
}

// matched are the properties that a Match looks at, each of whatever kind it is.
type matched struct {
	Confidence        jsontext.Value `json:"confidence"`
	IndicatorTypes    jsontext.Value `json:"indicator_types"`
	Labels            jsontext.Value `json:"labels"`
	Value             jsontext.Value `json:"value"`
	Modified          jsontext.Value `json:"modified"`
	ValidUntil        jsontext.Value `json:"valid_until"`
	Revoked           jsontext.Value `json:"revoked"`
	ObjectMarkingRefs jsontext.Value `json:"object_marking_refs"`
}

// Object reports whether the object matches. A nil Match matches everything.
func (m *Match) Object(raw []byte) bool {
	if m == nil {
		return true
	}
	var o matched
	if json.Unmarshal(raw, &o) != nil {
		return false
	}
	if m.confidenceMin != nil || m.confidenceMax != nil {
		n, ok := read[float64](o.Confidence)
		if !ok || m.confidenceMin != nil && n < float64(*m.confidenceMin) || m.confidenceMax != nil && n > float64(*m.confidenceMax) {
			return false
		}
	}
	if m.revoked != nil {
		if yes, _ := read[bool](o.Revoked); yes != *m.revoked {
			return false
		}
	}
	if m.values != nil {
		if s, ok := read[string](o.Value); !ok || !slices.Contains(m.values, s) {
			return false
		}
	}
	return anyOf(m.indicatorTypes, o.IndicatorTypes) && anyOf(m.labels, o.Labels) &&
		notBefore(m.modifiedMin, o.Modified) && notBefore(m.validUntilMin, o.ValidUntil) && m.level(o.ObjectMarkingRefs)
}

// level looks at the highest TLP level that the object itself is marked with.
func (m *Match) level(refs jsontext.Value) bool {
	if m.levels == nil {
		return true
	}
	list, _ := read[[]string](refs)
	highest := tlp.None
	for _, id := range list {
		l, _ := tlp.FromMarking(id)
		highest = max(highest, l)
	}
	return slices.Contains(m.levels, highest)
}

func read[T any](v jsontext.Value) (out T, ok bool) {
	return out, v != nil && json.Unmarshal(v, &out) == nil
}

func anyOf(want []string, v jsontext.Value) bool {
	if want == nil {
		return true
	}
	have, _ := read[[]string](v)
	return slices.ContainsFunc(have, func(s string) bool { return slices.Contains(want, s) })
}

func notBefore(least time.Time, v jsontext.Value) bool {
	if least.IsZero() {
		return true
	}
	s, ok := read[string](v)
	if !ok {
		return false
	}
	t, err := ParseTime(strings.TrimSpace(s))
	return err == nil && !t.Before(least)
}
