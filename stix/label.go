package stix

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Label is the highest label that an object carries itself, in its markings, the
// granular ones among them, and in its labels; None where it carries none. With a marking
// that is no TLP marking it is Unknown, and the error says which.
func (h *Head) Label() (tlp.Level, error) {
	known, err := h.labels()
	if err != nil {
		return tlp.Unknown, err
	}
	return known, nil
}

// KnownLabel is Label of what is known here, whatever else it carries.
func (h *Head) KnownLabel() tlp.Level {
	known, _ := h.labels()
	return known
}

// tlpExtension is the property of the OASIS extension that a marking definition says its level in.
const tlpExtension = "tlp_2_0"

// labels is the highest label that is known here, and what is not.
func (h *Head) labels() (known tlp.Level, err error) {
	if _, ok := tlp.FromMarking(h.ID); ok {
		known = tlp.Clear // the definition of a label is no secret
	}
	for _, refs := range [][]string{h.ObjectMarkingRefs, h.GranularMarkingRefs} {
		for _, id := range refs {
			if id == "" {
				continue // a granular marking of a language
			}
			l, ok := tlp.FromMarking(id)
			if !ok {
				err = fmt.Errorf("it is marked with %.80q, which is no TLP marking that is known here", id)
			}
			known = max(known, l)
		}
	}
	if h.Lookalike != "" && (h.Type != "marking-definition" || h.Lookalike != tlpExtension) {
		err = errors.New("one of its properties looks like a TLP label: labels are in object_marking_refs") // without its name, as below
	}
	for i, s := range h.Labels {
		l, ok := LabelIn(s)
		if !ok { // without its text: reasons are read by others than those who may read the object
			err = fmt.Errorf("labels[%d] looks like a TLP label and is none that is known here", i)
		}
		known = max(known, l)
	}
	return known, err
}

// IsHarmless reports whether an object defines a marking that says nothing about who may read, and nothing else: a
// statement, such as a copyright (section 7.2.1.3), or PAP, which is about what may be done.
func IsHarmless(raw []byte) bool {
	var o struct {
		Type       string                     `json:"type"`
		Kind       string                     `json:"definition_type"`
		Definition map[string]json.RawMessage `json:"definition"`
		Extensions json.RawMessage            `json:"extensions"`
	}
	if json.Unmarshal(raw, &o) != nil || o.Type != "marking-definition" || o.Extensions != nil || len(o.Definition) != 1 {
		return false
	}
	kind := strings.ToLower(o.Kind)
	if kind != "statement" && kind != "pap" {
		return false
	}
	for name, value := range o.Definition {
		var text *string
		return strings.EqualFold(name, kind) && json.Unmarshal(value, &text) == nil && text != nil
	}
	return false
}

// Unknown lists the markings that the object refers to and that are no TLP markings, in lower case.
func (h *Head) Unknown() (ids []string) {
	for _, refs := range [][]string{h.ObjectMarkingRefs, h.GranularMarkingRefs} {
		for _, id := range refs {
			if _, ok := tlp.FromMarking(id); !ok && id != "" {
				ids = append(ids, strings.ToLower(id))
			}
		}
	}
	return ids
}

// Ignore takes references to markings out of the head, by their ids in lower case: they say nothing
// about its label. TLP markings always do.
func (h *Head) Ignore(markings map[string]bool) {
	ignored := func(id string) bool {
		_, label := tlp.FromMarking(id)
		return !label && markings[strings.ToLower(id)]
	}
	h.ObjectMarkingRefs = slices.DeleteFunc(h.ObjectMarkingRefs, ignored)
	h.GranularMarkingRefs = slices.DeleteFunc(h.GranularMarkingRefs, ignored)
}

// separators stand between a TLP label and what is before or behind it.
const separators = " \t:;,|/=_-()[]{}\"'.#：–—\u00a0"

// LabelIn is the highest TLP label in a text: also with something before it, as in misp:tlp:red, or
// several. ok is false where something looks like one and is none that is known.
func LabelIn(s string) (highest tlp.Level, ok bool) {
	ok = true
	text := plain(s)
	for {
		before, rest, found := strings.Cut(text, "tlp")
		if !found {
			return highest, ok
		}
		text = rest
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(rest)
		if before != "" && !strings.ContainsRune(separators, last) || rest == "" {
			continue // a part of a word, or the word alone
		}
		if !strings.ContainsRune(separators, next) {
			ok = ok && !startsLevel(rest) // without a separator it is none, and looks like one
			continue
		}
		word := strings.TrimLeft(rest, separators)
		l, e := tlp.Parse(word)
		if e != nil {
			// Something follows it.
			for _, name := range []string{"amber+strict", "amber-strict", "amber_strict", "amber strict", "clear", "white", "green", "amber", "red"} {
				if behind, starts := strings.CutPrefix(word, name); starts && (behind == "" || strings.ContainsAny(behind[:1], separators)) {
					l, e = tlp.Parse(name)
					break
				}
			}
		}
		ok = ok && e == nil
		highest = max(highest, l)
	}
}

// plain is a text in lower case, its letters in their usual forms, and without what can't be seen: so that a label is no
// other for being written in full-width letters, or with a space of no width in it.
func plain(s string) string {
	ascii := true
	for i := 0; i < len(s); i++ {
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if !ascii {
		s = strings.Map(func(r rune) rune {
			if unicode.Is(unicode.Cf, r) {
				return -1
			}
			return r
		}, norm.NFKC.String(s))
	}
	return strings.ToLower(s)
}

// startsLevel tells whether a text starts with the name of a level.
func startsLevel(s string) bool {
	for _, name := range []string{"clear", "white", "green", "amber", "red"} {
		if strings.HasPrefix(s, name) {
			return true
		}
	}
	return false
}
