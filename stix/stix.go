// Package stix is what an exchange needs of STIX 2.1 and no more: objects that
// keep the bytes they came in, deterministic identifiers, bundles, and
// appenders that write the objects an infection is made of.
//
// It is not an object model. What came from outside stays the bytes it was;
// only a Head is decoded, and what is relayed is relayed byte for byte. What we
// write ourselves is appended by hand into one buffer: a takedown makes some
// ten million objects, and reflection would be most of its cost.
//
// Invariants: the same input gives the same bytes; every identifier is a
// function of what the object says; times are UTC.
package stix

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// MaxDepth is the deepest nesting of arrays and objects that ParseHead takes,
// the object itself included.
const MaxDepth = 64

// Head is what the exchange reads of an object in order to store, order, route
// and label it. Strings are as they stood in the object; "" means absent.
type Head struct {
	Type, ID, SpecVersion string
	Created, Modified     string
	CreatedByRef          string
	Revoked               bool
	ObjectMarkingRefs     []string
	// GranularMarkingRefs are the marking_ref values of granular_markings.
	GranularMarkingRefs []string
	Labels              []string
	// Lookalike is a property that seems to say a TLP label, and says none that the standard has; "" for none.
	Lookalike string
	// Refs are the values of every other property whose name ends in _ref or _refs, at any depth, in the order they
	// stand in.
	Refs []string
}

// Versioned tells whether the object has versions: not an observable, such as an address.
func (h *Head) Versioned() bool { return h.Created+h.Modified != "" }

// Context tells whether the object says of what it refers to how it is labelled, as the container of an event does: of
// everything, or, as an observed-data, of observables alone.
func (h *Head) Context() (ofAll, ofObservables bool) {
	all := h.Type == "report" || h.Type == "grouping"
	return all, all || h.Type == "observed-data"
}

// versioned are the types of STIX that are no observables (STIX 2.1 sections 4, 5 and 7).
var versioned = func() map[string]bool {
	m := make(map[string]bool)
	for t := range strings.FieldsSeq(`attack-pattern campaign course-of-action grouping identity incident indicator infrastructure intrusion-set
		location malware malware-analysis note observed-data opinion report threat-actor tool vulnerability relationship sighting
		language-content marking-definition extension-definition bundle`) {
		m[t] = true
	}
	return m
}()

// Observable tells whether an id is of an observable, such as an address, or of a type that the standard does not know,
// which may be one.
func Observable(id string) bool {
	typ, _, _ := strings.Cut(id, "--")
	return !versioned[typ]
}

// Opaque tells whether a reference to an object of the type says nothing of what its author knows: it names somebody,
// a place or a definition.
func Opaque(id string) bool {
	typ, _, _ := strings.Cut(id, "--")
	switch typ {
	case "identity", "location", "marking-definition", "extension-definition":
		return true
	}
	return false
}

// noVersion is the version of an object that has neither modified nor created,
// such as an address: TAXII 2.1 section 3.4.1 leaves the constant to the server.
var noVersion = time.Unix(0, 0).UTC()

// Version returns the instant that tells versions of the object apart: its
// modified time, else its created time, else 1970-01-01T00:00:00Z
// (TAXII 2.1 section 5.8).
func (h *Head) Version() (time.Time, error) {
	s := h.Modified
	if s == "" {
		s = h.Created
	}
	if s == "" {
		return noVersion, nil
	}
	return ParseTime(s)
}

// Spec returns the version of STIX that the object is of. Where it does not say,
// it is 2.0 if it is versioned: those objects need a spec_version in 2.1
// (STIX 2.1 section 3.2), cyber-observable ones do not.
func (h *Head) Spec() string { return specVersion(h.SpecVersion, h.Modified+h.Created != "") }

func specVersion(said string, versioned bool) string {
	switch {
	case said != "":
		return said
	case versioned:
		return "2.0"
	}
	return "2.1"
}

// ErrObject is in the chain of every error about an object that is not
// acceptable STIX.
var ErrObject = errors.New("not a STIX object")

func objectErr(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrObject, fmt.Sprintf(format, args...))
}

// ParseHead reads the head of one object from its JSON text. It refuses what
// could be read in two ways: duplicate keys, invalid UTF-8, anything after the
// object, nesting deeper than MaxDepth, and an id that is not <type>--<UUID>.
// It keeps nothing of raw.
func ParseHead(raw []byte) (Head, error) {
	if d := depth(raw); d > MaxDepth {
		return Head{}, objectErr("nested %d deep, %d is the limit", d, MaxDepth)
	}
	var p headParser
	h, err := p.parse(raw)
	if err != nil {
		return Head{}, err
	}
	switch {
	case h.Type == "":
		return Head{}, objectErr("no type")
	case h.ID == "":
		return Head{}, objectErr("no id")
	}
	typ, err := ParseID(h.ID)
	if err != nil {
		return Head{}, err
	}
	if typ != h.Type {
		return Head{}, objectErr("id %.120q is not of type %.60q", h.ID, h.Type)
	}
	return h, nil
}

// depth returns how deep arrays and objects nest in the JSON text, without
// recursion and without judging the rest of its syntax.
func depth(raw []byte) int {
	deepest, now := 0, 0
	inString := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// canonical returns the RFC 8785 form of a JSON text.
func canonical(text []byte) ([]byte, error) {
	v := jsontext.Value(append([]byte(nil), text...))
	if err := v.Canonicalize(); err != nil {
		return nil, err
	}
	return v, nil
}
