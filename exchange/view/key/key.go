// Package key has what the packages of the view write of objects into their keys: identifiers and versions, in forms
// that are short, sort, and compare fast.
package key

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// ID is an object's identifier, with the version of STIX it is of: "" for 2.1. The same object in another version
// of STIX is kept beside it.
type ID struct {
	UUID [16]byte
	Type string
	Spec string
}

func (o ID) String() string { return string(o.AppendTo(make([]byte, 0, len(o.Type)+38))) }

// AppendTo appends the identifier's text.
func (o ID) AppendTo(b []byte) []byte { return stix.ID{Type: o.Type, UUID: o.UUID}.AppendTo(b) }

// SpecName is the version of STIX as an object has it.
func (o ID) SpecName() string { return cmp.Or(o.Spec, "2.1") }

// Specs are the versions of STIX that objects may be of, as an ID has them, newest first.
var Specs = []string{"", "2.0"}

// ParseID reads <type>--<UUID>, without looking closely.
func ParseID(text []byte) (o ID, ok bool) {
	n := len(text) - 36
	if n < 3 || text[n-1] != '-' || text[n-2] != '-' {
		return o, false
	}
	var digits [32]byte
	d := digits[:0]
	for _, c := range text[n:] {
		if c != '-' {
			if len(d) == 32 {
				return o, false
			}
			d = append(d, c)
		}
	}
	if len(d) != 32 {
		return o, false
	}
	if _, err := hex.Decode(o.UUID[:], d); err != nil {
		return o, false
	}
	o.Type = TypeName(text[:n-2])
	return o, true
}

// Exact is ParseID of an identifier that is written in the usual form; no object has another.
func Exact(text string) (o ID, ok bool) {
	o, ok = ParseID([]byte(text))
	return o, ok && o.String() == text
}

// Scanned reads the identifier of a scanned object.
func Scanned(b stix.Brief) (ID, bool) {
	id, ok := ParseID(b.ID)
	if spec := b.Spec(); slices.Contains(Specs, spec) {
		id.Spec = spec
	}
	return id, ok
}

// Of is the identifier of what a version names.
func Of(v record.Version) (ID, bool) {
	id, ok := Exact(v.ID)
	if slices.Contains(Specs, v.SpecVersion) {
		id.Spec = v.SpecVersion
	}
	return id, ok
}

// Record names a version.
func (o ID) Record(v Version) record.Version {
	return record.Version{ID: o.String(), SpecVersion: o.SpecName(), Version: v.Time()}
}

// Types are the usual types, in an order that keys rely on: it only grows.
var Types = []string{
	"ipv4-addr", "ipv6-addr", "network-traffic", "observed-data", "indicator", "relationship", "sighting",
	"identity", "malware", "location", "course-of-action", "marking-definition", "extension-definition",
}

// codes are the places of the types in that list, from 1.
var codes = func() map[string]byte {
	m := make(map[string]byte)
	for i, t := range Types {
		m[t] = byte(i + 1)
	}
	return m
}()

// Code is one of the usual types', 0 of another.
func Code(typ string) byte { return codes[typ] }

// TypeName interns the usual types.
func TypeName(b []byte) string {
	if code := codes[string(b)]; code > 0 {
		return Types[code-1]
	}
	return string(b)
}

// AppendType appends a type, of a version of STIX where that is not 2.1, so that
// none is the start of another: a byte for the usual ones.
func AppendType(k []byte, typ, spec string) []byte {
	if code := codes[typ]; code > 0 && spec == "" {
		return append(k, code)
	}
	k = append(append(k, 0), typ...)
	if spec != "" {
		k = append(append(k, '@'), spec...) // no type has an @
	}
	return append(k, 0)
}

// DecodeType reads what AppendType wrote.
func DecodeType(b []byte) (typ, spec string, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", "", nil, false
	}
	if code := int(b[0]); code > 0 {
		if code > len(Types) {
			return "", "", nil, false
		}
		return Types[code-1], "", b[1:], true
	}
	end := bytes.IndexByte(b[1:], 0)
	if end < 1 {
		return "", "", nil, false
	}
	typ, spec, _ = strings.Cut(string(b[1:1+end]), "@")
	return TypeName([]byte(typ)), spec, b[2+end:], true
}

// Version is an instant in a form that sorts.
type Version [12]byte

// VersionOf makes one of an instant.
func VersionOf(t time.Time) (v Version) {
	binary.BigEndian.PutUint64(v[:8], uint64(t.Unix())^1<<63)
	binary.BigEndian.PutUint32(v[8:], uint32(t.Nanosecond()))
	return v
}

// ParseVersion reads a version as an object has it, empty for none.
func ParseVersion(text []byte) (Version, error) {
	h := stix.Head{Modified: string(text)}
	t, err := h.Version()
	return VersionOf(t), err
}

// After tells whether a version is the later one.
func (v Version) After(o Version) bool { return bytes.Compare(v[:], o[:]) > 0 }

// Time is the instant.
func (v Version) Time() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(v[:8])^1<<63), int64(binary.BigEndian.Uint32(v[8:]))).UTC()
}
