package api

import (
	"context"
	"fmt"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
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
		if a.limits.pausing(who.Member) || !a.SentOverNATS(who.Member, loginMessages) {
			<-time.After(guessWait)
			return exchange.Caller{}, false
		}
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
	a.refused.tell(e, time.Now())
	if much != nil {
		<-time.After(guessWait)
		return exchange.Caller{}, false
	}
	a.limits.countFailure(network(from))
	return exchange.Caller{}, false
}

// perRequest is how many messages over NATS count as a request: who catches up acknowledges each block, tens of thousands
// a second.
const perRequest = 8

// loginMessages is how many messages a log-in over NATS counts as: who connects again and again sends as much as who
// stays.
const loginMessages = 20 * perRequest

// SentOverNATS counts messages that a member has sent over NATS against its limit of requests. It is false where they
// are too many: the member is to be cut, and is not let in again for a while.
func (a *API) SentOverNATS(member string, messages int64) bool {
	if a.limits.countNATS(member, (messages+perRequest-1)/perRequest) {
		return true
	}
	a.refused.tell(exchange.AuditEntry{
		Action: exchange.AuditLimited, Member: member, Channel: exchange.ChannelNATS,
		Detail: fmt.Sprintf("more than %.0f messages a second: no log-in for %v", perRequest*a.limits.Requests, natsPause),
	}, time.Now())
	return false
}

// guessWait is how long a failed log-in over NATS waits for its answer where its address has had too
// many.
const guessWait = time.Second

// natsPause is how long a member who has sent too much over NATS is not let in there.
const natsPause = time.Minute

// countNATS counts messages that a member has sent over NATS: false where they are too many.
func (l *limiter) countNATS(member string, messages int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of("nats " + member)
	if s.requests.AllowN(time.Now(), int(messages)) {
		return true
	}
	s.paused = time.Now().Add(natsPause)
	return false
}

// pausing tells whether a member is not let in over NATS for now.
func (l *limiter) pausing(member string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.shares["nats "+member]
	return s != nil && time.Now().Before(s.paused)
}
