package api

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"net/http"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Login checks a member id and token that come over NATS from an address. It is the same credential
// as everywhere, and has to be good for reading. Failed log-ins are held to the same limit: what is
// above it is told so, later.
func (a *API) Login(user, token, from string) (who exchange.Caller, ok bool) {
	x := a.access.Load()
	if x == nil {
		return exchange.Caller{}, false
	}
	who, err := x.token(user, token)
	if err == nil {
		a.uses.note(context.Background(), &who)
		if who.Member != exchange.Admin && who.May(exchange.ScopeRead) { // the operator reads all over HTTP
			a.Journal.Audit(exchange.AuditEntry{Action: exchange.AuditConnected, Way: exchange.WayNATS, From: from}.By(&who))
			return who, true
		}
	}
	e := exchange.AuditEntry{Action: exchange.AuditFailedLogin, Way: exchange.WayNATS, From: from}
	if x.register.Member(user) != nil {
		e.Member = user // any other name could be a token in the wrong place
	}
	much := a.limits.guesses(network(from))
	if much != nil {
		e.Action, e.Detail = exchange.AuditLimited, "failed log-ins"
	}
	a.Journal.Audit(e)
	if much != nil {
		<-time.After(guessWait)
		return exchange.Caller{}, false
	}
	a.limits.guessed(network(from))
	return exchange.Caller{}, false
}

// guessWait is how long a failed log-in over NATS waits for its answer where its address has had too
// many.
const guessWait = time.Second

// token returns whose credential a token is; user is "" where it was not said. What is looked up
// is the hash of a long random token, so the time that it takes tells nothing about tokens.
func (x *access) token(user, token string) (exchange.Caller, error) {
	who, known := x.byToken[exchange.HashToken(token)]
	if !known || user != "" && user != who.Member || !who.Expires.IsZero() && !time.Now().Before(who.Expires) {
		return exchange.Caller{}, taxiiserver.ErrUnauthorized
	}
	return who, nil
}

// caller returns who asks; it is Anybody who does not say.
func (x *access) caller(r *http.Request) (exchange.Caller, error) {
	if r.Header.Get("Authorization") == "" {
		return x.certified(r), nil
	}
	if user, token, ok := r.BasicAuth(); ok {
		if user == "" {
			return exchange.Caller{}, taxiiserver.ErrUnauthorized
		}
		return x.token(user, token)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		return x.token("", strings.TrimSpace(token))
	}
	return exchange.Caller{}, taxiiserver.ErrUnauthorized
}

// certified returns the member to whom the request's client certificate is
// bound; TLS has verified it.
func (x *access) certified(r *http.Request) exchange.Caller {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return exchange.Caller{}
	}
	leaf := r.TLS.VerifiedChains[0][0]
	if time.Now().After(leaf.NotAfter) { // a connection can outlive it
		return exchange.Caller{}
	}
	for _, name := range certificateNames(leaf) {
		if member := x.byCert[name]; member != "" {
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
