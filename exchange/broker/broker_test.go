package broker_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
)

// server is a broker and where members connect to it.
type server struct {
	*broker.Broker
	address string
}

func login(user, token, _ string) (broker.Login, bool) {
	_, own := exchange.Consumer(user, user)
	return broker.Login{Member: user, Consumers: []string{own}}, token == "token-of-"+user
}

// both runs a test on the embedded server and on one in a process of its own.
func both(t *testing.T, test func(t *testing.T, b *server, js jetstream.JetStream)) {
	t.Run("embedded", func(t *testing.T) {
		b, err := broker.Start(broker.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Login: login})
		if err != nil {
			t.Fatal(err)
		}
		test(t, &server{b, b.Addr().String()}, filled(t, b))
	})
	t.Run("external", func(t *testing.T) {
		b := separate(t)
		test(t, b, filled(t, b.Broker))
	})
}

// filled puts a block for each of two members into a broker.
func filled(t *testing.T, b *broker.Broker) jetstream.JetStream {
	t.Helper()
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: exchange.BlocksStream, Subjects: []string{"tocsin.c.*"}, AllowDirect: true})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().Config.MaxConsumers; n != -1 {
		t.Errorf("at most %d consumers: there are more members than that", n)
	}
	for _, m := range []string{"cert-a", "cert-b"} {
		_, name := exchange.Consumer(m, m)
		_, err := s.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: name, FilterSubject: "tocsin.c." + m, AckPolicy: jetstream.AckExplicitPolicy})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "tocsin.c."+m, []byte("block of "+m)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "TOCSIN_REGISTER"}); err != nil {
		t.Fatal(err)
	}
	return js
}

