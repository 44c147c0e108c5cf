package submission

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// revise decides about a candidate that may be a version of what is there already: who may add
// it, and under which label. raised says that collections may have to be rid of it.
//
// Only who added the first version of an object, or its creator, adds others; only its creator
// lowers a label, with a newer version; what the operator relays again keeps the label that it has.
func (p *Poster) revise(ctx context.Context, a *Addition, collection string, c *candidate) (s *sight, raised bool, err error) {
	if c.head.Modified == "" {
		return nil, false, nil
	}
	c.known = byte(c.label)
	s, where, err := p.sight(ctx, a, collection, c.head.ID, c)
	if err != nil {
		return nil, false, err
	}
	c.apart, c.dropped = where != isShared, where == isDropped
	if s == nil {
		if c.head.CreatedByRef == "" && a.Identity() != "" && c.head.ID != a.Identity() {
			c.stamp(a.Identity())
		}
		return nil, false, nil
	}
	if c.head.CreatedByRef == "" && s.Creator != "" && a.Speaks(s.Creator) {
		c.stamp(s.Creator)
	}
	first := p.Seal.Is(s.By, a.By)
	by := c.head.CreatedByRef
	creator := s.Creator == "" && first && (by == "" || a.Speaks(by)) || s.Creator != "" && a.Speaks(s.Creator)
	if by != s.Creator && (s.Creator != "" || !creator) {
		return s, false, refusal("its created_by_ref is not that of the version that is known here")
	}
	newer := c.version.Version.After(s.Newest)
	switch {
	case !first && !creator && (newer || !a.Relays()):
		return s, false, refusal("only who added its first version here, or its creator, can add it")
	case !first && !creator:
		c.known |= record.Relayed
		c.label = max(c.label, s.Label)
		return s, false, nil
	case creator && newer:
	default:
		c.label = max(c.label, s.Label)
	}
	c.known = byte(c.label)
	if c.label != tlp.Unknown || newer {
		return s, c.label > s.Label, nil
	}
	// What is there stays there. Where it is this very version, the operator has released it.
	for _, col := range s.Collections {
		had, err := p.View.Has(col, c.version)
		if err != nil {
			return nil, false, err
		}
		if had && col != exchange.Quarantine {
			c.known |= record.Relayed
		}
	}
	return s, false, nil
}

// stamp writes into an object whose it is, where it does not say so.
func (c *candidate) stamp(identity string) {
	c.head.CreatedByRef = identity
	open := bytes.IndexByte(c.raw, '{') + 1
	c.raw = fmt.Appendf(nil, `{"created_by_ref":%q,%s`, identity, c.raw[open:])
}

// sign adds to a post the identity that its objects are of, where the collection does not have it.
func (p *Poster) sign(a *Addition, post *record.Post) error {
	o, err := a.Sign(post.Share.Label)
	if err != nil {
		return err
	}
	h, err := stix.ParseHead(o.Raw)
	if err != nil {
		return err
	}
	at, err := h.Version()
	if err != nil {
		return err
	}
	had, err := p.View.Has(post.Share.Collection, record.Version{ID: h.ID, SpecVersion: h.Spec(), Version: at})
	if err != nil || had {
		return err
	}
	post.Share.Groups = append(post.Share.Groups, &record.Group{Objects: []record.Object{o}})
	post.Labels = append(post.Labels, 0)
	return nil
}

// refusal is an error about one object of a submission, which the others do not share.
type refusal string

func (r refusal) Error() string { return string(r) }

func (p *Poster) tell(e exchange.AuditEntry) {
	if p.Tell != nil {
		p.Tell(e)
	}
}

// aboveCeiling says why a collection does not take a label.
func aboveCeiling(label, ceiling tlp.Level) string {
	return fmt.Sprintf("it is labelled TLP:%s, and this collection takes up to TLP:%s", strings.ToUpper(label.String()), strings.ToUpper(ceiling.String()))
}

// claim waits until nobody else adds versions of the objects, and keeps others from it until it
// is released.
func (p *Poster) claim(ctx context.Context, ids []string) (release func(), err error) {
	mine := make(chan struct{})
	for {
		p.mu.Lock()
		i := slices.IndexFunc(ids, func(id string) bool { return p.claims[id] != nil })
		if i < 0 {
			if p.claims == nil {
				p.claims = make(map[string]chan struct{})
			}
			for _, id := range ids {
				p.claims[id] = mine
			}
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				defer p.mu.Unlock()
				for _, id := range ids {
					delete(p.claims, id)
				}
				close(mine)
			}, nil
		}
		busy := p.claims[ids[i]]
		p.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
