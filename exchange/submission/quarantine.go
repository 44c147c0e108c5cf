package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Quarantined is an object in quarantine, without its content.
type Quarantined struct {
	// ID names it: of the hash of its bytes, its collection and who added it.
	ID         string    `json:"id"`
	Object     string    `json:"object"`
	Version    time.Time `json:"version,omitzero"`
	By         string    `json:"by"`
	Collection string    `json:"collection"`
	Reason     string    `json:"reason"`
	At         time.Time `json:"at"`
	// Least is the highest label of those that are known of it.
	Least tlp.Level `json:"least,omitempty"`
	// Decision is "" until the operator has decided: Released or Rejected.
	Decision  string    `json:"decision,omitempty"`
	Label     tlp.Level `json:"label,omitempty"`
	DecidedBy string    `json:"decided_by,omitempty"`
	DecidedAt time.Time `json:"decided_at,omitzero"`
	Why       string    `json:"why,omitempty"`
}

// The decisions about what is in quarantine.
const (
	Released = "released"
	Rejected = "rejected"
)

// ErrNotHeld means that there is nothing of the id in quarantine, or that it was decided about.
var ErrNotHeld = errors.New("there is nothing of this id that waits in quarantine")

// contentKey is where the bytes of an object in quarantine are kept.
func contentKey(id string) string { return id + "-content" }

// quarantine puts a candidate into quarantine. Its error is a refusal that says so.
func (p *Poster) quarantine(ctx context.Context, a *Addition, collection string, c *candidate) error {
	sum := sha256.Sum256([]byte(a.By + "\n" + collection + "\n" + string(c.raw)))
	id := hex.EncodeToString(sum[:16])
	have, err := p.Quarantined(ctx, id)
	switch {
	case errors.Is(err, ErrNotHeld):
	case err != nil:
		return err
	case have.Decision == Rejected:
		return refusal("it was in quarantine as " + id + " and the operator has rejected it: " + have.Why)
	case have.Decision == Released:
		return refusal("it was in quarantine as " + id + " and the operator has released it under TLP:" + have.Label.String())
	default:
		c.reason = have.Reason // what a crash has left undone is done below
	}
	if c.reason == "" {
		c.reason = "an earlier version is in quarantine"
	}
	if have == nil {
		h := &Quarantined{
			ID: id, Object: c.head.ID, Version: c.version.Version, By: a.By, Collection: collection, Reason: c.reason,
			At: time.Now().UTC().Truncate(time.Millisecond), Least: c.head.KnownLabel(),
		}
		if err := p.Log.SetQuarantined(ctx, contentKey(id), c.raw); err != nil {
			return err
		}
		if err := p.setHeld(ctx, h); err != nil {
			return err
		}
	}
	p.tell(exchange.AuditEntry{Action: exchange.AuditQuarantined, Member: a.By, Collection: collection, Count: 1, Detail: id + ": " + c.reason})
	done, err := p.turn(ctx, exchange.Quarantine)
	if err != nil {
		return err
	}
	defer done()
	had, err := p.View.Has(exchange.Quarantine, c.version)
	if err != nil {
		return err
	}
	if had {
		return refusal(waits(id, c.reason))
	}
	post := &record.Post{
		Share: record.Share{Collection: exchange.Quarantine, Label: tlp.Red, Groups: []*record.Group{{Objects: []record.Object{{ID: c.head.ID, Raw: c.raw}}}}},
		By:    p.Seal.Pseudonym(a.By, appendBit(nil, 0, c.apart)), Labels: []byte{c.known},
	}
	if _, err := p.write(ctx, post); err != nil {
		return err
	}
	return refusal(waits(id, c.reason))
}

func waits(id, reason string) string {
	return "it waits in quarantine as " + id + " for the operator to decide: " + reason
}

func (p *Poster) setHeld(ctx context.Context, h *Quarantined) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return p.Log.SetQuarantined(ctx, h.ID, text)
}

// Quarantined returns what is or was in quarantine under an id, or ErrNotHeld.
func (p *Poster) Quarantined(ctx context.Context, id string) (*Quarantined, error) {
	text, found, err := p.Log.Quarantined(ctx, id)
	if err != nil {
		return nil, err
	}
	h := new(Quarantined)
	if !found || json.Unmarshal(text, h) != nil || h.ID != id {
		return nil, ErrNotHeld
	}
	return h, nil
}

// ListQuarantined lists what waits in quarantine, with all also what was decided about.
func (p *Poster) ListQuarantined(ctx context.Context, all bool) ([]*Quarantined, error) {
	ids, err := p.Log.ListQuarantined(ctx)
	if err != nil {
		return nil, err
	}
	list := []*Quarantined{}
	for _, id := range ids {
		if strings.HasSuffix(id, contentKey("")) {
			continue
		}
		h, err := p.Quarantined(ctx, id)
		if err != nil && !errors.Is(err, ErrNotHeld) {
			return nil, err
		}
		if err == nil && (all || h.Decision == "") {
			list = append(list, h)
		}
	}
	return list, nil
}