// member connects as a member; violations come over the channel.
func member(t *testing.T, b *server, id string) (*nats.Conn, chan error) {
	t.Helper()
	violations := make(chan error, 64)
	nc, err := nats.Connect("nats://"+b.address, nats.UserInfo(id, "token-of-"+id), nats.CustomInboxPrefix("_INBOX."+id),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, violations
}

// settle waits until the server has dealt with what was sent before.
func settle(t *testing.T, nc *nats.Conn) {
	t.Helper()
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestAMemberPullsItsOwnBlocks(t *testing.T) {
	both(t, aMemberPullsItsOwnBlocks)
}

func aMemberPullsItsOwnBlocks(t *testing.T, b *server, _ jetstream.JetStream) {
	nc, violations := member(t, b, "cert-a")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, durable := exchange.Consumer("cert-a", "cert-a")
	for range 20 { // the answer must not depend on which of two imports is first
		if _, err := js.Consumer(t.Context(), stream, durable); err != nil {
			t.Fatal(err)
		}
	}
	c, err := js.Consumer(t.Context(), stream, durable)
	if err != nil {
		t.Fatal(err)
	}
	msg, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	if string(msg.Data()) != "block of cert-a" {
		t.Errorf("got %s", msg.Data())
	}
	if err := msg.DoubleAck(t.Context()); err != nil {
		t.Errorf("acknowledge: %v", err)
	}
	info, err := c.Info(t.Context())
	if err != nil || info.AckFloor.Consumer != 1 {
		t.Errorf("ack floor %+v, %v", info, err)
	}
	select {
	case err := <-violations:
		t.Error(err)
	default:
	}
}

func TestWrongTokensStayOut(t *testing.T) {
	both(t, wrongTokensStayOut)
}

func wrongTokensStayOut(t *testing.T, b *server, _ jetstream.JetStream) {
	for _, opt := range [][]nats.Option{
		{},
		{nats.UserInfo("cert-a", "")},
		{nats.UserInfo("", "token-of-")},
		{nats.UserInfo("cert-a", "token-of-cert-b")},
		{nats.UserInfo("tocsin-internal", "")},
		{nats.UserInfo("tocsin-internal", "x")},
		{nats.Token("token-of-cert-a")},
	} {
		nc, err := nats.Connect("nats://"+b.address, opt...)
		if err == nil {
			nc.Close()
			t.Errorf("%v was let in", opt)
		} else if !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("%v: %v", opt, err)
		}
	}
}

// TestTheServerRefusesEverythingElse tries what cert-a must not do: nothing of
// it may be answered or have an effect.
func TestTheServerRefusesEverythingElse(t *testing.T) {
	both(t, theServerRefusesEverythingElse)
}

func theServerRefusesEverythingElse(t *testing.T, b *server, js jetstream.JetStream) {
	nc, violations := member(t, b, "cert-a")
	other, _ := member(t, b, "cert-b")
	inbox, err := other.SubscribeSync("_INBOX.cert-b.>")
	if err != nil {
		t.Fatal(err)
	}
	settle(t, other)
	stream, neighbour := exchange.Consumer("cert-b", "cert-b")
	_, own := exchange.Consumer("cert-a", "cert-a")
	create, err := json.Marshal(map[string]any{"stream_name": stream, "config": map[string]any{"durable_name": "x", "ack_policy": "explicit", "filter_subject": "tocsin.c.cert-b"}})
	if err != nil {
		t.Fatal(err)
	}
	requests := map[string]string{
		"$JS.API.INFO": "", "$JS.API.STREAM.NAMES": "", "$JS.API.STREAM.LIST": "",
		"$JS.API.STREAM.INFO." + stream:                               "",
		"$JS.API.STREAM.PURGE." + stream:                              "",
		"$JS.API.STREAM.DELETE." + stream:                             "",
		"$JS.API.STREAM.MSG.GET." + stream:                            `{"seq":2}`,
		"$JS.API.STREAM.MSG.DELETE." + stream:                         `{"seq":2}`,
		"$JS.API.DIRECT.GET." + stream:                                `{"seq":2}`,
		"$JS.API.DIRECT.GET." + stream + ".tocsin.c.cert-b":           "",
		"$JS.API.DIRECT.GET.KV_TOCSIN_REGISTER.$KV.TOCSIN_REGISTER.x": "",
		"$JS.API.CONSUMER.NAMES." + stream:                            "",
		"$JS.API.CONSUMER.LIST." + stream:                             "",
		"$JS.API.CONSUMER.CREATE." + stream:                           string(create),
		"$JS.API.CONSUMER.CREATE." + stream + ".x.tocsin.c.cert-b":    string(create),
		"$JS.API.CONSUMER.DURABLE.CREATE." + stream + ".x":            string(create),
		"$JS.API.CONSUMER.DELETE." + stream + "." + own:               "",
		"$JS.API.CONSUMER.PAUSE." + stream + "." + own:                `{"pause_until":"2099-01-01T00:00:00Z"}`,
		"$JS.API.CONSUMER.INFO." + stream + "." + neighbour:           "",
		"$JS.API.CONSUMER.MSG.NEXT." + stream + "." + neighbour:       "",
		"$JS.API.CONSUMER.MSG.NEXT.KV_TOCSIN_REGISTER.x":              "",
		"$JS.ACK." + stream + "." + neighbour + ".1.2.1.1.0":          "+NXT",
		"$SYS.REQ.USER.INFO":                                          "",
		"$SYS.REQ.SERVER.PING":                                        "",
		"$KV.TOCSIN_REGISTER.current":                                 "mine",
		"tocsin.c.cert-a":                                             "forged",
		"tocsin.c.cert-b":                                             "forged",
		"tocsin.e.rustock":                                            "forged",
		"tocsin.nowhere":                                              "",
		"_INBOX.cert-b.forged":                                        "forged",
		"_INBOX.cert-a.self":                                          "forged",
		"$JS.API.STREAM.CREATE.MINE":                                  `{"name":"MINE","subjects":["mine"]}`,
		"$JS.API.STREAM.UPDATE." + stream:                             `{"name":"TOCSIN_BLOCKS"}`,
		"$JS.API.STREAM.SNAPSHOT." + stream:                           `{"deliver_subject":"_INBOX.cert-a.x"}`,
		"$JS.API.CONSUMER.RESET." + stream + "." + own:                `{"seq":1}`,
		"$JS.API.CONSUMER.UNPIN." + stream + "." + own:                "",
		"$JS.API.ACCOUNT.PURGE.TOCSIN":                                "",
		"$JS.API.META.LEADER.STEPDOWN":                                "",
		"$JS.FC." + stream + ".x":                                     "",
		"$SYS.REQ.USER.AUTH":                                          "",
		"$SYS.ACCOUNT.TOCSIN.CONNECT":                                 "",
		"tocsin.a":                                                    "forged",
	}
	reply, err := nc.SubscribeSync("_INBOX.cert-a.answers.>")
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	for subject, body := range requests {
		i++
		if err := nc.PublishRequest(subject, fmt.Sprintf("_INBOX.cert-a.answers.%d", i), []byte(body)); err != nil {
			t.Fatal(err)
		}
		settle(t, nc)
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", subject, err)
			}
		case <-time.After(2 * time.Second):
			t.Errorf("%s: no permissions violation", subject)
		}
	}
	for _, subject := range []string{">", "tocsin.c.>", "tocsin.c.cert-b", "tocsin.c.cert-a", "_INBOX.>", "_INBOX.cert-b.>", "_INBOX.*.x", "$SYS.>", "$JS.>", "$KV.>", "*", "tocsin.a", "_R_.>", "$JS.EVENT.ADVISORY.>"} {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
		settle(t, nc)
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("subscribe %s: %v", subject, err)
			}
		case <-time.After(2 * time.Second):
			t.Errorf("subscribe %s: no permissions violation", subject)
		}
	}
	if n, _, _ := reply.Pending(); n != 0 {
		msg, _ := reply.NextMsg(time.Second)
		t.Errorf("%d answers, the first: %s", n, msg.Data)
	}
	settle(t, other)
	if n, _, _ := inbox.Pending(); n != 0 {
		t.Errorf("%d messages reached cert-b's inbox", n)
	}
	unharmed(t, js)
}

