//go:build linux

package exchangetest_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/faults/disk"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// failing is an exchange on a disk that can be made to fail.
type failing struct {
	*exchangetest.Exchange
	t *testing.T
	d *disk.Disk
	m member
}

func newFailing(t *testing.T) *failing {
	t.Helper()
	d, err := disk.Mount(t.TempDir(), t.TempDir())
	if err != nil {
		t.Skip("no file system can be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	f := &failing{t: t, d: d}
	f.open()
	f.Apply(t, writable)
	f.m = as(t, f.Exchange, "cert-at")
	return f
}

func (f *failing) open() {
	f.t.Helper()
	f.Exchange = exchangetest.OpenWith(f.t, node.Options{Dir: f.d.Dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0"})
}

// publish publishes a host.
func (f *failing) publish(n int) (code int, took time.Duration, text string) {
	f.t.Helper()
	began := time.Now()
	code, _, text = f.Do(f.t, "POST", "/v1/feeds/rustock/events", exchange.Admin, f.AdminToken(), hosts(n, 1, ""), "Content-Type", "text/csv")
	return code, time.Since(began), text
}

// post posts an object.
func (f *failing) post(n int) (code int, took time.Duration) {
	f.t.Helper()
	began := time.Now()
	code, _, _ = f.Do(f.t, "POST", boardObjects, f.m.id, f.m.token, envelope(sample(n, version1, "")), "Content-Type", taxii.MediaType, "Accept", taxii.MediaType)
	return code, time.Since(began)
}

// On a disk that fails, or that nobody may write, requests that would write are refused soon, what is there can be read, and it is
// said so; once it is well again the exchange wants to be opened anew, and has all that it acknowledged.
func TestADiskThatFailsAndIsWellAgain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ENOSPC} {
		t.Run(errno.Error(), func(t *testing.T) {
			f := newFailing(t)
			for n := range 20 {
				if code, _, text := f.publish(n); code != http.StatusOK {
					t.Fatal(code, text)
				}
			}
			if code, _ := f.post(1); code != http.StatusAccepted {
				t.Fatal(code)
			}
			f.Settled(t)
			had := everything(t, f.Exchange)
			want := http.StatusServiceUnavailable
			if errors.Is(errno, syscall.ENOSPC) {
				want = http.StatusInsufficientStorage
			}
			f.d.Fail(errno)
			for n := range 10 {
				if code, took, text := f.publish(100 + n); code != want && n > 0 || code == http.StatusOK || took > 5*time.Second {
					t.Errorf("publishing: %d after %v: %s", code, took, text)
				}
				if code, took := f.post(100 + n); code != want && n > 0 || code == http.StatusAccepted || took > 5*time.Second {
					t.Errorf("posting: %d after %v", code, took)
				}
			}
			differ(t, everything(t, f.Exchange), had)
			if code, _, text := f.Do(t, "GET", "/readyz", "", "", ""); code != http.StatusOK || !strings.Contains(text, "takes_nothing") {
				t.Error(code, text)
			}
			f.d.Fail(0)
			select {
			case <-f.Maintenance():
			case <-time.After(30 * time.Second):
				t.Fatal("it does not notice that the disk is well again")
			}
			f.Stop(t)
			f.open()
			now := everything(t, f.Exchange)
			for c := range had {
				for _, o := range had[c] {
					if !slices.Contains(now[c], o) {
						t.Errorf("collection %s lacks %.90s", c, o)
					}
				}
			}
			if code, _, text := f.publish(200); code != http.StatusOK {
				t.Error(code, text)
			}
			if code, _ := f.post(200); code != http.StatusAccepted {
				t.Error(code)
			}
			if code, _, text := f.Do(t, "GET", "/readyz", "", "", ""); code != http.StatusOK || strings.Contains(text, "takes_nothing") {
				t.Error(code, text)
			}
		})
	}
}

// A disk that takes very long is waited for: nothing is taken in meanwhile, and then it goes on by itself.
func TestADiskThatTakesLong(t *testing.T) {
	f := newFailing(t)
	if code, _, text := f.publish(1); code != http.StatusOK {
		t.Fatal(code, text)
	}
	f.Settled(t)
	f.d.Slow(7 * time.Second)
	<-time.After(8 * time.Second)
	if code, took, text := f.publish(2); code != http.StatusServiceUnavailable || took > time.Second {
		t.Error(code, took, text)
	}
	if got := len(everything(t, f.Exchange)["cert-pl"]); got == 0 {
		t.Error("what is there cannot be read")
	}
	f.d.Slow(0)
	for deadline := time.Now().Add(30 * time.Second); ; <-time.After(100 * time.Millisecond) {
		if code, _, text := f.publish(3); code == http.StatusOK {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(code, text)
		}
	}
}
