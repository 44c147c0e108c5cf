package broker_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"

	"github.com/tocsin-exchange/tocsin/exchange/broker"
)

// configOf names the variable that makes this test's binary a NATS server with that file.
const configOf = "TOCSIN_TEST_NATS_CONFIG"

// TestServerProcess is such a server where that is set.
func TestServerProcess(t *testing.T) {
	if file := os.Getenv(configOf); file != "" {
		if err := runServer(file); err != nil {
			t.Fatal(err)
		}
	}
}

// runServer runs until standard input ends.
func runServer(file string) error {
	opts, err := natsserver.ProcessConfigFile(file)
	if err != nil {
		return err
	}
	opts.NoSigs = true
	srv, err := natsserver.NewServer(opts)
	if err != nil {
		return err
	}
	srv.Start()
	defer srv.WaitForShutdown()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(20 * time.Second) {
		return fmt.Errorf("not ready")
	}
	_, _ = fmt.Fprintln(os.Stdout, "address:", srv.Addr())
	_, _ = bufio.NewReader(os.Stdin).ReadByte() // the test has ended
	return nil
}

// separate runs a NATS server in a process of its own, with accounts for the members of the
// tests, and connects to it.
func separate(t *testing.T) *server {
	t.Helper()
	dir := t.TempDir()
	keys, err := broker.NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	text, err := broker.Settings{Listen: "127.0.0.1:-1", Dir: filepath.Join(dir, "store"), Keys: keys, Members: []string{"cert-a", "cert-b"}}.Text()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "nats.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], "-test.run=TestServerProcess")
	c.Env = append(os.Environ(), configOf+"="+file)
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = c.Wait() // it ends with its input
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "address: ")
	if err != nil || !ok {
		t.Fatalf("the server says %q (%v) to\n%s", line, err, text)
	}
	b, err := broker.Connect(broker.External{URLs: []string{"nats://" + address}, Keys: keys, Login: login})
	if err != nil {
		t.Fatal(err)
	}
	return &server{b, address}
}
