package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Address is what address.json holds: where a running exchange is.
type Address struct {
	HTTP string `json:"http"`
	NATS string `json:"nats,omitempty"`
	PID  int    `json:"pid"`
}

// listen opens the HTTP ports.
func (n *Node) listen() error {
	if n.opt.Metrics != "" {
		mux := http.NewServeMux()
		mux.Handle("GET /metrics", n.api.Metrics.Handler())
		if _, err := n.serve(n.opt.Metrics, mux, false); err != nil {
			return fmt.Errorf("listen for metrics: %w", err)
		}
	}
	if n.opt.HTTP == "" {
		return nil
	}
	var err error
	if n.listener, err = n.serve(n.opt.HTTP, n.api.Handler(), n.opt.CertFile != ""); err != nil {
		return fmt.Errorf("listen for HTTP: %w", err)
	}
	return nil
}

// announce says in address.json that the node is there.
func (n *Node) announce() error {
	if n.listener == nil {
		return nil
	}
	text, err := json.Marshal(Address{HTTP: n.HTTPURL(), NATS: n.NATSURL(), PID: os.Getpid()})
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(n.opt.Dir, "address.json"), append(text, '\n'), 0o644)
}

// serve answers on an address until the node is closed.
func (n *Node) serve(address string, h http.Handler, secure bool) (net.Listener, error) {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	ctx, halt := context.WithCancel(context.Background())
	if old := n.halt; old != nil {
		n.halt = func() { old(); halt() }
	} else {
		n.halt = halt
	}
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !n.requests.enter() {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "the exchange is being closed", http.StatusServiceUnavailable)
			return
		}
		defer n.requests.wg.Done()
		h.ServeHTTP(w, r)
	})
	server := &http.Server{
		BaseContext: func(net.Listener) context.Context { return ctx },
		Handler:     counted, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(n.log.Handler(), slog.LevelDebug),
	}
	if secure {
		if server.TLSConfig, err = n.tlsConfig(); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	n.servers = append(n.servers, server)
	n.wg.Go(func() {
		var err error
		if secure {
			err = server.ServeTLS(l, n.opt.CertFile, n.opt.KeyFile)
		} else {
			err = server.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			n.fail(fmt.Errorf("serve HTTP: %w", err))
		}
	})
	return l, nil
}

// requests are those under way, each of which needs the parts that Close closes.
type requests struct {
	mu      sync.Mutex
	closing bool
	wg      sync.WaitGroup
}

// enter counts a request that begins, unless the exchange is being closed.
func (r *requests) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closing {
		r.wg.Add(1)
	}
	return !r.closing
}

// end waits for the requests under way; none begins any more.
func (r *requests) end() {
	r.mu.Lock()
	r.closing = true
	r.mu.Unlock()
	r.wg.Wait()
}

// tlsConfig is what HTTPS is spoken with.
func (n *Node) tlsConfig() (*tls.Config, error) {
	c := taxii.TLS()
	if n.opt.ClientCA == "" {
		return c, nil
	}
	text, err := os.ReadFile(n.opt.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("authorities of client certificates: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("authorities of client certificates: %s holds no PEM certificate", n.opt.ClientCA)
	}
	c.ClientAuth = tls.VerifyClientCertIfGiven
	return c, nil
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
	if len(n.opt.NATSURLs) > 0 {
		return strings.Join(n.opt.NATSURLs, ",")
	}
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
	if _, err := n.Register.RevokeTokens(ctx, exchange.Admin, exchange.Admin, exchange.OperatorToken); err != nil {
		return err
	}
	if n.token, _, err = n.Register.NewToken(ctx, exchange.Admin, exchange.Admin, exchange.Token{Name: exchange.OperatorToken}); err != nil {
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
	list := []api.Gauge{
		{Name: "tocsin_view_intake_sequence", Help: "Last intake record that the view holds.", Read: func() float64 { return float64(n.View.Applied()) }},
		{Name: "tocsin_view_blocks_sequence", Help: "Last block that the view holds.", Read: func() float64 { return float64(n.View.AppliedBlocks()) }},
		{Name: "tocsin_chains_broken", Help: "Collections whose chain does not hold; anything but 0 is an alarm.", Read: func() float64 { return float64(len(n.View.Broken())) }},
		{Name: "tocsin_journal_damage", Help: "What is known of damage to the journal; anything but 0 is an alarm.", Read: func() float64 {
			if all := n.damage.Load(); all != nil {
				return float64(len(*all))
			}
			return 0
		}},
		{Name: "tocsin_journal_replaced_messages", Help: "Messages of blocks that are gone, as what stays of them has taken their place.", Read: func() float64 { return float64(n.Journal.Replaced()) }},
	}
	list = append(list,
		api.Gauge{Name: "tocsin_clock_doubted", Help: "1 where the machine's clock jumped ahead, and nothing is deleted for its age; anything but 0 is an alarm.", Read: func() float64 {
			if n.clock.Doubt() {
				return 1
			}
			return 0
		}},
		api.Gauge{Name: "tocsin_clock_jumps", Help: "How often the machine's clock has jumped since the start.", Read: func() float64 { return float64(n.clock.Jumps()) }},
	)
	if n.archiver != nil {
		list = append(list, api.Gauge{Name: "tocsin_archive_lag_seconds", Help: "For how long not everything has been in the archive.", Read: func() float64 { return n.archiver.Lag().Seconds() }})
	}
	return list
}
