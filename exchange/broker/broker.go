// Package broker runs the NATS server that the journal is kept in, embedded in
// this process, and lets members in.
//
// There are two accounts. TOCSIN holds the streams and the register; nobody but
// this process logs in to it. MEMBERS imports from it the three services of a
// pull consumer (its information, its next messages, their acknowledgement)
// and nothing else, and each member's permissions name its own durables and its
// own inbox. They are two because the server does not check the reply subject of a pull:
// in one account a member could have the server write into any stream.
//
// Everything is on disk before it is acknowledged: sync_interval is always.
package broker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"text/template"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tocsin-exchange/tocsin/exchange"
)

const (
	ownAccount     = "TOCSIN"
	membersAccount = "MEMBERS"
	ownUser        = "tocsin-internal"
)

// Login says what a member may do: which durables it may pull from.
type Login struct {
	Member   string
	Durables []string
}

// Options configure a Broker.
type Options struct {
	// Dir is where JetStream keeps its files. The caller holds a lock on it.
	Dir string
	// Listen is the address that members connect to; port 0 picks a free one.
	// "" opens no port at all.
	Listen string
	// CertFile and KeyFile turn on TLS.
	CertFile, KeyFile string
	// Login checks a member id and its token. It is called for each connection.
	Login func(user, token string) (Login, bool)
	Log   *slog.Logger
}

// Broker is a running embedded server with one connection of our own.
type Broker struct {
	srv  *server.Server
	conn *nats.Conn
	log  *serverLog
}

// settings is the server's configuration. Accounts come from text: made by
// hand in Go they differ from what a server reads from a file. The last
// import leads nowhere: it shadows $JS.API.INFO, without which the server would
// give MEMBERS the whole JetStream API of its own, and two answers to each
// request.
var settings = template.Must(template.New("nats").Parse(`
server_name: tocsin
{{if .Listen}}listen: "{{.Listen}}"{{end}}
max_payload: 8MB
write_deadline: "10s"
no_auth_user: ""
jetstream {
  store_dir: {{.Dir}}
  sync_interval: always
  limits {default_max_consumers: -1}
}
authorization {timeout: 30}
{{if .CertFile}}tls { cert_file: {{.CertFile}}, key_file: {{.KeyFile}} }{{end}}
system_account: SYS
accounts {
  SYS {}
  TOCSIN {
    jetstream: enabled
    exports: [
      {service: "$JS.API.CONSUMER.INFO.{{.Stream}}.*", accounts: [MEMBERS]}
      {service: "$JS.API.CONSUMER.MSG.NEXT.{{.Stream}}.*", response_type: stream, accounts: [MEMBERS]}
      {service: "$JS.ACK.{{.Stream}}.*.>", accounts: [MEMBERS]}
      {service: "tocsin.nowhere", accounts: [MEMBERS]}
    ]
  }
  MEMBERS {
    imports: [
      {service: {account: TOCSIN, subject: "$JS.API.CONSUMER.INFO.{{.Stream}}.*"}}
      {service: {account: TOCSIN, subject: "$JS.API.CONSUMER.MSG.NEXT.{{.Stream}}.*"}}
      {service: {account: TOCSIN, subject: "$JS.ACK.{{.Stream}}.*.>"}}
      {service: {account: TOCSIN, subject: "tocsin.nowhere"}, to: "$JS.API.INFO"}
    ]
  }
}
`))

// Start starts the server and connects to it. It returns once JetStream has
// recovered what is on disk.
func Start(o Options) (*Broker, error) {
	listen := o.Listen
	if host, ok := strings.CutSuffix(listen, ":0"); ok {
		listen = host + ":-1" // what the server calls any free port
	}
	var text strings.Builder
	err := settings.Execute(&text, map[string]string{
		"Listen": listen, "Dir": strconv.Quote(o.Dir), "Stream": exchange.BlocksStream,
		"CertFile": quoteOptional(o.CertFile), "KeyFile": quoteOptional(o.KeyFile),
	})
	if err != nil {
		return nil, fmt.Errorf("configure NATS: %w", err)
	}
	opts := &server.Options{NoSigs: true, DontListen: o.Listen == ""}
	if err := opts.ProcessConfigString(text.String()); err != nil {
		return nil, fmt.Errorf("configure NATS: %w", err)
	}
	secret := rand.Text()
	auth := &authenticator{secret: secret, login: o.Login}
	opts.CustomClientAuthentication = auth
	srv, err := server.NewServer(opts)
	if err != nil {
		return nil, fmt.Errorf("start NATS: %w", err)
	}
	auth.srv = srv
	b := &Broker{srv: srv, log: &serverLog{log: o.Log}}
	srv.SetLoggerV2(b.log, false, false, false)
	srv.Start() // reports what goes wrong to the log only
	ready := false
	for range 1200 { // two minutes: a large journal takes its time
		if ready = srv.ReadyForConnections(100 * time.Millisecond); ready || b.log.fatal() != nil {
			break
		}
	}
	if !ready || !srv.JetStreamEnabled() || b.log.fatal() != nil {
		err := errors.Join(errors.New("NATS did not start"), b.log.fatal())
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, err
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.UserInfo(ownUser, secret), nats.Name("tocsin"),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { b.log.Warnf("%v", err) }))
	if err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	return b, nil
}

