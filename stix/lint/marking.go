package lint

import (
	"fmt"
	"reflect"
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
			c.reference(at+".marking_ref", []string{"marking-definition"}, ref)
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

// tlp1 are the definitions of labels that the standard makes (section 7.2.1.4).
var tlp1 = map[string]string{
	"marking-definition--613f2e26-407d-48c7-9eca-b8e91df99dc9": "white", "marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da": "green",
	"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82": "amber", "marking-definition--5e57c739-391a-4eb3-b6be-7d15ca92d5ed": "red",
}

// definition checks that a marking definition with the id of a label says that label, that one of TLP is one of the four of the
// standard, and that a statement is one.
func (c *checker) definition(id string, o map[string]any, raw []byte) {
	kind, _ := o["definition_type"].(string)
	what, _ := o["definition"].(map[string]any)
	switch _, text := what["statement"].(string); {
	case kind == "statement" && !text:
		c.add("definition.statement", Error, "7.2.1.3", "is no text")
	case kind == "tlp" && !c.errorsOnly:
		label := tlp1[id]
		whole := map[string]any{
			"type": "marking-definition", "spec_version": "2.1", "id": id, "created": "2017-01-20T00:00:00.000Z",
			"definition_type": "tlp", "name": "TLP:" + strings.ToUpper(label), "definition": map[string]any{"tlp": label},
		}
		if label == "" || !reflect.DeepEqual(whole, o) {
			c.add("", Error, "7.2.1.4", "a definition of TLP is one of the four of the standard, word for word")
		}
	case kind != "statement" && kind != "tlp" && (strings.HasPrefix(kind, "statement") || strings.HasSuffix(kind, "tlp")):
		c.add("definition_type", Error, "7.2.1", "%.40q is neither statement nor tlp", kind)
	}
	if level, ok := tlp.FromMarking(id); ok && tlp.Defined(raw) != level {
		c.add("", Error, "7.2.1.4", "its id is that of TLP:%s, which it does not define", strings.ToUpper(level.String()))
	}
}
