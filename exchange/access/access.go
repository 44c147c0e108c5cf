// Package access says who asks: it knows members by their credentials, tokens and client certificates, under the
// version of the register that is in force. HTTP and NATS ask it alike; what callers may do then is policy's.
package access

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// Access is one version of the register in the form in which it is asked who somebody is. It does not change.
type Access struct {
	Register *exchange.Register
	// Collections are the register's, in its order.
	Collections []exchange.Collection

	byToken map[string]exchange.Caller      // by the token's hash
	byCert  map[string]string               // client certificate to member
	byName  map[string]*exchange.Collection // by id and UUID
}

// New makes the access that a version of the register gives.
func New(r *exchange.Register) *Access {
	a := &Access{
		Register: r, byToken: make(map[string]exchange.Caller), byCert: make(map[string]string), Collections: r.Collections(),
		byName: make(map[string]*exchange.Collection),
	}
	for member, tokens := range r.Tokens {
		for _, t := range tokens {
			a.byToken[t.SHA256] = exchange.Caller{Member: member, Person: t.Person, Credential: t.Name, Scopes: t.Scopes, Expires: t.Expires}
		}
	}
	for _, m := range r.Members {
		for _, name := range m.Certificates {
			a.byCert[name] = m.ID
		}
	}
	for i := range a.Collections {
		c := &a.Collections[i]
		a.byName[c.ID], a.byName[c.UUID] = c, c
	}
	return a
}

// Collection returns a collection by its id or UUID, nil where there is none.
func (a *Access) Collection(name string) *exchange.Collection { return a.byName[name] }

// Read returns the right of a caller to read a collection, named by its id or UUID, by a way; nil where the caller has
// none or there is no such collection.
func (a *Access) Read(who exchange.Caller, name string, by exchange.Channel) policy.Read {
	c := a.byName[name]
	if c == nil {
		return nil
	}
	return policy.ToRead(a.Register, who, c, by)
}

// Token returns whose credential a token is, and whether it is good; user is "" where it was not said. What is looked up
// is the hash of a long random token, so the time that it takes tells nothing about tokens.
func (a *Access) Token(user, token string) (who exchange.Caller, ok bool) {
	who, known := a.byToken[exchange.HashToken(token)]
	if !known || user != "" && user != who.Member || !who.Expires.IsZero() && !time.Now().Before(who.Expires) {
		return exchange.Caller{}, false
	}
	return who, true
}

// Certificate returns the member to whom a client certificate is bound, which TLS has verified; Anybody where it is
// bound to nobody, or its time is over: a connection can outlive it.
func (a *Access) Certificate(leaf *x509.Certificate) exchange.Caller {
	if time.Now().After(leaf.NotAfter) {
		return exchange.Caller{}
	}
	for _, name := range certificateNames(leaf) {
		if member := a.byCert[name]; member != "" {
			return exchange.Caller{Member: member, Credential: "certificate", Expires: leaf.NotAfter}
		}
	}
	return exchange.Caller{}
}

// certificateNames lists what a certificate can be bound to a member by, the most specific first.
func certificateNames(leaf *x509.Certificate) []string {
	sum := sha256.Sum256(leaf.Raw)
	names := []string{"sha256:" + hex.EncodeToString(sum[:]), leaf.Subject.String()}
	for _, s := range leaf.DNSNames {
		names = append(names, "dns:"+s)
	}
	for _, s := range leaf.EmailAddresses {
		names = append(names, "email:"+s)
	}
	for _, u := range leaf.URIs {
		names = append(names, "uri:"+u.String())
	}
	return names
}

// InForce holds the access in force. Its zero value has none. It is safe for concurrent use.
type InForce = wait.Value[Access]
