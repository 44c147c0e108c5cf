package journal_test

import (
	"testing"
	"time"
)

// Statuses go after two days and receipts after ninety, by the time that is said and not by the broker's; parts and all.
func TestWhatIsTooOldExpires(t *testing.T) {
	j := open(t, start(t))
	large := make([]byte, 2<<20) // in parts
	for i := range large {
		large[i] = byte(i * i >> 7)
	}
	set := func() {
		t.Helper()
		for _, err := range []error{j.SetStatus(t.Context(), "a", []byte("status")), j.SetStatus(t.Context(), "b", large), j.SetReceipt(t.Context(), "c", []byte("receipt"))} {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	has := func() (n int) {
		t.Helper()
		for _, id := range []string{"a", "b"} {
			if _, found, err := j.Status(t.Context(), id); err != nil {
				t.Fatal(err)
			} else if found {
				n++
			}
		}
		if _, found, err := j.Receipt(t.Context(), "c"); err != nil {
			t.Fatal(err)
		} else if found {
			n += 10
		}
		return n
	}
	set()
	for _, x := range []struct {
		after time.Duration
		want  int
	}{{0, 12}, {47 * time.Hour, 12}, {49 * time.Hour, 10}, {89 * 24 * time.Hour, 10}, {91 * 24 * time.Hour, 0}} {
		if err := j.Expire(t.Context(), time.Now().Add(x.after)); err != nil {
			t.Fatal(err)
		}
		if got := has(); got != x.want {
			t.Errorf("after %v: %d, and not %d", x.after, got, x.want)
		}
	}
	set() // and they can come again
	if got := has(); got != 12 {
		t.Error(got)
	}
}