func quoteOptional(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

// Conn is our own connection, to the account that holds everything.
func (b *Broker) Conn() *nats.Conn { return b.conn }

// Addr is where members connect, or nil.
func (b *Broker) Addr() net.Addr { return b.srv.Addr() }

// Disconnect ends the connections of the members that the function selects, so
// that they log in anew and get their new permissions, or none.
func (b *Broker) Disconnect(changed func(member string) bool) error {
	conns, err := b.srv.Connz(&server.ConnzOptions{Username: true, Account: membersAccount, Limit: 1 << 20})
	if err != nil {
		return fmt.Errorf("list connections: %w", err)
	}
	for _, c := range conns.Conns {
		if changed(c.AuthorizedUser) {
			_ = b.srv.DisconnectClientByID(c.Cid) // it may have gone by itself
		}
	}
	return nil
}

// Close drains our connection and stops the server; what was acknowledged is on
// disk already. Whoever uses Conn has stopped by now.
func (b *Broker) Close() error {
	err := b.conn.Drain()
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("drain NATS: %w", err)
	}
	return nil
}

// authenticator lets in our own connection and the members.
type authenticator struct {
	secret string
	login  func(user, token string) (Login, bool)
	srv    *server.Server
}

// Check implements server.Authentication.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == ownUser {
		return o.Password == a.secret && a.register(c, ownAccount, ownUser, nil)
	}
	if a.login == nil || o.Username == "" || o.Password == "" {
		return false
	}
	l, ok := a.login(o.Username, o.Password)
	if !ok {
		return false
	}
	publish := []string{}
	for _, d := range l.Durables {
		publish = append(publish,
			"$JS.API.CONSUMER.INFO."+exchange.BlocksStream+"."+d,
			"$JS.API.CONSUMER.MSG.NEXT."+exchange.BlocksStream+"."+d,
			"$JS.ACK."+exchange.BlocksStream+"."+d+".>")
	}
	allow := &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: publish},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX." + l.Member + ".>"}},
	}
	if len(publish) == 0 {
		allow.Publish = &server.SubjectPermission{Deny: []string{">"}}
	}
	return a.register(c, membersAccount, l.Member, allow)
}

func (a *authenticator) register(c server.ClientAuthentication, account, user string, p *server.Permissions) bool {
	acc, err := a.srv.LookupAccount(account)
	if err != nil {
		return false
	}
	c.RegisterUser(&server.User{Username: user, Account: acc, Permissions: p})
	return true
}

// serverLog passes the server's messages on and keeps what it calls fatal.
type serverLog struct {
	log *slog.Logger
	mu  sync.Mutex
	err error
}

func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *serverLog) say(level func(string, ...any), format string, v []any) {
	if l.log != nil {
		level("nats", "message", fmt.Sprintf(format, v...))
	}
}

// Fatalf implements server.Logger, and so do those below.
func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
	l.mu.Unlock()
	l.Errorf(format, v...)
}

// Errorf logs an error of the server.
func (l *serverLog) Errorf(format string, v ...any) {
	if l.log != nil {
		l.say(l.log.Error, format, v)
	}
}

// Warnf logs a warning of the server.
func (l *serverLog) Warnf(format string, v ...any) {
	if l.log != nil {
		l.say(l.log.Warn, format, v)
	}
}

// Noticef drops what the server tells about itself.
func (l *serverLog) Noticef(string, ...any) {}

// Debugf drops debugging output.
func (l *serverLog) Debugf(string, ...any) {}

// Tracef drops the protocol trace.
func (l *serverLog) Tracef(string, ...any) {}
