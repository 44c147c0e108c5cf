package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
)

// Address is what address.json holds: where a running exchange is.
type Address struct {
	HTTP string `json:"http"`
	NATS string `json:"nats,omitempty"`
	PID  int    `json:"pid"`
}

// listen opens the HTTP port and says in address.json that the node is there.
func (n *Node) listen() error {
	if n.opt.HTTP == "" {
		return nil
	}
	l, err := net.Listen("tcp", n.opt.HTTP)
	if err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	n.listener = l
	n.http = &http.Server{
		Handler: n.api.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
	}
	n.wg.Go(func() {
		serve := func() error { return n.http.Serve(l) }
		if n.opt.CertFile != "" {
			serve = func() error { return n.http.ServeTLS(l, n.opt.CertFile, n.opt.KeyFile) }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("serve HTTP: %w", err))
		}
	})
	text, err := json.Marshal(Address{HTTP: n.HTTPURL(), NATS: n.NATSURL(), PID: os.Getpid()})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(n.opt.Dir, "address.json"), append(text, '\n'), 0o644)
}

// HTTPURL is where the exchange answers, "" where it does not listen.
func (n *Node) HTTPURL() string {
	if n.listener == nil {
		return ""
	}
	return n.scheme("http") + reachable(n.listener.Addr())
}

// NATSURL is where members connect, "" where they cannot.
func (n *Node) NATSURL() string {
	if n.opt.NATS == "" || n.broker.Addr() == nil {
		return ""
	}
	scheme := "nats://"
	if n.opt.CertFile != "" {
		scheme = "tls://"
	}
	return scheme + reachable(n.broker.Addr())
}

func (n *Node) scheme(s string) string {
	if n.opt.CertFile != "" {
		s += "s"
	}
	return s + "://"
}

// reachable writes an address as one that can be connected to from here.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		if host = "127.0.0.1"; ip.To4() == nil {
			host = "localhost"
		}
	}
	return net.JoinHostPort(host, port)
}

// AdminToken is the operator's credential, as DIR/admin.token holds it.
func (n *Node) AdminToken() string { return n.token }

// ensureAdmin makes the operator's credential on the first start, and anew when
// its file is gone.
func (n *Node) ensureAdmin(ctx context.Context) error {
	path := filepath.Join(n.opt.Dir, "admin.token")
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read the operator's token: %w", err)
	}
	n.token = strings.TrimSpace(string(text))
	for _, t := range n.Register.Current().Tokens[exchange.Admin] {
		if n.token != "" && t.SHA256 == exchange.HashToken(n.token) {
			return nil
		}
	}
	if _, err := n.Register.RevokeTokens(ctx, exchange.Admin, exchange.Admin); err != nil {
		return err
	}
	if n.token, err = n.Register.NewToken(ctx, exchange.Admin, exchange.Admin); err != nil {
		return err
	}
	return writeFile(path, []byte(n.token+"\n"), 0o600)
}

// writeFile replaces a file as a whole.
func writeFile(path string, text []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.WriteFile(tmp, text, mode); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// gauges are the figures that /metrics reads from the node.
func (n *Node) gauges() []api.Gauge {
	return []api.Gauge{
		{Name: "tocsin_view_intake_sequence", Help: "Last intake record that the view holds.", Read: func() float64 { return float64(n.View.Applied()) }},
		{Name: "tocsin_view_blocks_sequence", Help: "Last block that the view holds.", Read: func() float64 { return float64(n.View.AppliedBlocks()) }},
		{Name: "tocsin_chains_broken", Help: "Collections whose chain does not hold; anything but 0 is an alarm.", Read: func() float64 { return float64(len(n.View.Broken())) }},
	}
}

// Rebuild deletes a view, so that the next Open makes it from the journal.
func Rebuild(dir string) error {
	if err := os.RemoveAll(filepath.Join(dir, "view")); err != nil {
		return fmt.Errorf("delete the view: %w", err)
	}
	return nil
}
