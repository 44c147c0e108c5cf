package index

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

func micros(n int64) time.Time { return time.UnixMicro(n).UTC() }

func numberKey(name string) []byte { return append([]byte{'n'}, name...) }
func brokenKey(name string) []byte { return append([]byte{'z'}, name...) }
func headKey(c uint32) []byte      { return collectionKey('h', c) }

// collectionKey starts every key that belongs to a collection.
func collectionKey(kind byte, c uint32) []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 64), kind), c)
}

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

func removalKey(c uint32, at int64, number uint64) []byte {
	return binary.BigEndian.AppendUint64(blockKey('w', c, at), number)
}

func factsKey(c uint32, number uint64) []byte {
	return binary.BigEndian.AppendUint64(collectionKey('f', c), number)
}

func sequenceKey(c uint32, number uint64) []byte {
	return binary.BigEndian.AppendUint64(collectionKey('q', c), number)
}

// firstOf returns the date_added at the end of a key.
func firstOf(key []byte) int64 { return int64(binary.BigEndian.Uint64(key[len(key)-8:])) }

// typeKey starts the keys that say where objects of a type are.
func typeKey(c uint32, typ string) []byte { return key.AppendType(collectionKey('y', c), typ, "") }

// appendEntryKey appends the key of an object's entry in an epoch.
func appendEntryKey(k []byte, c uint32, epoch uint16, id key.ID) []byte {
	k = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(append(k, 'i'), c), epoch)
	return append(key.AppendType(k, id.Type, id.Spec), id.UUID[:]...)
}

// otherPrefix starts the keys of an object's other places: all but the newest of its latest version.
func otherPrefix(c uint32, id key.ID) []byte {
	return key.AppendType(append(collectionKey('o', c), id.UUID[:]...), id.Type, id.Spec)
}

func otherKey(c uint32, id key.ID, ver key.Version, p place) []byte {
	k := binary.BigEndian.AppendUint64(append(otherPrefix(c, id), ver[:]...), uint64(p.first))
	return binary.BigEndian.AppendUint32(k, uint32(p.i))
}

// eachOther calls f with the other places of an object whose versions start so, in the order of versions and places.
func eachOther(r pebble.Reader, c uint32, id key.ID, start []byte, f func(key.Version, place)) error {
	prefix := otherPrefix(c, id)
	from := append(prefix, start...)
	return store.Each(r, from, store.After(from), func(k, _ []byte) (bool, error) {
		ver, p, err := otherAt(k[len(prefix):])
		if err == nil {
			f(ver, p)
		}
		return true, err
	})
}

// lastOthers calls f with each other version of an object and the newest of its other places, in their order, until it returns
// false.
func lastOthers(r pebble.Reader, c uint32, id key.ID, start []byte, f func(key.Version, place) bool) (err error) {
	prefix := otherPrefix(c, id)
	it, err := store.Under(r, append(prefix, start...))
	if err != nil {
		return err
	}
	defer store.Close(&err, it)
	for ok := it.First(); ok; {
		if len(it.Key()) < len(prefix)+len(key.Version{}) {
			return store.ErrDamaged
		}
		of := append(slices.Clone(prefix), it.Key()[len(prefix):len(prefix)+len(key.Version{})]...)
		next := store.After(of)
		if !it.SeekLT(next) {
			break
		}
		ver, p, err := otherAt(it.Key()[len(prefix):])
		if err != nil || !f(ver, p) {
			return err
		}
		ok = it.SeekGE(next)
	}
	return store.Failed(it.Error())
}

// otherAt reads the end of an 'o' key.
func otherAt(b []byte) (ver key.Version, p place, err error) {
	r := store.Reads{B: b}
	copy(ver[:], r.Take(len(ver)))
	first, i := r.Uint64(), r.Take(4)
	if r.Bad || len(r.B) > 0 {
		return ver, p, store.ErrDamaged
	}
	return ver, place{int64(first), int(binary.BigEndian.Uint32(i))}, nil
}

// place is where an object stands: its block's first date_added, its position.
type place struct {
	first int64
	i     int
}

func (p place) added() int64 { return p.first + int64(p.i) }

// entry is the value of an 'i' key: an object's latest version and the newest place of that.
type entry struct {
	version key.Version
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
	r := store.Reads{B: b}
	copy(e.version[:], r.Take(len(e.version)))
	if flags := r.Take(1); !r.Bad {
		e.again, e.older = flags[0]&1 != 0, flags[0]&2 != 0
	}
	if e.first, e.i = int64(r.Uint64()), r.Int(); r.Bad {
		return e, store.ErrDamaged
	}
	return e, nil
}

// head is where a collection ends.
type head struct {
	number  uint64 // of its last block
	hash    string
	added   int64     // date_added of its last object, µs
	objects int64     // ever added
	label   tlp.Level // the highest ever added
	mixed   bool      // it has objects of another STIX than 2.1
}

func (h *head) append(b []byte) []byte {
	b = binary.AppendUvarint(b, h.number)
	b = binary.BigEndian.AppendUint64(b, uint64(h.added))
	b = binary.BigEndian.AppendUint64(b, uint64(h.objects))
	b = append(b, byte(h.label), 0)
	if h.mixed {
		b[len(b)-1] = 1
	}
	return append(b, h.hash...)
}

func decodeHead(b []byte) (*head, error) {
	r := store.Reads{B: b}
	h := &head{number: r.Number(), added: int64(r.Uint64()), objects: int64(r.Uint64())}
	flags := r.Take(2)
	if r.Bad {
		return nil, store.ErrDamaged
	}
	h.label, h.mixed, h.hash = tlp.Level(flags[0]), flags[1] != 0, string(r.B)
	return h, nil
}
