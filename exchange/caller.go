package exchange

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// Scope is one thing that a credential is good for.
type Scope string

// The scopes. Read is everything that only looks, publish what adds to feeds and
// collections, feedback what tells of clean-up, admin what the operator does.
const (
	ScopeRead     Scope = "read"
	ScopePublish  Scope = "publish"
	ScopeFeedback Scope = "feedback"
	ScopeAdmin    Scope = "admin"
)

// Scopes lists all of them.
func Scopes() []Scope { return []Scope{ScopeRead, ScopePublish, ScopeFeedback, ScopeAdmin} }

// OperatorToken names the operator's own credential, which stands in admin.token.
const OperatorToken = "token-1"

// Token is one credential of a member. Only the hash is kept.
type Token struct {
	Name    string    `json:"name"`
	SHA256  string    `json:"sha256"`
	Created time.Time `json:"created"`
	// Expires is when it ends, zero for never.
	Expires time.Time `json:"expires,omitzero"`
	// Scopes are what it is good for; all that its member may do where none is named.
	Scopes []Scope `json:"scopes,omitempty"`
	// Person is who holds it: collections for named persons are read with it alone.
	Person string `json:"person,omitempty"`
}

// Expired tells whether the token has ended by then.
func (t *Token) Expired(at time.Time) bool { return !t.Expires.IsZero() && !at.Before(t.Expires) }

// Caller is who asks for something, as its credential says. The zero value is anybody.
type Caller struct {
	// Member is a member's id, Admin or Anybody.
	Member string
	// Person is who holds the credential, "" where it is nobody's own.
	Person string
	// Credential names the credential within the member's.
	Credential string
	// Scopes bound what it is good for; nil does not.
	Scopes []Scope
	// Expires is when the credential ends, zero for never.
	Expires time.Time
}

// As is the member itself, with all that it may do.
func As(member string) Caller { return Caller{Member: member} }

// Is tells whether both are the same member and person, whatever the credential.
func (c *Caller) Is(o *Caller) bool { return c.Member == o.Member && c.Person == o.Person }

// Name is the caller as persons are named: member, or member/person.
func (c *Caller) Name() string {
	if c.Person == "" {
		return c.Member
	}
	return c.Member + "/" + c.Person
}

// May tells whether the caller's credential is good for something: the operator's alone for
// ScopeAdmin, and everybody's but Anybody's for the rest.
func (c *Caller) May(s Scope) bool {
	if s == ScopeAdmin && c.Member != Admin {
		return false
	}
	return c.Scopes == nil && (c.Member != Anybody || s == ScopeRead) || slices.Contains(c.Scopes, s)
}

// person checks a name such as cert-at/alice.
func (r *Register) person(name string) (*Member, error) {
	member, person, ok := strings.Cut(name, "/")
	if !ok || ValidID(person) != nil {
		return nil, fmt.Errorf("person %.80q is not written as member/name, such as cert-at/alice", name)
	}
	if m := r.Member(member); m != nil || member == Admin {
		return m, nil
	}
	return nil, fmt.Errorf("person %.80q: there is no member %.60q", name, member)
}

// CheckPersons reports what is wrong with a list of persons who are to read RED.
func (r *Register) CheckPersons(names []string) (problems []string) {
	for _, name := range names {
		m, err := r.person(name)
		if err != nil {
			problems = append(problems, err.Error())
		} else if m != nil && m.Clearance < tlp.Red {
			problems = append(problems, fmt.Sprintf("person %s: %s is cleared for %s only, not for red", name, m.ID, m.Clearance))
		}
	}
	return problems
}
