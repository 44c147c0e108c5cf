package view

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func micros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func metaKey(name string) []byte   { return append([]byte{'m'}, name...) }
func numberKey(name string) []byte { return append([]byte{'n'}, name...) }

func brokenKey(name string) []byte { return append([]byte{'z'}, name...) }

// collectionKey starts every key that belongs to a collection.
func collectionKey(kind byte, c uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 64), kind), c)
}

func headKey(c uint32) []byte { return collectionKey('h', c) }

func blockKey(kind byte, c uint32, first int64) []byte {
	return binary.BigEndian.AppendUint64(collectionKey(kind, c), uint64(first))
}

// What is kept of a block, beside each other: a page reads nearly all of it.
const (
	itsRecord byte = iota
	itsNames
	itsPayload
)

func dataKey(c uint32, first int64, its byte) []byte { return append(blockKey('b', c, first), its) }

func sequenceKey(c uint32, number uint64) []byte {
	return binary.BigEndian.AppendUint64(collectionKey('q', c), number)
}

// firstOf returns the date_added in a block's key.
func firstOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

func intakeKey(sequence uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'e'}, sequence) }

func cleanedKey(sequence uint64) []byte { return binary.BigEndian.AppendUint64([]byte{'j'}, sequence) }

// feedKey starts every key that belongs to a feed.
func feedKey(kind byte, feed string) []byte {
	return append(append(append(make([]byte, 0, 64), kind), feed...), 0)
}

func eventKey(feed string, id exchange.EventID) []byte { return append(feedKey('x', feed), id[:]...) }

// dayKey starts the keys of a host's day.
func dayKey(feed string, of exchange.HostDay) []byte {
	return binary.BigEndian.AppendUint32(addressKey(feed, of.Address), uint32(of.Day))
}

// hostKey is of an observation. A country that is not two bytes, of which there is none but "", is cut or filled.
func hostKey(feed string, of exchange.ObservationKey) []byte {
	var country [2]byte
	copy(country[:], of.Country)
	return append(binary.BigEndian.AppendUint32(dayKey(feed, of.HostDay), of.ASN), country[:]...)
}

// hostSuffix is how long what follows an address in a hostKey is.
const hostSuffix = 4 + 4 + 2

// addressKey starts the keys of an address; calledKey is one without a day.
func addressKey(feed string, a netip.Addr) []byte {
	raw := a.AsSlice()
	return append(append(feedKey('a', feed), byte(len(raw))), raw...)
}

func calledKey(feed string, a netip.Addr) []byte { return append(addressKey(feed, a), 0xff) }

func historyKey(feed string, a netip.Addr) []byte {
	return append(feedKey('c', feed), a.AsSlice()...)
}

// comparer makes the filters know the addresses of 'a' keys, of all days, and the UUIDs of 'g' and 'd' keys: the
// rest of a key is its suffix. All other keys are looked up whole.
var comparer = func() *pebble.Comparer {
	c := *pebble.DefaultComparer
	c.Name = "tocsin.view"
	c.Split = func(k []byte) int {
		if len(k) > 0 && (k[0] == 'd' || k[0] == 'g') {
			return min(len(k), 1+len(objectID{}.uuid))
		}
		if len(k) == 0 || k[0] != 'a' {
			return len(k)
		}
		// a feed 0 length address, and the day where it is a whole key
		end := bytes.IndexByte(k, 0) + 1
		if end == 0 || end == len(k) {
			return len(k)
		}
		return min(end+1+int(k[end]), len(k))
	}
	return &c
}()

func keyKey(feed, key string) []byte { return append(feedKey('k', feed), key...) }

func topicKey(feed string, x record.Introduction) []byte {
	return append(append(append(feedKey('t', feed), x.Collection...), 0), x.Topic...)
}

// objectID is an object's identifier in a form that can be compared fast, with
// the version of STIX it is of: "" for 2.1. The same object in another version
// of STIX is kept beside it.
type objectID struct {
	uuid [16]byte
	typ  string
	spec string
}

func (o objectID) String() string { return string(o.append(make([]byte, 0, len(o.typ)+38))) }

func (o objectID) append(b []byte) []byte { return stix.ID{Type: o.typ, UUID: o.uuid}.AppendTo(b) }