// QuarantinedContent returns the bytes of what is or was in quarantine, to who may read it there.
func (p *Poster) QuarantinedContent(ctx context.Context, right policy.Read, id string) ([]byte, error) {
	if collection, ok := policy.Readable(right); !ok || collection != exchange.Quarantine {
		return nil, errors.New("submission: what is in quarantine is read with a right to it alone")
	}
	return p.heldContent(ctx, id)
}

func (p *Poster) heldContent(ctx context.Context, id string) ([]byte, error) {
	raw, found, err := p.Log.Quarantined(ctx, contentKey(id))
	if err == nil && !found {
		err = ErrNotHeld
	}
	return raw, err
}

// Decide releases what is in quarantine to the collection that it was meant for, under a
// label that is at least the highest that is known of it, or with tlp.None rejects it.
// collection returns one while it is there, as what its member would add to it with.
func (p *Poster) Decide(ctx context.Context, id string, label tlp.Level, by, why string, as func(member, collection string) *Addition) (*Quarantined, error) {
	release, err := p.claim(ctx, []string{contentKey(id)}) // one decision at a time
	if err != nil {
		return nil, err
	}
	defer release()
	h, err := p.Quarantined(ctx, id)
	if err != nil {
		return nil, err
	}
	if h.Decision != "" {
		return nil, ErrNotHeld
	}
	h.Decision, h.Label, h.DecidedBy, h.DecidedAt, h.Why = Rejected, label, by, time.Now().UTC().Truncate(time.Millisecond), why
	if label != tlp.None {
		h.Decision = Released
		if err := p.release(ctx, as(h.By, h.Collection), h); err != nil {
			return nil, err
		}
	}
	if err := p.setHeld(ctx, h); err != nil {
		return nil, err
	}
	operator := as(exchange.Admin, exchange.Quarantine)
	_, err = p.Delete(ctx, operator, h.Object, func(all []record.Version) (list []record.Version) {
		for _, v := range all {
			if v.Version.Equal(h.Version) {
				list = append(list, v)
			}
		}
		return list
	})
	if errors.Is(err, ErrNoVersion) {
		err = nil
	}
	return h, err
}

// relaying are the rules of somebody who relays besides.
type relaying struct{ Rules }

func (relaying) Relays() bool { return true }

// ErrLabel means that something can't be released under the label that was said.
var ErrLabel = errors.New("not under this label")

func (p *Poster) release(ctx context.Context, a *Addition, h *Quarantined) error {
	if h.Label < h.Least {
		return fmt.Errorf("%w: it is marked TLP:%s besides, and only its creator can lower that", ErrLabel, h.Least)
	}
	raw, err := p.heldContent(ctx, h.ID)
	if err != nil {
		return err
	}
	out := make([]Outcome, 1)
	c, err := examine(raw, []string{"2.0", "2.1"}, &out[0])
	if err != nil { // which can tell what is in it
		return fmt.Errorf("%w: it is not sound by today's checks: reject it", ErrLabel)
	}
	if c.label = h.Label; c.head.Modified != "" {
		c.known = byte(h.Label)
	}
	to, err := a.Collection()
	if err != nil {
		return err
	}
	if h.Label > to.Ceiling {
		return fmt.Errorf("%w: %s", ErrLabel, aboveCeiling(h.Label, to.Ceiling))
	}
	release, err := p.claim(ctx, []string{c.head.ID})
	if err != nil {
		return err
	}
	defer release()
	s, where, err := p.sight(ctx, a, h.Collection, h.Object, c)
	if err != nil {
		return err
	}
	if c.apart = where != isShared; where == isDropped && c.head.Modified != "" {
		return fmt.Errorf("%w: another member's object of this id stands there: reject this one", ErrLabel)
	}
	if c.head.Modified != "" && s != nil && (s.Newest.After(h.Version) || s.Label != tlp.Unknown && h.Label < s.Label) {
		return fmt.Errorf("%w: a newer version, or a higher label, is known of it by now: reject this one", ErrLabel)
	}
	if c.head.Discloses() {
		operator := *a
		operator.Rules = relaying{a.Rules} // who decides sees everything
		for _, end := range c.head.Refs {
			l, err := p.labelOf(ctx, &operator, h.Collection, end)
			if err != nil {
				return err
			}
			if l > h.Label && l != tlp.Unknown {
				return fmt.Errorf("%w: it tells of what is TLP:%s", ErrLabel, l)
			}
		}
	}
	if s != nil && h.Label > s.Label {
		if err := p.lift(ctx, a, s, record.Withdrawn{ID: h.Object, Label: uint8(h.Label), Version: h.Version}); err != nil {
			return err
		}
	}
	if _, err := p.store(ctx, a, h.Collection, []*candidate{c}, out); err != nil {
		return err
	}
	if out[0].Problem != "" {
		return fmt.Errorf("%w: %s", ErrLabel, out[0].Problem)
	}
	return nil
}
