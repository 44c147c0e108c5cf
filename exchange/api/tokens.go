package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// NewToken says what a credential is to be.
type NewToken struct {
	Name    string           `json:"name,omitempty"`
	Expires time.Time        `json:"expires,omitzero"`
	Scopes  []exchange.Scope `json:"scopes,omitempty"`
	Person  string           `json:"person,omitempty"`
}

// Token is a new credential; it is shown this once.
type Token struct {
	Member string `json:"member"`
	Name   string `json:"name"`
	Token  string `json:"token"`
}

// Credential is a credential without what opens the door.
type Credential struct {
	NewToken
	Created time.Time `json:"created"`
	// Used is when it was last used, to the hour; zero for never, as far as is known.
	Used time.Time `json:"last_used,omitzero"`
}

// tokens lists a member's credentials: GET /v1/members/{member}/tokens.
func (a *API) tokens(r *request) (any, error) {
	member := r.PathValue("member")
	if r.x.Register.Member(member) == nil && member != exchange.Admin {
		return nil, taxiiserver.ErrNotFound
	}
	list := []Credential{}
	for _, t := range r.x.Register.Tokens[member] {
		used, err := a.uses.last(r.Context(), member, t.Name)
		if err != nil {
			return nil, err
		}
		list = append(list, Credential{NewToken{t.Name, t.Expires, t.Scopes, t.Person}, t.Created, used})
	}
	return list, nil
}

// newToken makes a credential: POST /v1/members/{member}/tokens with a NewToken, or nothing.
func (a *API) newToken(r *request) (any, error) {
	text, err := r.body()
	if err != nil {
		return nil, err
	}
	var want NewToken
	if len(text) > 0 {
		if err := decode(text, &want); err != nil { // a scope that is misspelled is not every scope
			return nil, fail(http.StatusBadRequest, "Not a credential", `{"name":"…","expires":"2027-01-01T00:00:00Z","scopes":["read"],"person":"…"} was expected: %v`, err)
		}
	}
	if !want.Expires.IsZero() && !want.Expires.After(time.Now()) {
		return nil, fail(http.StatusBadRequest, "Not a credential", "expires: %s is past", want.Expires.Format(time.RFC3339))
	}
	member := r.PathValue("member")
	token, made, err := a.Register.NewToken(r.Context(), r.caller.Name(), member, exchange.Token{
		Name: want.Name, Expires: want.Expires.UTC(), Scopes: want.Scopes, Person: want.Person,
	})
	if err != nil {
		return nil, err
	}
	a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditCredential, Detail: "made " + member + " " + made.Name})
	return &Token{Member: member, Name: made.Name, Token: token}, nil
}

// Revoked says how many credentials were taken away.
type Revoked struct {
	Member  string `json:"member"`
	Revoked int    `json:"revoked"`
}

// revokeTokens takes one credential of a member away, or all: DELETE
// /v1/members/{member}/tokens and /v1/members/{member}/tokens/{token}.
func (a *API) revokeTokens(r *request) (any, error) {
	member, name := r.PathValue("member"), r.PathValue("token")
	if member == exchange.Admin && (name == "" || name == exchange.OperatorToken) {
		return nil, fail(http.StatusConflict, "Refused", "The operator's own token would be gone; delete admin.token and start anew to change it")
	}
	n, err := a.Register.RevokeTokens(r.Context(), r.caller.Name(), member, name)
	if err != nil {
		return nil, err
	}
	if n == 0 && name != "" {
		return nil, taxiiserver.ErrNotFound
	}
	a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: exchange.AuditCredential, Detail: fmt.Sprintf("revoked %s %s, %d in all", member, name, n)})
	return &Revoked{Member: member, Revoked: n}, nil
}
