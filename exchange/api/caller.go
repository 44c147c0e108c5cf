package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Login checks a member id and token that come over NATS from an address. It is the same credential
// as everywhere, and has to be good for reading. Failed log-ins are held to the same limit: what is
// above it is told so, later.
func (a *API) Login(user, token, from string) (who exchange.Caller, ok bool) {
	x := a.Access.Load()
	if x == nil {
		return exchange.Caller{}, false
	}
	who, ok = x.Token(user, token)
	if ok {
		a.uses.note(context.Background(), &who)
		if who.Member != exchange.Admin && who.May(exchange.ScopeRead) { // the operator reads all over HTTP
			a.Journal.Audit(exchange.AuditEntry{Action: exchange.AuditConnected, Channel: exchange.ChannelNATS, From: from}.By(&who))
			return who, true
		}
	}
	e := exchange.AuditEntry{Action: exchange.AuditFailedLogin, Channel: exchange.ChannelNATS, From: from}
	if x.Register.Member(user) != nil {
		e.Member = user // any other name could be a token in the wrong place
	}
	much := a.limits.tooManyFailures(network(from))
	if much != nil {
		e.Action, e.Detail = exchange.AuditLimited, "failed log-ins"
	}
	a.Journal.Audit(e)
	if much != nil {
		<-time.After(guessWait)
		return exchange.Caller{}, false
	}
	a.limits.countFailure(network(from))
	return exchange.Caller{}, false
}

// guessWait is how long a failed log-in over NATS waits for its answer where its address has had too
// many.
const guessWait = time.Second

// callerOf returns who asks; it is Anybody who does not say.
func callerOf(x *access.Access, r *http.Request) (who exchange.Caller, err error) {
	user, token, basic := r.BasicAuth()
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	ok := false
	switch {
	case r.Header.Get("Authorization") == "":
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			who = x.Certificate(r.TLS.VerifiedChains[0][0])
		}
		return who, nil
	case basic && user != "":
		who, ok = x.Token(user, token)
	case !basic && strings.EqualFold(scheme, "Bearer"):
		who, ok = x.Token("", strings.TrimSpace(bearer))
	}
	if !ok {
		return who, taxiiserver.ErrUnauthorized
	}
	return who, nil
}
