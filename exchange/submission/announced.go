package submission

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// MISP cuts what it pushes into envelopes, and of an event only the report, in the first of them, says
// how it is labelled. So a member's report is remembered, for an hour and in the collection that it was added
// to, for what it refers to and did not bring along.

const (
	// contextAge is how long a report holds for what comes after it.
	contextAge = time.Hour
	// maxContext is how many objects are announced by one member in one collection; where there would be more,
	// what is said of any holds for all that comes.
	maxContext = 40_000 // which is one chunk of a text, so that nobody reads half of two
	// contextSize is that of one of them: a hash of its id, the label, the second of its report.
	contextSize = 8 + 1 + 4
)

// announcements are of the objects that reports of a member refer to and that have not come, by hash of the id.
type announcements map[uint64]announcement

// everything stands for whatever comes.
const everything = 0

// of returns what was announced of an object.
func (w announcements) of(id string) (e announcement, known bool) {
	e, known = w[announcedID(id)]
	all, any := w[everything]
	e.label = max(e.label, all.label)
	return e, known || any
}

// announcement is the label that a report gives what it refers to.
type announcement struct {
	label tlp.Level
	since uint32 // seconds since 1970
}

func announcedID(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// contextKey names what a member has announced in a collection.
func contextKey(member, collection string) string {
	sum := sha256.Sum256([]byte("context\n" + member + "\n" + collection))
	return "context-" + hex.EncodeToString(sum[:16])
}

// readAnnounced reads what was announced under a key and holds still.
func (p *Poster) readAnnounced(ctx context.Context, key string) (announcements, error) {
	text, found, err := p.Log.Status(ctx, key)
	if err != nil || !found {
		return nil, err
	}
	w := make(announcements, len(text)/contextSize)
	oldest := time.Now().Add(-contextAge).Unix()
	for ; len(text) >= contextSize; text = text[contextSize:] {
		e := announcement{tlp.Level(text[8]), binary.BigEndian.Uint32(text[9:])}
		if int64(e.since) > oldest {
			w[binary.BigEndian.Uint64(text)] = e
		}
	}
	return w, nil
}

// announce remembers what is announced under a key, and forgets what has come.
func (p *Poster) announce(ctx context.Context, key string, more, come announcements) error {
	if len(more)+len(come) == 0 {
		return nil
	}
	release, err := p.claim(ctx, []string{key})
	if err != nil {
		return err
	}
	defer release()
	w, err := p.readAnnounced(ctx, key)
	if err != nil {
		return err
	}
	if w == nil {
		w = make(announcements)
	}
	for id, e := range more {
		if e.label < w[id].label {
			e = w[id] // and ends when that ends
		}
		w[id] = e
	}
	for id, e := range come {
		if w[id] == e { // else it was announced again meanwhile
			delete(w, id)
		}
	}
	if len(w) > maxContext {
		all := announcement{since: uint32(time.Now().Unix())} //nolint:gosec // until 2106
		for _, e := range w {
			all.label = max(all.label, e.label)
		}
		w = announcements{everything: all}
	}
	text := make([]byte, 0, len(w)*contextSize)
	for id, e := range w {
		text = append(binary.BigEndian.AppendUint64(text, id), byte(e.label))
		text = binary.BigEndian.AppendUint32(text, e.since)
	}
	return p.Log.SetStatus(ctx, key, text)
}

// remembered are reports, as it were, that say of the objects of a submission what earlier reports of the
// member have said, one for each label.
func (w announcements) remembered(heads []*stix.Head) (list []*stix.Head) {
	refs := make(map[tlp.Level][]string)
	for _, h := range heads {
		if e, known := w.of(h.ID); known {
			refs[e.label] = append(refs[e.label], h.ID)
		}
	}
	for label, ids := range refs {
		marking := "marking-definition--00000000-0000-0000-0000-000000000000" // one that nobody knows
		if label.Valid() {
			marking = label.MarkingID()
		}
		list = append(list, &stix.Head{Type: "report", ID: "report of before, TLP:" + label.String(), ObjectMarkingRefs: []string{marking}, Refs: ids})
	}
	return list
}

// label gives each candidate its label, also those that are refused: what a report says holds for what
// is beside it and for what comes after it, whatever becomes of the report. It returns those that earlier
// reports have announced.
func (p *Poster) label(ctx context.Context, a *Addition, col *exchange.Collection, list []*candidate) (come announcements, err error) {
	var heads []*stix.Head
	var those []*candidate
	for _, c := range list {
		if c != nil {
			heads, those = append(heads, &c.head), append(those, c)
		}
	}
	key := contextKey(a.By, col.ID)
	before, err := p.readAnnounced(ctx, key)
	if err != nil {
		return nil, err
	}
	known := func(id string) (tlp.Level, error) {
		e, _ := before.of(id)
		l, err := p.labelOf(ctx, a, col.ID, id)
		return max(e.label, l), err
	}
	labels, reasons, err := policy.Labels(append(heads, before.remembered(heads)...), col.Floor, known)
	if err != nil {
		return nil, err
	}
	for i, c := range those {
		if c.label = labels[i]; reasons[i] != nil {
			c.reason = reasons[i].Error()
		}
		// What has no versions has no standing that would keep its label.
		if id := announcedID(c.head.ID); c.head.Modified != "" {
			if e, known := before[id]; known {
				if come == nil {
					come = make(announcements)
				}
				come[id] = e
			}
		}
	}
	return come, p.announce(ctx, key, announcedBy(heads, labels), nil)
}

// labelOf is the label that the exchange knows of an object, none where it knows none that who adds to a
// collection may see.
func (p *Poster) labelOf(ctx context.Context, a *Addition, collection, id string) (tlp.Level, error) {
	s, _, err := p.sight(ctx, a, collection, id, nil)
	if err != nil || s == nil {
		return tlp.None, err
	}
	return s.Label, nil
}

// arrived forgets what was announced and is stored.
func (p *Poster) arrived(ctx context.Context, a *Addition, col *exchange.Collection, come announcements, outcomes []Outcome) error {
	for _, o := range outcomes {
		if o.Problem != "" {
			delete(come, announcedID(o.ID))
		}
	}
	return p.announce(ctx, contextKey(a.By, col.ID), nil, come)
}

// announcedBy are what the reports of a submission refer to and do not bring along.
func announcedBy(heads []*stix.Head, labels []tlp.Level) (w announcements) {
	here := make(map[string]bool, len(heads))
	for _, h := range heads {
		here[h.ID] = true
	}
	now := uint32(time.Now().Unix()) //nolint:gosec // until 2106
	for i, h := range heads {
		if !h.Covers() {
			continue
		}
		for _, ref := range h.Refs {
			if here[ref] {
				continue
			}
			if w == nil {
				w = make(announcements)
			}
			id := announcedID(ref)
			w[id] = announcement{max(w[id].label, labels[i]), now}
		}
	}
	return w
}