// unharmed checks that the streams hold just what start put there.
func unharmed(t *testing.T, js jetstream.JetStream) {
	t.Helper()
	s, err := js.Stream(t.Context(), exchange.BlocksStream)
	if err != nil {
		t.Fatal(err)
	}
	if st := s.CachedInfo().State; st.Msgs != 2 || st.LastSeq != 2 || st.Consumers != 2 {
		t.Errorf("the stream has changed: %+v", st)
	}
	kv, err := js.KeyValue(t.Context(), "TOCSIN_REGISTER")
	if err != nil {
		t.Fatal(err)
	}
	status, err := kv.Status(t.Context())
	if err != nil || status.Values() != 0 {
		t.Errorf("the register has changed: %v, %v", status, err)
	}
}

// A pull names where its messages go. The server does not check that subject
// against the member's permissions; the border between the accounts does.
func TestAPullCannotWriteIntoOurs(t *testing.T) {
	both(t, aPullCannotWriteIntoOurs)
}

func aPullCannotWriteIntoOurs(t *testing.T, b *server, js jetstream.JetStream) {
	nc, _ := member(t, b, "cert-a")
	spy, err := b.Conn().SubscribeSync("tocsin.>")
	if err != nil {
		t.Fatal(err)
	}
	settle(t, b.Conn())
	stream, durable := exchange.Consumer("cert-a", "cert-a")
	other, _ := member(t, b, "cert-b")
	inbox, err := other.SubscribeSync("_INBOX.cert-b.>")
	if err != nil {
		t.Fatal(err)
	}
	settle(t, other)
	for _, target := range []string{
		"_INBOX.cert-b.forged", "tocsin.c.cert-a", "tocsin.a", "tocsin.c.cert-b", "tocsin.e.rustock", "$KV.TOCSIN_REGISTER.current", "$JS.API.STREAM.PURGE." + stream,
		"$JS.API.STREAM.DELETE." + stream, "$JS.API.CONSUMER.DELETE." + stream + "." + durable,
	} {
		if err := nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+stream+"."+durable, target, []byte(`{"batch":5,"no_wait":true}`)); err != nil {
			t.Fatal(err)
		}
		settle(t, nc)
		settle(t, b.Conn())
	}
	if n, _, _ := spy.Pending(); n != 0 {
		msg, _ := spy.NextMsg(time.Second)
		t.Errorf("%d messages reached our account, the first on %s", n, msg.Subject)
	}
	settle(t, other)
	if n, _, _ := inbox.Pending(); n != 0 {
		t.Errorf("%d blocks of cert-a reached the inbox of cert-b", n)
	}
	unharmed(t, js)
}

func TestDisconnectEndsAMembersConnection(t *testing.T) {
	both(t, disconnectEndsAMembersConnection)
}

func disconnectEndsAMembersConnection(t *testing.T, b *server, _ jetstream.JetStream) {
	nc, _ := member(t, b, "cert-a")
	gone := make(chan struct{}, 8)
	nc.SetDisconnectErrHandler(func(*nats.Conn, error) { gone <- struct{}{} })
	other, _ := member(t, b, "cert-b")
	if err := b.Disconnect(func(m string) bool { return strings.HasSuffix(m, "-a") }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("still connected")
	}
	if !other.IsConnected() {
		t.Error("the other member was disconnected too")
	}
}
