package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
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
