package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A report says how what it refers to is labelled, where that does not say so itself: beside it or in another request,
// before it or after, whether it is taken or refused. What stands is found in the view; what was refused is kept beside.

// maxContext is how many references of refused reports are kept of a member in a collection. Past it the highest of
// what they said holds for all that the member posts there without a label.
const maxContext = 40_000

// contexts are the reports of a member in a collection that do not stand there, or may not: each in its newest version.
type contexts struct {
	// All holds for everything.
	All     number             `json:"all,omitempty"`
	Reports map[string]*saying `json:"reports,omitempty"` // by id
}

// number is a label as a number, since tlp.Unknown is no text that is read.
type number uint8

// saying is what one says.
type saying struct {
	Version time.Time `json:"version"`
	// Of is what it says: usually once, but the same version may have come in several words.
	Of     []said `json:"of"`
	here   bool   // it is of this request
	stands number // what the version says that stands, None where none does
}

type said struct {
	Own number `json:"own"`
	// Unknown are markings whose meaning was not known yet: Own is what is said beside them.
	Unknown []string `json:"unknown,omitempty"`
	Refs    []string `json:"refs"`
}

// said is the label that is said, as far as markings are known by now.
func (x *posting) said(of *said) tlp.Level {
	label := tlp.Level(of.Own)
	for _, id := range of.Unknown {
		level, known := x.Marking(id)
		if !known && !x.harmlessNow[id] {
			level = tlp.Unknown
		}
		label = max(label, level)
	}
	return label
}

// ofAll tells whether a context of the id says it of everything, and not just of observables.
func ofAll(id string) bool {
	all, _ := (&stix.Head{Type: typeOf(id)}).Context()
	return all
}

func isContext(id string) bool {
	_, some := (&stix.Head{Type: typeOf(id)}).Context()
	return some
}

func typeOf(id string) string {
	typ, _, _ := strings.Cut(id, "--")
	return typ
}

// contextKey names what is kept of a member in a collection.
func contextKey(member, collection string) string {
	sum := sha256.Sum256([]byte("context\n" + member + "\n" + collection))
	return "context-" + hex.EncodeToString(sum[:16])
}

// readContexts reads what is kept, and adds the reports of the request.
func (x *posting) readContexts(ctx context.Context) error {
	text, found, err := x.Log.Kept(ctx, contextKey(x.By, x.collection))
	if err != nil {
		return err
	}
	if found && len(text) > 0 {
		if err := json.Unmarshal(text, &x.contexts); err != nil {
			return err
		}
		for _, s := range x.contexts.Reports {
			for _, of := range s.Of {
				if len(of.Unknown) > 0 && x.harmlessNow == nil {
					if x.harmlessNow, err = x.harmless(ctx, nil); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, o := range x.objects {
		if o == nil || !isContext(o.head.ID) {
			continue
		}
		at, err := o.head.Version()
		have := x.contexts.Reports[o.head.ID]
		if err != nil || have != nil && have.Version.After(at) {
			continue
		}
		s := &saying{Version: at, Of: []said{{number(o.known), o.unknownMarkings, o.head.Refs}}, here: true}
		if have != nil && have.Version.Equal(at) {
			s.Of = append(s.Of, have.Of...)
		}
		if x.contexts.Reports == nil {
			x.contexts.Reports = make(map[string]*saying)
		}
		x.contexts.Reports[o.head.ID] = s
	}
	if len(x.contexts.Reports) == 0 {
		return nil
	}
	// Of what stands in a version that is as new, that says it.
	var ids []string
	for id := range x.contexts.Reports {
		ids = append(ids, id)
	}
	return x.View.Posted(ids, func(i int, p *record.Posted) error {
		s := x.contexts.Reports[ids[i]]
		if s == nil || p.Collection != x.collection || p.Remembered || !x.mine(p, x.By) {
			return nil
		}
		switch at := p.Version.Version; {
		case at.After(s.Version):
			delete(x.contexts.Reports, ids[i])
		case at.Equal(s.Version):
			s.stands = number(p.Own)
		}
		return nil
	})
}

// contextOf is the highest label that the member's reports give an object that has none itself.
func (x *posting) contextOf(o *object) (label tlp.Level, err error) {
	label = tlp.Level(x.contexts.All)
	says := func(id string, own tlp.Level) {
		if ofAll(id) || !o.head.Versioned() {
			label = max(label, own)
		}
	}
	for _, of := range x.saidOf(o.head.ID) {
		says(of.id, of.own)
	}
	mine := func(from *record.Posted) bool { return isContext(from.ID) && x.mine(from, x.By) }
	err = x.eachReferring(x.collection, o.head.ID, mine, func(from *record.Posted) {
		if s := x.contexts.Reports[from.ID]; s == nil || !s.Version.After(from.Version.Version) {
			says(from.ID, from.Own)
		}
	})
	return label, err
}

// saidBy is what a report says of an object.
type saidBy struct {
	id  string
	own tlp.Level
}

// saidOf lists what the reports that do not stand say of an object.
func (x *posting) saidOf(id string) []saidBy {
	if x.bySaid == nil {
		x.bySaid = make(map[string][]saidBy)
		for from, s := range x.contexts.Reports {
			for _, of := range s.Of {
				for _, ref := range of.Refs {
					x.bySaid[ref] = append(x.bySaid[ref], saidBy{from, x.said(&of)})
				}
			}
		}
	}
	return x.bySaid[id]
}

// keepContexts keeps those reports of the request that do not stand now, and forgets those that do.
func (x *posting) keepContexts(ctx context.Context) error {
	changed := false
	for _, o := range x.objects {
		if o == nil {
			continue
		}
		s := x.contexts.Reports[o.head.ID]
		if s == nil || !s.here {
			continue
		}
		changed = true
		if !s.Version.Equal(o.version.Version) {
			continue
		}
		s.Of = slices.DeleteFunc(s.Of, func(of said) bool {
			return slices.Equal(of.Refs, o.head.Refs) && (o.stored && x.said(&of) == o.own || o.same && number(x.said(&of)) <= s.stands)
		})
		if len(s.Of) == 0 {
			delete(x.contexts.Reports, o.head.ID)
		}
	}
	if !changed {
		return nil
	}
	n := 0
	for _, s := range x.contexts.Reports {
		for _, of := range s.Of {
			n += len(of.Refs) + 1
		}
	}
	if n > maxContext {
		for _, s := range x.contexts.Reports {
			for _, of := range s.Of {
				x.contexts.All = max(x.contexts.All, number(x.said(&of)))
			}
		}
		x.contexts.Reports = nil
	}
	key := contextKey(x.By, x.collection)
	if n == 0 && x.contexts.All == 0 {
		if _, found, err := x.Log.Kept(ctx, key); err != nil || !found {
			return err
		}
	}
	text, err := json.Marshal(&x.contexts)
	if err != nil {
		return err
	}
	return x.Log.SetKept(ctx, key, text)
}

// forgetContext forgets what a member's report has said that was refused, since the member has deleted the report.
func (p *Poster) forgetContext(ctx context.Context, member, collection, id string) error {
	key := contextKey(member, collection)
	text, found, err := p.Log.Kept(ctx, key)
	if err != nil || !found {
		return err
	}
	var c contexts
	if err := json.Unmarshal(text, &c); err != nil || c.Reports[id] == nil {
		return err
	}
	delete(c.Reports, id)
	if text, err = json.Marshal(&c); err != nil {
		return err
	}
	return p.Log.SetKept(ctx, key, text)
}
