package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
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
	// Until is when it waits no more for a definition of its marking, zero where the operator has to decide.
	Until time.Time `json:"until,omitzero"`
	Size  int       `json:"size"`
	// SpecVersion is that of STIX that it is of. Beside says that the quarantine's collection has other bytes of
	// this version.
	SpecVersion string `json:"spec_version"`
	Beside      bool   `json:"beside,omitempty"`
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

// contentKey is where the bytes of an object in quarantine are kept, where the collection has others of that version.
func contentKey(id string) string { return id + contentSuffix }

const contentSuffix = "-content"

// definitionWait is how long an object waits for the definition of its marking, before it is the operator's to decide.
const definitionWait = 24 * time.Hour

// What of one member may wait at a time.
const (
	maxWaiting      = 10_000
	maxWaitingBytes = 64 << 20
)

// quarantine puts an object into quarantine, and says so.
func (x *posting) quarantine(ctx context.Context, o *object, out *Result) (why string, err error) {
	sum := sha256.Sum256([]byte(x.By + "\n" + x.collection + "\n" + string(o.raw)))
	id := hex.EncodeToString(sum[:16])
	have, err := x.Quarantined(ctx, id)
	switch {
	case errors.Is(err, ErrNotHeld):
	case err != nil:
		return "", err
	case have.Decision == Rejected:
		return "it was in quarantine as " + id + " and was rejected: " + have.Why, nil
	case have.Decision == Released:
		return "it was in quarantine as " + id + " and was released under TLP:" + have.Label.String(), nil
	default:
		out.Held, out.Waits = true, have.waits()
		return waits(have), nil
	}
	h := &Quarantined{
		ID: id, Object: o.head.ID, Version: o.version.Version, By: x.By, Collection: x.collection, Reason: o.reason, Size: len(o.raw),
		At: time.Now().UTC().Truncate(time.Millisecond), Least: o.head.KnownLabel(),
	}
	if o.waits {
		h.Until = h.At.Add(definitionWait)
	}
	if full, err := x.waitingFull(ctx, h); err != nil || full != "" {
		return full, err
	}
	if err := x.in(ctx, exchange.Quarantine, func() error { return x.keep(ctx, h, o) }); err != nil {
		return "", err
	}
	x.tell(exchange.AuditEntry{Action: exchange.AuditQuarantined, Member: x.By, Collection: x.collection, Count: 1, Detail: id + ": " + o.reason})
	out.Held, out.Waits = true, h.waits()
	return waits(h), nil
}

// Waits tells whether it waits for a definition, and is not the operator's to decide yet.
func (h *Quarantined) Waits() bool { return h.Decision == "" && time.Now().Before(h.Until) }

// waits names it while it waits.
func (h *Quarantined) waits() string {
	if h.Waits() {
		return h.ID
	}
	return ""
}

// keep keeps the bytes of an object, once, and what is known of it. The caller has the turn of the quarantine.
func (x *posting) keep(ctx context.Context, h *Quarantined, o *object) error {
	have, err := x.View.Object(ctx, exchange.Quarantine, o.version)
	if err != nil {
		return err
	}
	if have != nil {
		err = x.Log.SetQuarantined(ctx, contentKey(h.ID), o.raw)
		h.Beside = true
	} else {
		_, err = x.write(ctx, &record.Post{
			Share: record.Share{Collection: exchange.Quarantine, Label: tlp.Red, Groups: []*record.Group{{Objects: []record.Object{{ID: o.head.ID, Raw: o.raw}}}}},
			By:    x.Seal.Pseudonym(x.By), Labels: []byte{0},
		})
	}
	if err != nil {
		return err
	}
	h.SpecVersion = o.version.SpecVersion
	return x.setHeld(ctx, h)
}

// waiting is how much of each member waits in quarantine. Its zero value is ready.
type waiting struct {
	mu sync.Mutex
	of map[string]*amount // nil until it was counted
}

type amount struct{ n, size int }

// add counts an object that comes, or, with -1, that has gone. The caller has the lock, and counting has begun.
func (w *waiting) add(h *Quarantined, n int) {
	if w.of[h.By] == nil {
		w.of[h.By] = new(amount)
	}
	w.of[h.By].n += n
	w.of[h.By].size += n * h.Size
}

// waitingFull says why no more of the member may wait, "" where it may, and is counted.
func (p *Poster) waitingFull(ctx context.Context, h *Quarantined) (why string, err error) {
	p.waiting.mu.Lock()
	defer p.waiting.mu.Unlock()
	if p.waiting.of == nil {
		list, err := p.ListQuarantined(ctx, false)
		if err != nil {
			return "", err
		}
		p.waiting.of = make(map[string]*amount)
		for _, other := range list {
			p.waiting.add(other, 1)
		}
	}
	if have := p.waiting.of[h.By]; have != nil && (have.n >= maxWaiting || have.size+h.Size > maxWaitingBytes) {
		return fmt.Sprintf("it would wait in quarantine, and %d objects of yours do: have the operator decide about them", have.n), nil
	}
	p.waiting.add(h, 1)
	return "", nil
}

// waitsNoMore counts what was decided about.
func (p *Poster) waitsNoMore(h *Quarantined) {
	p.waiting.mu.Lock()
	defer p.waiting.mu.Unlock()
	if p.waiting.of != nil {
		p.waiting.add(h, -1)
	}
}

