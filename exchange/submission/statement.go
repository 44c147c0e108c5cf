package submission

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/tocsin-exchange/tocsin/stix"
)

// A statement marking, such as MITRE's copyright, says nothing about who may read: it is kept in the
// object and ignored for its label. What an id stands for only its definition tells, which counts for
// the objects of the member that posts it, beside it or within two days of it: somebody else's word
// that a marking is harmless must not open what it keeps closed.

// maxStatements is how many statement markings of one member are remembered: the newest.
const maxStatements = 1000

// ignoreStatements takes references to statement markings out of the candidates' heads. outcomes tell
// which of the candidates are good.
func (p *Poster) ignoreStatements(ctx context.Context, a *Addition, list []*candidate, outcomes []Outcome) error {
	defined, unknown := definitions(list, outcomes), false
	for _, c := range list {
		unknown = unknown || c != nil && len(c.head.Unknown()) > 0
	}
	if len(defined) == 0 && !unknown {
		return nil
	}
	sum := sha256.Sum256([]byte("statements\n" + a.By))
	key := "statements-" + hex.EncodeToString(sum[:16])
	release, err := p.claim(ctx, []string{key})
	if err != nil {
		return err
	}
	defer release()
	text, _, err := p.Log.Status(ctx, key)
	if err != nil {
		return err
	}
	known := strings.Fields(string(text))
	if len(defined) > 0 {
		known = slices.DeleteFunc(known, func(id string) bool { _, again := defined[id]; return again })
		for id, statement := range defined {
			if statement {
				known = append(known, id)
			}
		}
		known = known[max(len(known)-maxStatements, 0):]
		if err := p.Log.SetStatus(ctx, key, []byte(strings.Join(known, "\n"))); err != nil {
			return err
		}
	}
	ignored := make(map[string]bool, len(known))
	for _, id := range known {
		ignored[id] = true
	}
	for _, c := range list {
		if c != nil {
			c.head.Ignore(ignored)
		}
	}
	return nil
}

// definitions are the marking definitions among the candidates, and whether each is of a statement in
// all of its copies.
func definitions(list []*candidate, outcomes []Outcome) map[string]bool {
	var defined map[string]bool
	for i, c := range list {
		if c == nil || c.head.Type != "marking-definition" || outcomes[i].Problem != "" {
			continue
		}
		if defined == nil {
			defined = make(map[string]bool)
		}
		statement, again := defined[c.head.ID]
		defined[c.head.ID] = stix.IsStatement(c.raw) && (statement || !again)
	}
	return defined
}
