package api

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// However many are refused, the audit has a bounded number of entries a minute, and none is left uncounted.
func TestRefusalsAreCounted(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)
	failed := func(from, member string) exchange.AuditEntry {
		return exchange.AuditEntry{Action: exchange.AuditFailedLogin, From: from, Member: member}
	}
	for name, c := range map[string]struct {
		entries []exchange.AuditEntry
		want    map[string]int64 // action, network and member of entries that stand for more than one
		single  int
	}{
		"few": {repeated(refusedEach, failed("192.0.2.1", "a")), nil, refusedEach},
		"many, under several names": {
			append(repeated(500, failed("192.0.2.1", "a")), repeated(500, failed("192.0.2.1", "b"))...),
			map[string]int64{"failed-login 192.0.2.1 ": 980},
			refusedEach,
		},
		"addresses of one network": {
			append(repeated(15, failed("2001:db8::1", "")), repeated(15, failed("2001:db8::2", ""))...),
			map[string]int64{"failed-login 2001:db8::/64 ": 10},
			refusedEach,
		},
		"two networks": {append(repeated(21, failed("192.0.2.1", "")), repeated(21, failed("192.0.2.2", ""))...), map[string]int64{
			"failed-login 192.0.2.1 ": 1, "failed-login 192.0.2.2 ": 1,
		}, 2 * refusedEach},
		"a member above its limits": {
			repeated(100, exchange.AuditEntry{Action: exchange.AuditLimited, From: "192.0.2.1", Member: "cert-at"}),
			map[string]int64{"limited 192.0.2.1 cert-at": 80},
			refusedEach,
		},
		"more networks than are told apart": {networks(refusedFrom + 300), map[string]int64{"failed-login  ": 300}, refusedFrom},
	} {
		single, more := 0, map[string]int64{}
		l := refusals{audit: func(e exchange.AuditEntry) {
			if e.Times == 0 {
				single++
				return
			}
			more[fmt.Sprintf("%s %s %s", e.Action, e.From, e.Member)] += e.Times
		}}
		for i, e := range c.entries {
			l.tell(e, start.Add(time.Duration(i)*time.Microsecond))
		}
		if len(more) != 0 {
			t.Errorf("%s: counted before the minute is over: %v", name, more)
		}
		l.flush(start.Add(59 * time.Second))
		if len(more) != 0 {
			t.Errorf("%s: told within the minute: %v", name, more)
		}
		l.flush(start.Add(61 * time.Second))
		if c.want == nil {
			c.want = map[string]int64{}
		}
		if d := cmp.Diff(c.want, more); d != "" || single != c.single {
			t.Errorf("%s: %d one by one, want %d; %s", name, single, c.single, d)
		}
		l.tell(c.entries[0], start.Add(62*time.Second))
		if single != c.single+1 {
			t.Errorf("%s: the next minute does not begin anew", name)
		}
	}
}

func repeated(n int, e exchange.AuditEntry) (list []exchange.AuditEntry) {
	for range n {
		list = append(list, e)
	}
	return list
}

func networks(n int) (list []exchange.AuditEntry) {
	for i := range n {
		list = append(list, exchange.AuditEntry{Action: exchange.AuditFailedLogin, From: fmt.Sprintf("10.%d.%d.1", i/256, i%256)})
	}
	return list
}
