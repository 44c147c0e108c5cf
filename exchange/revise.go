package exchange

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Standing is what the exchange knows of an object that members have added, in all
// collections together. Objects without versions, such as addresses, have none: their ids are
// everybody's.
type Standing struct {
	// By is who added its first version, as Seal writes it; "" where a feed has made it.
	By string
	// Creator is the created_by_ref of that version.
	Creator string
	// Label is that of the newest version that was added by whoever may say so.
	Label  tlp.Level
	Newest time.Time
	// Collections are those that were ever given it.
	Collections []string
}

// Seal hides members' ids from the readers of blocks: only who has the key can tell whether a
// text stands for a member, and two texts never tell that they stand for the same one.
type Seal struct{ Key []byte }

// Member writes a member's id.
func (s Seal) Member(id string) string {
	nonce := make([]byte, 8)
	_, _ = rand.Read(nonce) // never fails
	return s.text(nonce, id)
}

func (s Seal) text(nonce []byte, id string) string {
	h := hmac.New(sha256.New, s.Key)
	h.Write(nonce)
	h.Write([]byte("member " + id))
	return hex.EncodeToString(nonce) + hex.EncodeToString(h.Sum(nil)[:16])
}

// Is tells whether a text that Member wrote stands for the member.
func (s Seal) Is(text, id string) bool {
	if len(text) < 16 {
		return false
	}
	nonce, err := hex.DecodeString(text[:16])
	return err == nil && hmac.Equal([]byte(text), []byte(s.text(nonce, id)))
}

// revise decides about a candidate that may be a version of what is there already: who may add
// it, and under which label. raised says that collections may have to be rid of it.
//
// Only who added the first version of an object, or its creator, adds others; only its creator
// lowers a label, with a newer version; what others add again keeps the label that it has.
func (p *Poster) revise(a *Addition, c *candidate) (s *Standing, raised bool, err error) {
	if c.head.Modified == "" {
		return nil, false, nil
	}
	c.known = byte(c.label)
	if s, err = p.View.Standing(c.head.ID); err != nil || s == nil {
		return s, false, err
	}
	first := p.Seal.Is(s.By, a.By)
	by := c.head.CreatedByRef
	creator := s.Creator == "" && first && (by == "" || a.Speaks(by)) || s.Creator != "" && a.Speaks(s.Creator)
	if by != s.Creator && (s.Creator != "" || !creator) {
		return nil, false, refusal("its created_by_ref is not that of the version that is known here")
	}
	newer := c.version.Version.After(s.Newest)
	switch {
	case !first && !creator && newer:
		return nil, false, refusal("only who added its first version here, or its creator, can add another")
	case !first && !creator:
		c.known |= Relayed
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
		if had && col != Quarantine {
			c.known |= Relayed
		}
	}
	return s, false, nil
}

// refusal is an error about one object of a submission, which the others do not share.
type refusal string

func (r refusal) Error() string { return string(r) }

// withdraw takes an object out of the collections whose ceiling is below the label that it has
// from now on.
//
// The collection that it was to be added to is told in any case: what is refused there raises
// the label too.
func (p *Poster) withdraw(ctx context.Context, a *Addition, to string, c *candidate, s *Standing) error {
	for _, id := range append(slices.DeleteFunc(s.Collections, func(id string) bool { return id == to }), to) {
		if a.Ceiling(id) >= c.label || id == Quarantine {
			continue
		}
		if err := p.withdrawFrom(ctx, a, id, c, id == to); err != nil {
			return err
		}
	}
	return nil
}

func (p *Poster) withdrawFrom(ctx context.Context, a *Addition, collection string, c *candidate, always bool) error {
	done, err := p.turn(ctx, collection)
	if err != nil {
		return err
	}
	defer done()
	list, err := p.View.Versions(collection, c.head.ID)
	if err != nil || len(list) == 0 && !always {
		return err
	}
	payload, err := json.Marshal(Removal{Objects: []Withdrawn{{ID: c.head.ID, Label: uint8(c.label), Version: c.version.Version}}})
	if err != nil {
		return err
	}
	if _, err = p.write(ctx, &Post{Share: Share{Collection: collection, Label: tlp.Clear}, Control: ControlWithdraw, Payload: payload}); err != nil {
		return err
	}
	p.tell(AuditEntry{
		Action: AuditWithdrawn, Member: a.By, Collection: collection, Count: int64(len(list)),
		Detail: fmt.Sprintf("%s is TLP:%s now", c.head.Type, strings.ToUpper(c.label.String())), // an id can tell an address
	})
	return nil
}

func (p *Poster) tell(e AuditEntry) {
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
