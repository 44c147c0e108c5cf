package main

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
)

func TestMain(m *testing.M) {
	if os.Getenv("SUBSCRIBER_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestReceivesABundle(t *testing.T) {
	e := exchangetest.Start(t, exchangetest.Register)
	token := e.Token(t, "cert-at")
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe, e.NATSURL(), "cert-at", token, "cert-at")
	c.Env = append(os.Environ(), "SUBSCRIBER_TEST_MAIN=1")
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	}()
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19 00:00:00,AT\n")
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `{"type":"bundle"`) || !strings.Contains(line, "240.0.0.1") {
		t.Errorf("%.200s, %v", line, err)
	}
}
