package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/node"
)

func open(t *testing.T, dir string) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), node.Options{Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func stop(t *testing.T, n *node.Node) {
	t.Helper()
	if err := n.Close(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// A data directory is one process's at a time, also for what is done to an exchange that does not run.
func TestADataDirectoryIsUsedOnce(t *testing.T) {
	dir := t.TempDir()
	nothing := func(node.Journal) error { return nil }
	uses := map[string]func() error{
		"open": func() error {
			n, err := node.Open(t.Context(), node.Options{Dir: dir})
			if err == nil {
				stop(t, n)
			}
			return err
		},
		"rebuild": func() error { return node.Rebuild(t.Context(), dir) },
		"verify":  func() error { return node.WithJournal(t.Context(), dir, nothing) },
	}
	for _, what := range []string{"rebuild", "verify"} {
		if err := uses[what](); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s of no exchange: %v", what, err)
		}
	}
	n := open(t, dir)
	address := filepath.Join(dir, "address.json")
	if _, err := os.Stat(address); err != nil {
		t.Error("it does not say where it is:", err)
	}
	for what, use := range uses {
		if err := use(); !errors.Is(err, node.ErrLocked) {
			t.Errorf("%s beside one that runs: %v", what, err)
		}
	}
	stop(t, n)
	if _, err := os.Stat(address); !errors.Is(err, os.ErrNotExist) {
		t.Error("it says where it was:", err)
	}
	for what, use := range uses {
		if err := use(); err != nil {
			t.Errorf("%s behind it: %v", what, err)
		}
	}
}
