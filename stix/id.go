package stix

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// scoNamespace is the namespace of identifiers of cyber-observable objects
// (STIX 2.1 section 2.9).
var scoNamespace = uuid.MustParse("00abedb4-aa42-466c-9c01-fed23315a9b7")

// ownNamespace is the namespace of every other identifier that we derive. It is
// UUIDv5 of the URL namespace over "https://github.com/tocsin-exchange/tocsin".
var ownNamespace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://github.com/tocsin-exchange/tocsin"))

// SCOID returns the deterministic identifier of a cyber-observable object:
// UUIDv5 over the RFC 8785 form of contributing, a JSON object that holds the
// ID contributing properties that are present (STIX 2.1 section 2.9).
func SCOID(typ string, contributing []byte) (string, error) {
	c, err := canonical(contributing)
	if err != nil {
		return "", fmt.Errorf("contributing properties of %s: %w", typ, err)
	}
	return string(appendID(nil, scoNamespace, typ, c)), nil
}

// DerivedID returns our identifier for an object of the type that the fields
// name: UUIDv5 in our own namespace. fields are alternating names and values
// in ascending order of the names; the type is part of what is hashed, because
// objects of two types must not share a UUID.
func DerivedID(typ string, fields ...string) string {
	name := append(make([]byte, 0, 160), '{')
	for i := 0; i+1 < len(fields); i += 2 {
		name = AppendString(name, fields[i])
		name = append(name, ':')
		name = AppendString(name, fields[i+1])
		name = append(name, ',')
	}
	name = append(name, `"type":`...)
	name = append(AppendString(name, typ), '}')
	return string(appendID(make([]byte, 0, len(typ)+38), ownNamespace, typ, name))
}

func appendID(b []byte, space uuid.UUID, typ string, name []byte) []byte {
	return ID{typ, uuid.NewSHA1(space, name)}.AppendTo(b)
}

// ID is an identifier in its usual form, <Type>--<UUID> in lower case (STIX 2.1 section 2.9), in parts.
type ID struct {
	Type string
	UUID uuid.UUID
}

// AppendTo appends the identifier's text.
func (i ID) AppendTo(b []byte) []byte {
	b = append(append(b, i.Type...), "--00000000-0000-0000-0000-000000000000"...)
	u, be := (*[36]byte)(b[len(b)-36:]), binary.BigEndian
	be.PutUint64(u[:], hexDigits(be.Uint32(i.UUID[:])))
	middle := hexDigits(be.Uint32(i.UUID[4:]))
	be.PutUint32(u[9:], uint32(middle>>32))
	be.PutUint32(u[14:], uint32(middle))
	middle = hexDigits(be.Uint32(i.UUID[8:]))
	be.PutUint32(u[19:], uint32(middle>>32))
	be.PutUint32(u[24:], uint32(middle))
	be.PutUint64(u[28:], hexDigits(be.Uint32(i.UUID[12:])))
	return b
}

// hexDigits are the eight hexadecimal digits of a number, as bytes; all at once, since identifiers are what most of our
// texts are.
func hexDigits(x uint32) uint64 {
	n := uint64(x) // four bits go to each byte
	n = (n | n<<16) & 0x0000ffff0000ffff
	n = (n | n<<8) & 0x00ff00ff00ff00ff
	n = (n | n<<4) & 0x0f0f0f0f0f0f0f0f
	letters := (n + 0x0606060606060606) >> 4 & 0x0101010101010101 // those above 9
	return n + 0x3030303030303030 + letters*('a'-'0'-10)
}

// AddressType returns "ipv4-addr" or "ipv6-addr".
func AddressType(a netip.Addr) string {
	if a.Unmap().Is4() {
		return "ipv4-addr"
	}
	return "ipv6-addr"
}

// AddressID returns the identifier of the object for the address; an IPv6
// address is written as RFC 5952 has it, an IPv4-mapped one as IPv4.
func AddressID(a netip.Addr) string {
	var buf [96]byte
	name := append(buf[:0], `{"value":"`...)
	name = a.Unmap().AppendTo(name)
	name = append(name, `"}`...)
	return string(appendID(make([]byte, 0, 47), scoNamespace, AddressType(a), name))
}

// ParseID splits an identifier into its type, and reports whether it is one:
// a type name of lower-case letters, digits and hyphens (STIX 2.1 section 2.6
// and 2.9), "--", and a UUID in its usual form.
func ParseID(id string) (typ string, err error) {
	typ, u, ok := strings.Cut(id, "--")
	if !ok || len(typ) < 2 || len(typ) > 250 || len(u) != 36 || uuid.Validate(u) != nil {
		return "", objectErr("id %.120q is not <type>--<UUID>", id)
	}
	for i := range len(typ) {
		if c := typ[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return "", objectErr("id %.120q: a type has only a-z, 0-9 and hyphens", id)
		}
	}
	return typ, nil
}

// networkTrafficID hashes the contributing properties of the traffic that are
// set, in RFC 8785 order.
func (n *NetworkTraffic) networkTrafficID() string {
	var buf [320]byte
	b := append(buf[:0], '{')
	if n.DstPort != 0 {
		b = append(append(b, `"dst_port":`...), strconv.Itoa(int(n.DstPort))...)
		b = append(b, ',')
	}
	if n.DstRef != "" {
		b = append(AppendString(append(b, `"dst_ref":`...), n.DstRef), ',')
	}
	b = appendStrings(append(b, `"protocols":`...), n.Protocols)
	if n.SrcPort != 0 {
		b = append(append(b, `,"src_port":`...), strconv.Itoa(int(n.SrcPort))...)
	}
	b = AppendString(append(b, `,"src_ref":`...), n.SrcRef)
	if !n.Start.IsZero() {
		b = n.start(append(b, ','))
	}
	return string(appendID(make([]byte, 0, 53), scoNamespace, "network-traffic", append(b, '}')))
}
