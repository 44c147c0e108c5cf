package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// What a member adds is counted, so that one cannot fill the disk of all: what it sends in a UTC day, as rows or as
// objects, and what stands of the objects that it has posted. Feeds' hosts do not stand for anybody: they go with time.

// account is what a member has used.
type account struct {
	Day      exchange.Day `json:"day"`
	Bytes    int64        `json:"bytes"`    // sent on that day
	Standing int64        `json:"standing"` // of objects that stand, as they were posted
}

// add adds what was used on a day.
func (a *account) add(o account) {
	if o.Day > a.Day {
		a.Day, a.Bytes = o.Day, 0
	}
	if o.Day == a.Day {
		a.Bytes += o.Bytes
	}
	a.Standing += o.Standing
}

// quotas hold members to what they may add. The journal has the accounts, and is told of what has come every few
// seconds: a crash forgets that much.
type quotas struct {
	change        func(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error
	day, standing int64 // bytes

	mu    sync.Mutex
	kept  map[string]account // as the journal had it last
	since map[string]account // what has come since
}

// removalBytes is what a deletion counts as: what stays of its block is written anew.
const removalBytes = 16 << 10

func quotaKey(member string) string { return "quota." + member }

// may returns a *limited where a member may add nothing more.
func (q *quotas) may(ctx context.Context, member string, now time.Time) error {
	if member == exchange.Admin || member == exchange.Anybody {
		return nil
	}
	q.mu.Lock()
	_, known := q.kept[member]
	q.mu.Unlock()
	if !known {
		if err := q.save(ctx, member); err != nil {
			return err
		}
	}
	q.mu.Lock()
	used := q.kept[member]
	used.add(q.since[member])
	q.mu.Unlock()
	used.add(account{Day: exchange.DayOf(now)})
	const how = "; the operator sets how much that is"
	switch {
	case used.Bytes >= q.day:
		tomorrow := (exchange.DayOf(now) + 1).Start().Sub(now)
		return &limited{fmt.Sprintf("you have sent %d bytes today, and may send %d in a UTC day%s", used.Bytes, q.day, how), tomorrow, http.StatusInsufficientStorage}
	case used.Standing >= q.standing:
		return &limited{fmt.Sprintf("objects of %d bytes that you have posted stand here, and %d may: delete some%s", used.Standing, q.standing, how), time.Hour, http.StatusInsufficientStorage}
	}
	return nil
}

// sent counts what a member has sent, stand what has come to stand or stands no more.
func (q *quotas) sent(member string, bytes int64, now time.Time) {
	q.count(member, account{Day: exchange.DayOf(now), Bytes: bytes})
}

func (q *quotas) stand(member string, bytes int64) { q.count(member, account{Standing: bytes}) }

func (q *quotas) count(member string, o account) {
	if member == exchange.Admin || member == exchange.Anybody { // it was posted by who is a member no more
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.since == nil {
		q.since = make(map[string]account)
	}
	a := q.since[member]
	a.add(o)
	q.since[member] = a
}

// save tells the journal what a member has used since it was told last, and learns what it has.
func (q *quotas) save(ctx context.Context, member string) error {
	q.mu.Lock()
	since := q.since[member]
	delete(q.since, member)
	q.mu.Unlock()
	var now account
	err := q.change(ctx, quotaKey(member), func(old []byte) ([]byte, error) {
		now = account{}
		if old != nil {
			if err := json.Unmarshal(old, &now); err != nil {
				return nil, fmt.Errorf("what %s has used: %w", member, err)
			}
		}
		if since == (account{}) {
			return nil, nil
		}
		now.add(since)
		now.Standing = max(now.Standing, 0)
		return json.Marshal(now)
	})
	if err != nil {
		q.count(member, since)
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.kept == nil {
		q.kept = make(map[string]account)
	}
	q.kept[member] = now
	return nil
}

// SaveUsed tells the journal what members have used. The node calls it every few seconds, and before it stops.
func (a *API) SaveUsed(ctx context.Context) error {
	q := &a.quotas
	q.mu.Lock()
	members := slices.Collect(maps.Keys(q.since))
	q.mu.Unlock()
	var errs []error
	for _, m := range members {
		errs = append(errs, q.save(ctx, m))
	}
	return errors.Join(errs...)
}
