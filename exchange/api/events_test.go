package api

import (
	"testing"
	"time"
)

// The id of an event says where its reader stands, and nothing else is one. Ids of before, which began with where the stream
// had started, go on no later than they would have.
func TestWhereAReaderStands(t *testing.T) {
	at := func(n int64) time.Time {
		if n == 0 {
			return time.Time{}
		}
		return time.UnixMicro(n).UTC()
	}
	for _, c := range []struct {
		id          string
		after, gone int64
	}{
		{"0", 0, 0},
		{"5", 5, 5},
		{"5-7", 5, 7},
		{"0-7", 0, 7},
		{"5-5", 5, 5},
		{"3-5-9", 5, 9}, // of before
	} {
		p, err := parseCursor(c.id)
		if err != nil || !p.after.Equal(at(c.after)) || !p.gone.Equal(at(c.gone)) {
			t.Errorf("%s: %+v, %v", c.id, p, err)
		}
		if again, err := parseCursor(p.String()); err != nil || !again.after.Equal(p.after) {
			t.Errorf("%s is written as %s: %v", c.id, p, err)
		}
	}
	for _, bad := range []string{"", "-", "x", "5-", "-5", "5-3", "5-x", "1-2-3-4", "-1", "9223372036854775808", "5 ", "-1-3", "x-1-3"} {
		if p, err := parseCursor(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
}
