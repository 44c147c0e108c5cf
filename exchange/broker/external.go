package broker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Keys are how we log in to a server of its own, and sign what we answer to its auth
// callout. They are as secret as what the server holds.
type Keys struct {
	Password       string `json:"password"`
	SystemPassword string `json:"system_password"`
	// IssuerSeed is an nkey of the kind account.
	IssuerSeed string `json:"issuer_seed"`
}

// NewKeys makes keys.
func NewKeys() (*Keys, error) {
	pair, err := nkeys.CreateAccount()
	if err != nil {
		return nil, fmt.Errorf("make keys for NATS: %w", err)
	}
	seed, err := pair.Seed()
	if err != nil {
		return nil, fmt.Errorf("make keys for NATS: %w", err)
	}
	return &Keys{Password: rand.Text(), SystemPassword: rand.Text(), IssuerSeed: string(seed)}, nil
}

// pair is the key that signs.
func (k *Keys) pair() (nkeys.KeyPair, error) {
	pair, err := nkeys.FromSeed([]byte(k.IssuerSeed))
	if err != nil {
		return nil, fmt.Errorf("keys for NATS: issuer_seed: %w", err)
	}
	return pair, nil
}

func (k *Keys) issuer() (string, error) {
	pair, err := k.pair()
	if err != nil {
		return "", err
	}
	return pair.PublicKey()
}

// External configures a Broker on a server of its own, which runs with the text of Settings.
type External struct {
	URLs  []string
	Keys  *Keys
	Login LoginFunc
	Log   *slog.Logger
}

// external is a server that is not ours.
type external struct {
	system *nats.Conn
	pair   nkeys.KeyPair
	login  LoginFunc
	log    *slog.Logger
}

// callout is where the server asks who may come in.
const callout = "$SYS.REQ.USER.AUTH"

// Connect connects to a NATS server that runs by itself and answers its auth callout.
func Connect(o External) (*Broker, error) {
	pair, err := o.Keys.pair()
	if err != nil {
		return nil, err
	}
	e := &external{pair: pair, login: o.Login, log: o.Log}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	options := func(user, password string) []nats.Option {
		return []nats.Option{
			nats.UserInfo(user, password), nats.Name("tocsin"), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { e.log.Warn("nats", "message", err.Error()) }),
		}
	}
	urls := strings.Join(o.URLs, ",")
	b := &Broker{external: e, serves: e}
	if b.conn, err = nats.Connect(urls, options(ownUser, o.Keys.Password)...); err != nil {
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	if e.system, err = nats.Connect(urls, options(systemUser, o.Keys.SystemPassword)...); err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("connect to NATS: %w", err)
	}
	// Log-ins may wait for the exchange to open: each by itself.
	if _, err := b.conn.QueueSubscribe(callout, "tocsin", func(m *nats.Msg) { go e.answer(m) }); err != nil {
		e.close()
		b.conn.Close()
		return nil, fmt.Errorf("answer the auth callout of NATS: %w", err)
	}
	return b, b.conn.Flush()
}

func (e *external) close() { e.system.Close() }

// answer lets a member in, or does not.
func (e *external) answer(m *nats.Msg) {
	req, err := jwt.DecodeAuthorizationRequestClaims(string(m.Data))
	if err != nil {
		e.log.Error("an auth callout of NATS cannot be read", "error", err)
		return
	}
	res := jwt.NewAuthorizationResponseClaims(req.UserNkey)
	res.Audience = req.Server.ID
	o := req.ConnectOptions
	l, ok := Login{}, false
	if o.Username != "" && o.Password != "" && o.Username != ownUser && o.Username != systemUser && e.login != nil {
		l, ok = e.login(o.Username, o.Password, req.ClientInformation.Host)
	}
	if ok {
		user := jwt.NewUserClaims(req.UserNkey)
		user.Name, user.Audience = l.Member, memberAccount(l.Member)
		publish, subscribe := permissions(&l)
		user.Permissions.Pub.Allow.Add(publish...)
		user.Permissions.Sub.Allow.Add(subscribe...)
		if len(publish) == 0 {
			user.Permissions.Pub.Deny.Add(">")
		}
		res.Jwt, err = user.Encode(e.pair)
	} else {
		res.Error = "wrong member id or token"
	}
	if err == nil {
		var text string
		if text, err = res.Encode(e.pair); err == nil {
			err = m.Respond([]byte(text))
		}
	}
	if err != nil {
		e.log.Error("an auth callout of NATS cannot be answered", "error", err)
	}
}

// connz is what is read of the servers' lists of connections.
type connz struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Conns []struct {
			Cid     uint64 `json:"cid"`
			Account string `json:"account"`
			InMsgs  int64  `json:"in_msgs"`
			Stop    string `json:"stop"`
		} `json:"connections"`
	} `json:"data"`
}

// answerWait is how long the servers of a cluster have to answer.
const answerWait = time.Second

func (e *external) connections() (list []Connection, err error) {
	inbox := e.system.NewRespInbox()
	sub, err := e.system.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := e.system.PublishRequest("$SYS.REQ.SERVER.PING.CONNZ", inbox, fmt.Appendf(nil, `{"auth":true,"state":2,"limit":%d}`, maxConnections)); err != nil {
		return nil, fmt.Errorf("list connections: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerWait)
	defer cancel()
	for servers := 0; ; servers++ {
		m, err := sub.NextMsgWithContext(ctx)
		if errors.Is(err, context.DeadlineExceeded) && servers > 0 {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		var of connz
		if err := json.Unmarshal(m.Data, &of); err != nil {
			return nil, fmt.Errorf("list connections: %w", err)
		}
		for _, c := range of.Data.Conns {
			if member, ok := strings.CutPrefix(c.Account, memberAccount("")); ok {
				list = append(list, Connection{Member: member, Sent: c.InMsgs, Closed: c.Stop != "", id: c.Cid, server: of.Server.ID})
			}
		}
	}
}

func (e *external) end(c *Connection) error {
	// It does so only for who wants an answer, which says nothing.
	if _, err := e.system.Request("$SYS.REQ.SERVER."+c.server+".KICK", fmt.Appendf(nil, `{"cid":%d}`, c.id), answerWait); err != nil {
		return fmt.Errorf("end a connection: %w", err)
	}
	return nil
}