// parseID reads <type>--<UUID>, without looking closely.
func parseID(id []byte) (o objectID, ok bool) {
	n := len(id) - 36
	if n < 3 || id[n-1] != '-' || id[n-2] != '-' {
		return o, false
	}
	var digits [32]byte
	d := digits[:0]
	for _, c := range id[n:] {
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
	if _, err := hex.Decode(o.uuid[:], d); err != nil {
		return o, false
	}
	o.typ = typeName(id[:n-2])
	return o, true
}

// typeNames are the usual types, in an order that keys rely on: it only grows.
var typeNames = []string{
	"ipv4-addr", "ipv6-addr", "network-traffic", "observed-data", "indicator", "relationship", "sighting",
	"identity", "malware", "location", "course-of-action", "marking-definition", "extension-definition",
}

// typeCodes are the places of the types in that list, from 1.
var typeCodes = func() map[string]byte {
	m := make(map[string]byte)
	for i, t := range typeNames {
		m[t] = byte(i + 1)
	}
	return m
}()

// typeName interns the usual types.
func typeName(b []byte) string {
	if code := typeCodes[string(b)]; code > 0 {
		return typeNames[code-1]
	}
	return string(b)
}

// appendType appends a type, of a version of STIX where that is not 2.1, so that
// none is the start of another: a byte for the usual ones.
func appendType(k []byte, typ, spec string) []byte {
	if code := typeCodes[typ]; code > 0 && spec == "" {
		return append(k, code)
	}
	k = append(append(k, 0), typ...)
	if spec != "" {
		k = append(append(k, '@'), spec...) // no type has an @
	}
	return append(k, 0)
}

// otherPrefix starts the keys of an object's other places: all but the newest of its latest version.
func otherPrefix(c uint32, id objectID) []byte {
	return appendType(append(collectionKey('o', c), id.uuid[:]...), id.typ, id.spec)
}

func otherKey(c uint32, id objectID, ver version, p place) []byte {
	k := binary.BigEndian.AppendUint64(append(otherPrefix(c, id), ver[:]...), uint64(p.first))
	return binary.BigEndian.AppendUint32(k, uint32(p.i))
}

// eachOther calls f with the other places of an object whose versions start so, in the order of versions and places.
func eachOther(r pebble.Reader, c uint32, id objectID, start []byte, f func(version, place)) (err error) {
	prefix := otherPrefix(c, id)
	it, err := under(r, append(prefix, start...))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, it.Close()) }()
	for ok := it.First(); ok; ok = it.Next() {
		k := reads{b: it.Key()[len(prefix):]}
		ver, first, i := k.take(len(version{})), k.take(8), k.take(4)
		if k.bad {
			return ErrDamaged
		}
		f(version(ver), place{firstOf(first), int(binary.BigEndian.Uint32(i))})
	}
	return it.Error()
}

// typeKey starts the keys that say where objects of a type are.
func typeKey(c uint32, typ string) []byte { return appendType(collectionKey('y', c), typ, "") }

// specs are the versions of STIX that objects may be of, as an objectID has them, newest first.
var specs = []string{"", "2.0"}

// scannedID reads the identifier of a scanned object.
func scannedID(b stix.Brief) (objectID, bool) {
	id, ok := parseID(b.ID)
	if spec := b.Spec(); slices.Contains(specs, spec) {
		id.spec = spec
	}
	return id, ok
}

// specName is the version of STIX as an object of the id has it.
func (o objectID) specName() string { return cmp.Or(o.spec, "2.1") }

// version is an instant in a form that sorts.
type version [12]byte

func versionOf(t time.Time) (v version) {
	binary.BigEndian.PutUint64(v[:8], uint64(t.Unix())^1<<63)
	binary.BigEndian.PutUint32(v[8:], uint32(t.Nanosecond()))
	return v
}

func (v version) after(o version) bool { return bytes.Compare(v[:], o[:]) > 0 }

func (v version) time() time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(v[:8])^1<<63), int64(binary.BigEndian.Uint32(v[8:]))).UTC()
}

// scannedVersion reads the version of a scanned object.
func scannedVersion(b stix.Brief) (version, error) { return versionNamed(b.Version) }

// versionNamed reads a version's text.
func versionNamed(text []byte) (version, error) {
	h := stix.Head{Modified: string(text)}
	t, err := h.Version()
	return versionOf(t), err
}

// place is where an object stands: its block's first date_added, its position.
type place struct {
	first int64
	i     int
}

func (p place) added() int64 { return p.first + int64(p.i) }

// entry is the value of an 'i' key: an object's latest version and the newest place of that.
type entry struct {
	version
	place
	again bool // the version stands at other places too
	older bool // there may be older versions
}

func (e entry) append(b []byte) []byte {
	flags := byte(0)
	if e.again {
		flags |= 1
	}
	if e.older {
		flags |= 2
	}
	b = append(append(b, e.version[:]...), flags)
	return binary.AppendUvarint(binary.BigEndian.AppendUint64(b, uint64(e.first)), uint64(e.i))
}

func decodeEntry(b []byte) (e entry, err error) {
	r := reads{b: b}
	copy(e.version[:], r.take(len(e.version)))
	if rest := r.take(1 + 8); !r.bad {
		e.again, e.older, e.first = rest[0]&1 != 0, rest[0]&2 != 0, firstOf(rest)
	}
	if e.i = r.int(); r.bad {
		return e, ErrDamaged
	}
	return e, nil
}

func (h *head) append(b []byte) []byte {
	b = binary.AppendUvarint(b, h.number)
	b = binary.AppendVarint(b, h.added)
	b = binary.AppendVarint(b, h.objects)
	b = append(b, byte(h.label), 0)
	if h.mixed {
		b[len(b)-1] |= 1
	}
	return append(b, h.hash...)
}

func decodeHead(b []byte) (*head, error) {
	h := new(head)
	var n [3]int
	h.number, n[0] = binary.Uvarint(b)
	if n[0] > 0 {
		h.added, n[1] = binary.Varint(b[n[0]:])
	}
	if n[1] > 0 {
		h.objects, n[2] = binary.Varint(b[n[0]+n[1]:])
	}
	rest := b[n[0]+n[1]+max(n[2], 0):]
	if n[2] <= 0 || len(rest) < 2 {
		return nil, ErrDamaged
	}
	h.label, h.mixed, h.hash = tlp.Level(rest[0]), rest[1]&1 != 0, string(rest[2:])
	return h, nil
}
