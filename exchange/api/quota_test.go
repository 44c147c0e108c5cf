package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
)

// What a member has used of a day and of the disk decides, over starts and on several nodes; the next day begins anew.
func TestQuotas(t *testing.T) {
	t.Parallel()
	journal := make(map[string][]byte)
	broken := error(nil)
	change := func(_ context.Context, key string, change func([]byte) ([]byte, error)) error {
		if broken != nil {
			return broken
		}
		text, err := change(journal[key])
		if err == nil && text != nil {
			journal[key] = text
		}
		return err
	}
	node := func() *quotas { return &quotas{change: change, day: 100, standing: 50} }
	now := time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	a, b := node(), node()
	may := func(q *quotas, member string, at time.Time, want string) {
		t.Helper()
		err := q.may(t.Context(), member, at)
		var much *limited
		switch {
		case want == "" && err != nil, want != "" && (!errors.As(err, &much) || !strings.Contains(err.Error(), want) || much.status != http.StatusInsufficientStorage):
			t.Errorf("%s at %v: %v, want %q", member, at, err, want)
		}
	}
	save := func(q *quotas) {
		t.Helper()
		if err := q.save(t.Context(), "m"); err != nil {
			t.Fatal(err)
		}
	}
	may(a, "m", now, "")
	a.sent("m", 60, now)
	may(a, "m", now, "")
	b.sent("m", 39, now)
	save(b)
	may(a, "m", now, "") // it does not know of it yet
	save(a)
	may(a, "m", now, "")
	a.sent("m", 1, now)
	may(a, "m", now, "you have sent 100 bytes today")
	may(a, "other", now, "")
	may(a, "m", now.Add(2*time.Hour), "")
	save(a)
	may(node(), "m", now, "you have sent 100 bytes today") // as after a start
	a.stand("m", 60)
	may(a, "m", now.Add(2*time.Hour), "objects of 60 bytes that you have posted stand here")
	save(a)
	save(b)
	b.stand("m", -20)
	may(b, "m", now.Add(2*time.Hour), "")
	save(b)
	may(node(), "m", now.Add(2*time.Hour), "")
	// What is said to be gone twice is gone once.
	b.stand("m", -1000)
	save(b)
	b.stand("m", 49)
	may(b, "m", now.Add(2*time.Hour), "")
	b.stand("m", 1)
	may(b, "m", now.Add(2*time.Hour), "objects of 50 bytes")
	// Nothing is forgotten where it cannot be written.
	broken = errors.New("no disk")
	if err := b.save(t.Context(), "m"); err == nil {
		t.Error("it is said to be written")
	}
	broken = nil
	save(b)
	may(node(), "m", now.Add(2*time.Hour), "objects of 50 bytes")
	for _, who := range []string{"admin", ""} { // the operator, and who is nobody and may add nothing anyhow
		a.sent(who, 1000, now)
		a.stand(who, -1000)
		may(a, who, now, "")
		if _, counted := a.since[who]; counted {
			t.Errorf("%q is counted, and has no key", who)
		}
	}
	journal[quotaKey("n")] = []byte("x")
	if err := a.may(t.Context(), "n", now); err == nil {
		t.Error("what cannot be read is taken for nothing")
	}
}
