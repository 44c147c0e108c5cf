package broker

import (
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// embedded is the server in this process.
type embedded struct {
	srv  *server.Server
	auth *authenticator
	log  *serverLog
}

func (e *embedded) connections() (list []Connection, err error) {
	conns, err := e.srv.Connz(&server.ConnzOptions{Username: true, State: server.ConnAll, Limit: maxConnections})
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	for _, c := range conns.Conns {
		if member, ok := strings.CutPrefix(c.Account, memberAccount("")); ok {
			list = append(list, Connection{Member: member, Sent: c.InMsgs, Closed: c.Stop != nil, id: c.Cid})
		}
	}
	return list, nil
}

func (e *embedded) end(c *Connection) error {
	_ = e.srv.DisconnectClientByID(c.id) // it may have gone by itself
	return nil
}

// authenticator lets in our own connection and the members.
type authenticator struct {
	secret string
	login  LoginFunc
	srv    *server.Server
	mu     sync.Mutex // one account is made at a time
}

// Check implements server.Authentication.
func (a *authenticator) Check(c server.ClientAuthentication) bool {
	o := c.GetOpts()
	if o.Username == ownUser {
		acc, err := a.srv.LookupAccount(ownAccount)
		if err != nil || o.Password != a.secret {
			return false
		}
		c.RegisterUser(&server.User{Username: ownUser, Account: acc})
		return true
	}
	if a.login == nil || o.Username == "" || o.Password == "" {
		return false
	}
	from := ""
	if at := c.RemoteAddress(); at != nil {
		from, _, _ = net.SplitHostPort(at.String())
	}
	l, ok := a.login(o.Username, o.Password, from)
	if !ok {
		return false
	}
	acc, err := a.account(l.Member)
	if err != nil {
		return false
	}
	publish, subscribe := permissions(&l)
	allow := &server.Permissions{
		Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: subscribe},
	}
	if len(publish) == 0 {
		allow.Publish = &server.SubjectPermission{Deny: []string{">"}}
	}
	c.RegisterUser(&server.User{Username: l.Member, Account: acc, Permissions: allow})
	return true
}

// account returns a member's account, as Settings would have it.
func (a *authenticator) account(member string) (*server.Account, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	own, err := a.srv.LookupAccount(ownAccount)
	if err != nil {
		return nil, err
	}
	acc, isNew := a.srv.LookupOrRegisterAccount(memberAccount(member))
	if !isNew {
		return acc, nil
	}
	for _, subject := range services {
		if err := acc.AddServiceImport(own, subject, subject); err != nil {
			return nil, fmt.Errorf("account of %s: %w", member, err)
		}
	}
	if err := acc.AddServiceImport(own, "$JS.API.INFO", "tocsin.nowhere"); err != nil {
		return nil, fmt.Errorf("account of %s: %w", member, err)
	}
	return acc, nil
}
