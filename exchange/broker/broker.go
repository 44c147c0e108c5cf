// Package broker gives the NATS that the journal is kept in, embedded in this
// process or a server of its own, and lets members in.
//
// The account TOCSIN holds the streams and the register; nobody but this process logs
// in to it. Each member has an account of its own, which imports from it the three services
// of a pull consumer (its information, its next messages, their acknowledgement)
// and nothing else, and its permissions name its own durables and its own inbox. They
// are accounts because the server does not check the reply subject of a pull:
// in one with us a member could have the server write into any stream, in one with others
// into their inboxes.
//
// The embedded server asks Login by itself; another one asks by its auth callout, and
// everything else is the same: both run on the text of Settings.
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
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

const (
	ownAccount = "TOCSIN"
	ownUser    = "tocsin-internal"
	systemUser = "tocsin-system"
)

// Login says what a member may do: which consumers it may pull from.
type Login struct {
	Member    string
	Consumers []string
}

// LoginFunc checks a member id and its token, which come from an address: an IP, "" where that is
// not known.
type LoginFunc func(user, token, from string) (l Login, ok bool)

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
	Login LoginFunc
	Log   *slog.Logger
}

// Broker is a NATS server, with one connection of our own to it.
type Broker struct {
	conn *nats.Conn
	// One of the two is set.
	embedded *embedded
	external *external
	serves   interface {
		connections() ([]Connection, error)
		end(c *Connection) error
	}
}

// Connection is one of a member's, or was lately: Closed. Sent is how many messages the server has had from it.
type Connection struct {
	Member string
	Sent   int64
	Closed bool
	id     uint64
	server string
}

// ID tells connections apart, Server the servers that they are to; "" is the embedded one.
func (c *Connection) ID() string { return c.server + " " + strconv.FormatUint(c.id, 10) }

// Server is the server's id.
func (c *Connection) Server() string { return c.server }

// maxConnections is how many of them are listed.
const maxConnections = 1 << 20

// memberAccount names the account of a member.
func memberAccount(member string) string { return "member-" + member }

// Start starts the server and connects to it. It returns once JetStream has
// recovered what is on disk.
func Start(o Options) (*Broker, error) {
	listen := o.Listen
	if host, ok := strings.CutSuffix(listen, ":0"); ok {
		listen = host + ":-1" // what the server calls any free port
	}
	text, err := Settings{Listen: listen, Dir: o.Dir, CertFile: o.CertFile, KeyFile: o.KeyFile}.Text()
	if err != nil {
		return nil, err
	}
	opts := &server.Options{NoSigs: true, DontListen: o.Listen == ""}
	if err := opts.ProcessConfigString(text); err != nil {
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
	e := &embedded{srv: srv, auth: auth, log: &serverLog{log: o.Log}}
	b := &Broker{embedded: e, serves: e}
	srv.SetLoggerV2(e.log, false, false, false)
	srv.Start() // reports what goes wrong to the log only
	ready := false
	for range 1200 { // two minutes: a large journal takes its time
		if ready = srv.ReadyForConnections(100 * time.Millisecond); ready || e.log.fatal() != nil {
			break
		}
	}
	if !ready || !srv.JetStreamEnabled() || e.log.fatal() != nil {
		err := errors.Join(errors.New("NATS did not start"), e.log.fatal())
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, err
	}
	b.conn, err = nats.Connect("", nats.InProcessServer(srv), nats.UserInfo(ownUser, secret), nats.Name("tocsin"),
		nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { e.log.Warnf("%v", err) }))
	if err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, fmt.Errorf("connect to the embedded NATS: %w", err)
	}
	return b, nil
}

// Conn is our own connection, to the account that holds everything.
func (b *Broker) Conn() *nats.Conn { return b.conn }

// Addr is where members connect, or nil where that is not known here.
func (b *Broker) Addr() net.Addr {
	if b.embedded == nil {
		return nil
	}
	return b.embedded.srv.Addr()
}

// Connections lists those of all members: all that are open, and the last ten thousand that are not. A server that does
// not answer is left out.
func (b *Broker) Connections() ([]Connection, error) { return b.serves.connections() }

// Disconnect ends the connections of the members that the function selects, so
// that they log in anew and get their new permissions, or none. It is asked once about each.
func (b *Broker) Disconnect(changed func(member string) bool) error {
	list, err := b.serves.connections()
	asked := make(map[string]bool)
	for i := range list {
		c := &list[i]
		if c.Closed {
			continue
		}
		if _, known := asked[c.Member]; !known {
			asked[c.Member] = changed(c.Member)
		}
		if asked[c.Member] {
			err = errors.Join(err, b.serves.end(c))
		}
	}
	return err
}

// Close drains our connection and stops the server, if it is ours; what was acknowledged is on
// disk already. Whoever uses Conn has stopped by now.
func (b *Broker) Close() error {
	if b.external != nil {
		b.external.close()
	}
	err := b.conn.Drain()
	if b.embedded != nil {
		b.embedded.srv.Shutdown()
		b.embedded.srv.WaitForShutdown()
		b.embedded.auth.login = nil // what answers it goes now: timers of the server keep that for two minutes
	}
	if err != nil && !errors.Is(err, nats.ErrConnectionClosed) {
		return fmt.Errorf("drain NATS: %w", err)
	}
	return nil
}
