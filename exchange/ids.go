package exchange

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/stix"
)

// IDs makes the identifiers of what Tocsin packages, so that nobody without the exchange's secret can compute
// them, and the exchange knows its own again without looking anything up.
//
// An identifier's UUID is of version 4 in form (RFC 9562 section 5.4). Of its 122 free bits, 74 are the start of
// HMAC-SHA-256 under one key over the type and all fields of the recipe, and 48 the start of HMAC-SHA-256 under
// another over the type and those 74. Both keys are derived from the secret by HKDF-SHA-256 (RFC 5869). It is safe
// for concurrent use.
type IDs struct {
	names, marks sync.Pool // of *mac
	identities   sync.Map  // of members: who speaks for one is asked of all members
}

// mac is an HMAC with what it is computed over and what comes of it.
type mac struct {
	hash.Hash
	text, sum []byte
}

// NewIDs makes identifiers under a secret.
func NewIDs(secret []byte) *IDs {
	under := func(purpose string) func() any {
		key, err := hkdf.Key(sha256.New, secret, nil, purpose, sha256.Size)
		if err != nil {
			panic(err) // only a longer key could not be derived
		}
		return func() any { return &mac{Hash: hmac.New(sha256.New, key)} }
	}
	return &IDs{names: sync.Pool{New: under("tocsin id name")}, marks: sync.Pool{New: under("tocsin id mark")}}
}

// field adds a text to what is computed over, with its length before it, so that two recipes are never one text.
func (m *mac) field(s string) {
	m.text = append(binary.AppendUvarint(m.text, uint64(len(s))), s...)
}

// end copies the start of the HMAC.
func (m *mac) end(to []byte) {
	m.Reset()
	m.Write(m.text)
	m.sum = m.Sum(m.sum[:0])
	copy(to, m.sum)
	m.text = m.text[:0]
}

// Of returns the identifier of an object of a type. The recipe is alternating names and values; it is the same
// identifier for the same recipe alone.
func (d *IDs) Of(typ string, recipe ...string) string {
	m := d.names.Get().(*mac)
	m.field(typ)
	for _, s := range recipe {
		m.field(s)
	}
	var u uuid.UUID
	m.end(u[:10])
	d.names.Put(m)
	u[9] &= 0xc0 // 74 bits
	mark := d.mark(typ, u[:10])
	return string(stix.ID{Type: typ, UUID: spread(u, mark)}.AppendTo(make([]byte, 0, len(typ)+38)))
}

// identity is the identifier of the identity object that stands for a member.
func (d *IDs) identity(member string) string {
	if id, ok := d.identities.Load(member); ok {
		return id.(string)
	}
	id := d.Of("identity", "member", member)
	d.identities.Store(member, id)
	return id
}

// Made tells whether Of has made an identifier, of any recipe; of one that it has not, it says so by mistake with a
// chance of 2^-48. From members, objects under such an identifier are taken only as they read them.
func (d *IDs) Made(id string) bool {
	typ, text, ok := strings.Cut(id, "--")
	u, err := uuid.Parse(text)
	if !ok || err != nil || len(text) != 36 {
		return false
	}
	name, mark, ok := gather(u)
	want := d.mark(typ, name[:])
	return ok && hmac.Equal(mark[:], want[:])
}

// mark returns the 48 bits that show that the first 74 are ours.
func (d *IDs) mark(typ string, name []byte) (to [6]byte) {
	m := d.marks.Get().(*mac)
	m.field(typ)
	m.text = append(m.text, name...)
	m.end(to[:])
	d.marks.Put(m)
	return to
}

// A UUID's 128 bits are, from the first on: 48 of the name, the version (4), 12 of the name, the variant (2 bits,
// binary 10), 14 of the name and 48 of the mark.

// spread makes a UUID of 74 bits, which are the first of u, and a mark.
func spread(u uuid.UUID, mark [6]byte) uuid.UUID {
	n := binary.BigEndian.Uint16(u[8:10]) >> 6 // the last 10 bits of the name
	rest := uint32(u[6])<<18 | uint32(u[7])<<10 | uint32(n)
	binary.BigEndian.PutUint16(u[6:], 0x4000|uint16(rest>>14))
	binary.BigEndian.PutUint16(u[8:], 0x8000|uint16(rest&0x3fff))
	copy(u[10:], mark[:])
	return u
}

// gather takes apart what spread has made.
func gather(u uuid.UUID) (name [10]byte, mark [6]byte, ok bool) {
	version, variant := binary.BigEndian.Uint16(u[6:]), binary.BigEndian.Uint16(u[8:])
	rest := uint32(version&0x0fff)<<14 | uint32(variant&0x3fff)
	copy(name[:6], u[:6])
	name[6], name[7] = byte(rest>>18), byte(rest>>10)
	binary.BigEndian.PutUint16(name[8:], uint16(rest)<<6)
	copy(mark[:], u[10:])
	return name, mark, version>>12 == 4 && variant>>14 == 2
}
