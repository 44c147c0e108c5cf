package index

import (
	"context"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/view/key"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Object returns a version of an object as a collection has it, nil where it does not have it.
func (x *Index) Object(ctx context.Context, collection string, want record.Version) ([]byte, error) {
	p, err := x.page(ctx, collection, Query{Limit: 1, IDs: []string{want.ID}, SpecVersions: []string{want.SpecVersion}, Versions: []VersionMatch{{Exactly, want.Version}}})
	if err != nil || p.Count == 0 {
		return nil, err
	}
	list, err := p.Objects()
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// Made returns the newest version of what a feed has made and a collection has, nil for none, with the labels of what
// stands beside it: an address carries none, and is as secret as the least secret of them.
func (x *Index) Made(ctx context.Context, collection, text string) (raw []byte, beside tlp.Level, err error) {
	id, ok := key.Exact(text)
	c, known := x.Number(collection)
	if !ok || !known {
		return nil, tlp.None, nil
	}
	e, found, err := x.entry(x.db, c, id)
	if err != nil || !found {
		return nil, tlp.None, err
	}
	p, err := x.page(ctx, collection, Query{Limit: 1, IDs: []string{text}})
	if err != nil || p.Count == 0 {
		return nil, tlp.None, err
	}
	list, err := p.Objects()
	if err != nil {
		return nil, tlp.None, err
	}
	b, err := readBlock(x.db, c, e.first)
	if err != nil || !stix.Observable(id.Type) {
		return list[0], tlp.None, err
	}
	beside, err = x.leastBeside(ctx, c, e.place, b)
	return list[0], beside, err
}

// leastBeside is the lowest label of the observations that stand in a group of a block.
func (x *Index) leastBeside(ctx context.Context, c uint32, p place, b *block) (least tlp.Level, err error) {
	text, _, err := store.Get(x.db, blockKey('v', c, p.first))
	if err != nil {
		return tlp.None, err
	}
	group := bits(text) // of what is there
	for i := range b.count {
		if b.starts.from(i) != b.starts.from(p.i) {
			group.clear(i)
		}
	}
	s, err := x.stored(ctx, x.db, c, p.first, b, group)
	if err != nil {
		return tlp.None, err
	}
	for i := range group.all(b.count) {
		raw, err := s.object(i)
		if err != nil {
			return tlp.None, err
		}
		h, err := stix.ParseHead(raw)
		if err != nil {
			return tlp.None, err
		}
		if l := h.KnownLabel(); h.Versioned() && l != tlp.None && (least == tlp.None || l < least) {
			least = l
		}
	}
	return least, nil
}
