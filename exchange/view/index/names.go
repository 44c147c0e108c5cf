package index

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
)

// What tells a block's objects apart, identifiers and versions, is kept beside the objects: a query for
// that alone, or for versions, need not decompress them.

// naming makes a block's names.
type naming struct {
	b    []byte
	last []byte // the last version that was not empty
}

// The flags of a name.
const (
	ownID       = 1 << iota // the identifier is not written in the usual form, and stands behind it as it is
	sameVersion             // the version is that of the last one before that had one
	ownVersion              // the version follows; where neither is set there is none
)

// add adds the name of the next object: its identifier, read and as it is, and the text of its version.
func (n *naming) add(id key.ID, text, version []byte) {
	flags := byte(0)
	var buf [300]byte
	if !bytes.Equal(id.AppendTo(buf[:0]), text) {
		flags |= ownID
	}
	switch {
	case len(version) == 0:
	case bytes.Equal(version, n.last):
		flags |= sameVersion
	default:
		flags |= ownVersion
	}
	n.b = key.AppendType(append(append(n.b, flags), id.UUID[:]...), id.Type, id.Spec)
	if flags&ownID != 0 {
		n.b = append(binary.AppendUvarint(n.b, uint64(len(text))), text...)
	}
	if flags&ownVersion != 0 {
		n.b = append(binary.AppendUvarint(n.b, uint64(len(version))), version...)
		n.last = append(n.last[:0], version...)
	}
}

// reset begins the names of some objects.
func (n *naming) reset(count int) { n.b, n.last = slices.Grow(n.b[:0], 32*count), n.last[:0] }

// names reads them again, in the order of the objects.
type names struct {
	store.Reads
	last []byte
}

// name is that of one object. text is empty where the identifier is written in the usual form.
type name struct {
	id            key.ID
	text, version []byte
}

// next returns the name of the next object, which is good as long as the value is; Bad is set where there is none.
func (n *names) next() (x name) {
	flags := n.Take(1)
	if copy(x.id.UUID[:], n.Take(len(x.id.UUID))); n.Bad {
		return x
	}
	var ok bool
	if x.id.Type, x.id.Spec, n.B, ok = key.DecodeType(n.B); !ok {
		n.Bad = true
		return x
	}
	if flags[0]&ownID != 0 {
		x.text = n.Take(n.Int())
	}
	if flags[0]&ownVersion != 0 {
		n.last = n.Take(n.Int())
	}
	if flags[0]&(ownVersion|sameVersion) != 0 {
		x.version = n.last
	}
	return x
}

// Fact tells an object and its version from others.
type Fact struct {
	// ID is the object's identifier; Text is it as it is where it is not written in the usual form.
	ID   stix.ID
	Text []byte
	// Version is as the object has it, empty where it has none.
	Version     []byte
	SpecVersion string
	Added       time.Time
}

// Facts goes over what tells the page's objects apart, where the query asks for it. A fact is good until
// the next. An error is the last there is.
func (p *Page) Facts() iter.Seq2[*Fact, error] {
	return func(yield func(*Fact, error) bool) {
		var f Fact
		for i := range p.parts {
			x := &p.parts[i]
			all := names{Reads: store.Reads{B: x.names}}
			read := 0
			for at := range x.set.all(x.count) {
				var n name
				for ; read <= at; read++ {
					n = all.next()
				}
				if all.Bad {
					yield(nil, store.ErrDamaged)
					return
				}
				f.ID.Type, f.ID.UUID, f.Text = n.id.Type, n.id.UUID, n.text
				f.Version, f.SpecVersion, f.Added = n.version, n.id.SpecName(), micros(x.first+int64(at))
				if !yield(&f, nil) {
					return
				}
			}
		}
	}
}

// Added lists the date_added of the page's objects.
func (p *Page) Added() []time.Time {
	list := make([]time.Time, 0, p.Count)
	for _, x := range p.parts {
		for i := range x.set.all(x.count) {
			list = append(list, micros(x.first+int64(i)))
		}
	}
	return list
}