func waits(h *Quarantined) string {
	if h.Waits() {
		return "it waits in quarantine as " + h.ID + " until " + h.Until.Format(time.RFC3339) + " for you to post what defines its marking: " + h.Reason
	}
	return "it waits in quarantine as " + h.ID + " for the operator to decide: " + h.Reason
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
		if strings.HasSuffix(id, contentSuffix) || strings.HasPrefix(id, statementsPrefix) {
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
	h, err := p.Quarantined(ctx, id)
	if err != nil {
		return nil, err
	}
	var raw []byte
	if h.Beside {
		raw, _, err = p.Log.Quarantined(ctx, contentKey(id))
	} else {
		raw, err = p.View.Object(ctx, exchange.Quarantine, h.version())
	}
	if err == nil && len(raw) == 0 {
		err = ErrNotHeld
	}
	return raw, err
}

func (h *Quarantined) version() record.Version {
	return record.Version{ID: h.Object, SpecVersion: h.SpecVersion, Version: h.Version}
}

// ErrLabel means that something can't be released under the label that was said.
var ErrLabel = errors.New("not under this label")

// As makes the request with which a member would post to a collection.
type As func(member, collection string) *Request

// Decide releases what is in quarantine to the collection that it was meant for, under a
// label that is at least the highest that is known of it, or with tlp.None rejects it.
func (p *Poster) Decide(ctx context.Context, id string, label tlp.Level, by, why string, as As) (*Quarantined, error) {
	done, err := p.turns.Take(ctx, contentKey(id)) // one decision at a time
	if err != nil {
		return nil, err
	}
	defer done()
	h, err := p.Quarantined(ctx, id)
	if err != nil {
		return nil, err
	}
	if h.Decision != "" {
		return nil, ErrNotHeld
	}
	if label != tlp.None && label < h.Least {
		return nil, fmt.Errorf("%w: it is marked TLP:%s besides, and only its owner can lower that", ErrLabel, h.Least)
	}
	h.Decision, h.Label, h.DecidedBy, h.DecidedAt, h.Why = Rejected, label, by, time.Now().UTC().Truncate(time.Millisecond), why
	if label != tlp.None {
		h.Decision = Released
		out, err := p.release(ctx, h, label, as)
		if err != nil {
			return nil, err
		}
		if out.Problem != "" {
			return nil, fmt.Errorf("%w: %s", ErrLabel, out.Problem)
		}
	}
	return h, p.decided(ctx, h)
}

// release posts what is in quarantine to its collection, as its member's; said is the label that the operator gives it,
// None where its markings have been defined.
func (p *Poster) release(ctx context.Context, h *Quarantined, said tlp.Level, as As) (*Result, error) {
	raw, err := p.heldContent(ctx, h.ID)
	if err != nil {
		return nil, err
	}
	r := as(h.By, h.Collection)
	r.SpecVersions, r.Objects = []string{"2.0", "2.1"}, [][]byte{raw}
	list, _, err := p.add(ctx, r, said)
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// decided writes down what was decided, and takes the object out of the quarantine.
func (p *Poster) decided(ctx context.Context, h *Quarantined) error {
	if err := p.setHeld(ctx, h); err != nil {
		return err
	}
	p.waitsNoMore(h)
	if h.Beside {
		return p.Log.SetQuarantined(ctx, contentKey(h.ID), nil)
	}
	return p.in(ctx, exchange.Quarantine, func() error {
		p.Gate.RLock()
		defer p.Gate.RUnlock()
		_, err := p.remove(ctx, exchange.Quarantine, exchange.Admin, record.ControlDelete, &record.Removal{Versions: []record.Version{h.version()}})
		return err
	})
}

// Reconsider lets what waits of a member, or of everybody where that is "", go its way, where its markings are known by
// now: their definitions have come, or the operator has said what they mean.
func (p *Poster) Reconsider(ctx context.Context, member string, as As) error {
	list, err := p.ListQuarantined(ctx, false)
	if err != nil {
		return err
	}
	for _, h := range list {
		if member != "" && (h.By != member || !h.Waits()) {
			continue
		}
		if err := p.reconsider(ctx, h.ID, as); err != nil && !errors.Is(err, ErrNotHeld) {
			return err
		}
	}
	return nil
}

func (p *Poster) reconsider(ctx context.Context, id string, as As) error {
	done, err := p.turns.Take(ctx, contentKey(id))
	if err != nil {
		return err
	}
	defer done()
	h, err := p.Quarantined(ctx, id)
	if err != nil || h.Decision != "" {
		return err
	}
	if _, err := as(h.By, h.Collection).Collection(); err != nil {
		return nil // the collection is no more: the operator is to reject it, and the others go their way
	}
	out, err := p.release(ctx, h, tlp.None, as)
	if err != nil || out.Held {
		return err // it waits on
	}
	h.Decision, h.DecidedBy, h.DecidedAt, h.Why = Released, exchange.Admin, time.Now().UTC().Truncate(time.Millisecond), "its markings are known by now"
	if out.Problem != "" {
		h.Decision, h.Why = Rejected, out.Problem
	}
	return p.decided(ctx, h)
}
