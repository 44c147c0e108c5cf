package lint

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// markings checks the granular markings of an object: each says one marking or
// language, of parts that the object has.
func (c *checker) markings(o map[string]any) {
	list, ok := o["granular_markings"].([]any)
	if !ok {
		if _, there := o["granular_markings"]; there {
			c.add("granular_markings", Error, "7.2.3", "is no list")
		}
		return
	}
	for i, v := range list {
		at := fmt.Sprintf("granular_markings[%d]", i)
		m, _ := v.(map[string]any)
		ref, marked := m["marking_ref"]
		if _, said := m["lang"]; said == marked {
			c.add(at, Error, "7.2.3", "has to have either marking_ref or lang")
		}
		if marked {
			c.reference(at+".marking_ref", "marking_ref", ref)
		}
		selectors, _ := m["selectors"].([]any)
		if len(selectors) == 0 {
			c.add(at+".selectors", Error, "7.2.3", "names no part of the object")
		}
		for j, s := range selectors {
			if c.full() {
				return
			}
			if text, ok := s.(string); !ok || !selects(o, text) {
				c.add(fmt.Sprintf("%s.selectors[%d]", at, j), Error, "7.2.3", "%.80q is no part of the object", fmt.Sprint(s))
			}
		}
	}
}

// selects tells whether a selector, such as external_references.[0].url, names a part of
// an object.
func selects(o map[string]any, selector string) bool {
	var at any = o
	for part := range strings.SplitSeq(selector, ".") {
		switch x := at.(type) {
		case map[string]any:
			v, ok := x[part]
			if !ok {
				return false
			}
			at = v
		case []any:
			if len(part) < 3 || part[0] != '[' || part[len(part)-1] != ']' {
				return false
			}
			i, err := strconv.Atoi(part[1 : len(part)-1])
			if err != nil || i < 0 || i >= len(x) {
				return false
			}
			at = x[i]
		default:
			return false
		}
	}
	return true
}

// definition checks that a marking definition with the id of a label says that label.
func (c *checker) definition(id string, raw []byte) {
	if level, ok := tlp.FromMarking(id); ok && tlp.Defined(raw) != level {
		c.add("", Error, "7.2.1.4", "its id is that of TLP:%s, which it does not define", strings.ToUpper(level.String()))
	}
}
