package apiclient

import (
	"errors"
	"fmt"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
)

// ErrChain means that a block is not what it commits to, or does not continue the block before.
var ErrChain = errors.New("the chain of blocks does not hold")

// chain checks that blocks continue each other. They may come in any order: what is behind one that has not come is
// checked when that comes.
type chain struct {
	number uint64 // up to which it holds
	hash   string // of that block
	known  bool   // the hash is
	links  map[uint64]link
}

type link struct{ previous, hash string }

// begin begins behind a block, 0 for the collection's start.
func (c *chain) begin(behind uint64) {
	*c = chain{number: behind, known: behind == 0, links: make(map[uint64]link)}
}

// add adds a block.
func (c *chain) add(b *record.Block) error {
	if b.Number > c.number {
		c.links[b.Number] = link{b.Previous, b.Hash()}
	}
	for {
		next, ok := c.links[c.number+1]
		if !ok {
			return nil
		}
		delete(c.links, c.number+1)
		c.number++
		if c.known && next.previous != c.hash {
			return fmt.Errorf("%w: block %d does not continue block %d", ErrChain, c.number, c.number-1)
		}
		c.hash, c.known = next.hash, true
	}
}

// committed returns the identifiers of a block's objects, by position, where they are what it commits to.
func committed(b *record.Block, text []byte) (ids []string, err error) {
	leaves, i, ok := record.LeavesOf(b), 0, true
	if b.Control != "" {
		leaves.Add(text)
	} else {
		ids = make([]string, b.Count)
		ok = stix.Scan(text, func(raw []byte, brief stix.Brief) {
			for i < b.Count && !b.Has(i) {
				i++
			}
			leaves.Add(raw)
			if i < b.Count {
				ids[i] = string(brief.ID)
			}
			i++
		})
		for i < b.Count && !b.Has(i) {
			i++
		}
	}
	if !ok || i != b.Count || leaves.Root() != b.Root {
		return nil, fmt.Errorf("%w: block %d does not have the objects that it commits to", ErrChain, b.Number)
	}
	return ids, nil
}

// maxGiven is how many objects a subscriber remembers the identifiers of.
const maxGiven = 200_000

// given is what a subscriber was given lately, to tell what goes again.
type given struct {
	ids     map[uint64][]string // by block
	removed map[uint64]*record.Block
	order   []uint64
	objects int
}

func newGiven() *given {
	return &given{ids: make(map[uint64][]string), removed: make(map[uint64]*record.Block)}
}

func (g *given) add(b *record.Block, ids []string) {
	g.note(b)
	g.ids[b.Number] = ids
	g.order = append(g.order, b.Number)
	for g.objects += len(ids); g.objects > maxGiven && len(g.order) > 1; g.order = g.order[1:] {
		g.objects -= len(g.ids[g.order[0]])
		delete(g.ids, g.order[0])
	}
}

// note remembers what was gone of a block when it was last told of.
func (g *given) note(b *record.Block) {
	if len(b.Removed) > 0 {
		g.removed[b.Number] = &record.Block{Removed: b.Removed}
	}
}

// remove tells what has gone of a block since it was given, or told of last.
func (g *given) remove(b *record.Block) (gone []Removed) {
	before, ids := g.removed[b.Number], g.ids[b.Number]
	for i := range b.Count {
		if b.Has(i) || before != nil && !before.Has(i) {
			continue
		}
		r := Removed{Position: i}
		if i < len(ids) {
			r.ID = ids[i]
		}
		gone = append(gone, r)
	}
	g.note(b)
	return gone
}
