package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// A marking that is no TLP label can forbid anything. What it means says the register; else its definition, where a
// statement, such as MITRE's copyright, or PAP says nothing about who may read. A definition counts for the objects of
// the member that posts it: somebody else's word that a marking is harmless must not open what it keeps closed.

// maxStatements is how many harmless markings of one member are remembered: the newest.
const maxStatements = 1000

// statementsKey is under what those of a member are remembered, beside what is in quarantine.
func statementsKey(member string) string {
	sum := sha256.Sum256([]byte("statements\n" + member))
	return statementsPrefix + hex.EncodeToString(sum[:16])
}

const statementsPrefix = "statements-"

// readMarkings finds the label that each object carries itself.
func (x *posting) readMarkings(ctx context.Context) (err error) {
	defined, some := x.definitions(), false
	for _, o := range x.objects {
		some = some || o != nil && len(o.head.Unknown()) > 0
	}
	if some || len(defined) > 0 {
		if x.harmlessNow, err = x.harmless(ctx, defined); err != nil {
			return err
		}
	}
	for i, o := range x.objects {
		if o != nil {
			x.readOwn(o, defined, x.harmlessNow)
			_, x.results[i].Defines = defined[o.head.ID]
		}
	}
	return nil
}

// readOwn finds the label that an object carries itself.
func (x *posting) readOwn(o *object, defined, harmless map[string]bool) {
	known := make(map[string]bool)
	means, waits := tlp.None, true
	for _, id := range o.head.Unknown() {
		level, said := x.Marking(id)
		_, seen := defined[id]
		switch {
		case said:
			means, known[id] = max(means, level), true
		case harmless[id]:
			known[id] = true
		case seen:
			waits = false
		}
	}
	if len(known) > 0 {
		o.head.Ignore(known)
	}
	o.known, o.unknownMarkings = max(o.head.KnownLabel(), means), o.head.Unknown()
	level, err := o.head.Label()
	if o.own = max(level, means); err == nil {
		return
	}
	if len(o.unknownMarkings) == 0 {
		o.known = tlp.Unknown // one of its labels says it, which nothing defines
	}
	if x.release != tlp.None { // the operator has said it
		o.own = max(o.head.KnownLabel(), means, x.release)
		return
	}
	o.reason, o.waits = err.Error(), waits && len(o.unknownMarkings) > 0
}

// harmless are the markings that the member has defined, now or before, and that say nothing about who may read.
func (x *posting) harmless(ctx context.Context, defined map[string]bool) (map[string]bool, error) {
	key := statementsKey(x.By)
	done, err := x.turns.Take(ctx, key)
	if err != nil {
		return nil, err
	}
	defer done()
	text, _, err := x.Log.Quarantined(ctx, key)
	if err != nil {
		return nil, err
	}
	before := strings.Fields(string(text))
	now := slices.DeleteFunc(slices.Clone(before), func(id string) bool { _, again := defined[id]; return again })
	for id, harmless := range defined {
		if harmless {
			now = append(now, id)
		}
	}
	now = now[max(len(now)-maxStatements, 0):]
	out := make(map[string]bool, len(now))
	for _, id := range now {
		out[id] = true
	}
	if same := len(before) == len(now) && !slices.ContainsFunc(before, func(id string) bool { return !out[id] }); same {
		return out, nil
	}
	if err := x.Log.SetQuarantined(ctx, key, []byte(strings.Join(now, "\n"))); err != nil {
		return nil, fmt.Errorf("remember markings: %w", err)
	}
	return out, nil
}

// definitions are the marking definitions of a request that are good, and whether each says nothing about who may read,
// in all of its copies.
func (x *posting) definitions() (defined map[string]bool) {
	for i, o := range x.objects {
		if o == nil || o.head.Type != "marking-definition" || x.results[i].Problem != "" || o.dropped {
			continue
		}
		if defined == nil {
			defined = make(map[string]bool)
		}
		harmless, again := defined[o.head.ID]
		defined[o.head.ID] = stix.IsHarmless(o.raw) && (harmless || !again)
	}
	return defined
}
