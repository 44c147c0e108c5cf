package stix

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

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
	lower := []byte(s)
	for i, c := range lower { // letters of ASCII only, so that places stay the same
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	text := string(lower)
	for {
		before, rest, found := strings.Cut(text, "tlp")
		if !found {
			return highest, ok
		}
		text = rest
		last, _ := utf8.DecodeLastRuneInString(before)
		next, _ := utf8.DecodeRuneInString(rest)
		if before != "" && !strings.ContainsRune(separators, last) || rest == "" || !strings.ContainsRune(separators, next) {
			continue // a part of a word, or the word alone
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

// maxSpread is how many steps a label is followed from object to object.
const maxSpread = 16

// Discloses tells whether an object says of what it refers to that it is there, or what it says: it
// has at least the labels of that.
func (h *Head) Discloses() bool {
	return h.Type == "relationship" || h.Type == "sighting" || h.Type == "language-content"
}

// Covers tells whether an object announces what it refers to, so that its label holds for that also where
// it comes later.
func (h *Head) Covers() bool { return h.Type == "report" || h.Type == "grouping" }

// SpreadLabels carries the labels of objects of one submission, by id, from what refers to what is
// referred to, and back for what discloses that, until nothing changes. Where that takes too long,
// everything gets the highest label there is.
func SpreadLabels(heads []*Head, byID map[string]tlp.Level) {
	for range maxSpread {
		changed := false
		raise := func(id string, to tlp.Level) {
			if was, there := byID[id]; there && was < to {
				byID[id], changed = to, true
			}
		}
		for _, h := range heads {
			switch h.Type {
			case "report", "grouping", "observed-data", "sighting", "note", "opinion":
				for _, ref := range h.Refs {
					raise(ref, byID[h.ID])
				}
			}
			if h.Discloses() {
				for _, ref := range h.Refs {
					raise(h.ID, byID[ref])
				}
			}
		}
		if !changed {
			return
		}
	}
	highest := tlp.None
	for _, l := range byID {
		highest = max(highest, l)
	}
	for id := range byID {
		byID[id] = highest
	}
}
