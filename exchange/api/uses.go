package api

import (
	"context"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// usedEvery is how exactly the last use of a credential is kept.
const usedEvery = time.Hour

// uses keep when credentials were last used.
type uses struct {
	a    *API
	mu   sync.Mutex
	seen map[string]time.Time // by member and credential
}

func useKey(member, credential string) string { return member + "." + credential }

// note remembers that a credential was used. Where that cannot be written it is tried again with
// the next use.
func (u *uses) note(ctx context.Context, who *exchange.Caller) {
	if who.Credential == "" {
		return
	}
	key, now := useKey(who.Member, who.Credential), time.Now()
	u.mu.Lock()
	due := now.Sub(u.seen[key]) >= usedEvery
	if due {
		if u.seen == nil {
			u.seen = make(map[string]time.Time)
		}
		u.seen[key] = now
	}
	u.mu.Unlock()
	if !due {
		return
	}
	if err := u.a.Journal.SetUsed(ctx, key, now); err != nil {
		u.mu.Lock()
		delete(u.seen, key)
		u.mu.Unlock()
	}
}

// last is when a credential was last used, zero where that is not known.
func (u *uses) last(ctx context.Context, member, credential string) (time.Time, error) {
	return u.a.Journal.Used(ctx, useKey(member, credential))
}
