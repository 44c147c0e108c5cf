package main

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// terminate is kill -TERM, and what comes of it.
func (p *process) terminate(t *testing.T) (code int, after time.Duration) {
	t.Helper()
	began := time.Now()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // its exit code says it
	return p.cmd.ProcessState.ExitCode(), time.Since(began)
}

func TestAHangUpDoesNotEndAnExchange(t *testing.T) {
	t.Parallel()
	p := startProcess(t, initDir(t))
	for range 3 {
		if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := p.client(t).Publish(t.Context(), strings.NewReader(logRows(10)), apiclient.Publication{Feed: "rustock"}); err != nil || r.Events != 10 {
		t.Fatal(r, err)
	}
	if code, after := p.terminate(t); code != 0 {
		t.Errorf("exit %d after %v", code, after)
	}
}

// On a disk without any room left, publishing is refused at once, the exchange ends when it is told to,
// and goes on once there is room.
func TestAFullDisk(t *testing.T) {
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a small file system cannot be made here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
	dir := filepath.Join(disk, "data")
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	e.Stop(t)
	p := startProcess(t, dir)
	publish := func(n int) (*exchange.Receipt, error) {
		return p.client(t).Publish(t.Context(), strings.NewReader(logRows(n)), apiclient.Publication{Feed: "rustock"})
	}
	if r, err := publish(100); err != nil || r.Events != 100 {
		t.Fatal(r, err)
	}
	fill := filepath.Join(disk, "fill")
	if err := os.WriteFile(fill, make([]byte, 64<<20), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	began := time.Now()
	if _, err := publish(200); err == nil || !strings.Contains(err.Error(), "507") || !strings.Contains(err.Error(), "disk is full") || time.Since(began) > 8*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if code, after := p.terminate(t); after > 30*time.Second {
		t.Errorf("exit %d after %v", code, after)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	p = startProcess(t, dir)
	if r, err := publish(200); err != nil || r.Events+r.Duplicates != 200 || r.Duplicates != 100 {
		t.Fatalf("%+v %v", r, err)
	}
	if code, after := p.terminate(t); code != 0 {
		t.Errorf("exit %d after %v", code, after)
	}
}

// A disk that a member, or a publisher, has filled up to what is kept free: writing is refused with the reason, all else
// can be read, writing goes on by itself once there is room, and the exchange ends when it is told to, full or not.
func TestADiskThatIsFilledAndEnlarged(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"a member", "a publisher"} {
		disk := t.TempDir()
		if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=128m"); err != nil {
			t.Skipf("a small file system cannot be made here: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(disk, syscall.MNT_DETACH) })
		dir := filepath.Join(disk, "data")
		e := exchangetest.Open(t, dir)
		e.Apply(t, exchangetest.Register+"  - {id: board, ceiling: amber, readers: all, writers: all}\n")
		token := e.Token(t, "cert-at")
		e.Stop(t)
		p := startProcess(t, dir)
		server := p.client(t).Server
		ask := func(method, path, body string) (int, string) {
			t.Helper()
			code, _, text := exchangetest.Do(t, method, server+path, "cert-at", token, body, "Content-Type", taxii.MediaType, "Accept", taxii.MediaType)
			return code, text
		}
		n := 0
		write := func() (refused string) {
			n++
			if by == "a publisher" {
				rows := strings.ReplaceAll(logRows(20_000), ",240.", fmt.Sprintf(",%d.", 241+n%14))
				if _, err := p.client(t).Publish(t.Context(), strings.NewReader(rows), apiclient.Publication{Feed: "rustock"}); err != nil {
					return err.Error()
				}
				return ""
			}
			noise := make([]byte, 1<<20) // which does not compress
			_, _ = rand.Read(noise)
			id := fmt.Sprintf("note--%08d-0000-4000-8000-000000000000", n)
			code, text := ask("POST", "/exchange/collections/board/objects/", fmt.Sprintf(`{"objects":[{"type":"note","spec_version":"2.1","id":%q,"created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z","content":"%x","object_refs":[%q]}]}`, id, noise, id))
			if code == http.StatusAccepted {
				return ""
			}
			return fmt.Sprint(code, " ", text)
		}
		refused := ""
		for deadline := time.Now().Add(3 * time.Minute); refused == "" && time.Now().Before(deadline); {
			refused = write()
		}
		if !strings.Contains(refused, "507") || !strings.Contains(refused, "disk is full") {
			t.Fatalf("%s is refused with %q", by, refused)
		}
		for _, path := range []string{"/exchange/collections/board/objects/?limit=1", "/exchange/collections/cert-at/manifest/", "/taxii2/"} {
			if code, text := ask("GET", path, ""); code != http.StatusOK {
				t.Errorf("%s cannot be read: %d %.200s", path, code, text)
			}
		}
		if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=512m"); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); refused != "" && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
			refused = write()
		}
		if refused != "" {
			t.Errorf("there is room again, and %s is refused: %s", by, refused)
		}
		if err := os.WriteFile(filepath.Join(disk, "fill"), make([]byte, 600<<20), 0o600); err == nil {
			t.Fatal("the disk is not full")
		}
		if code, after := p.terminate(t); after > 30*time.Second {
			t.Errorf("on a full disk it ends with %d after %v", code, after)
		}
	}
}
