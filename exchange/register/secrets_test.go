package register_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/register"
)

// The secrets are made once, with nothing there, and never beside data.
func TestSecretsAreMadeOnceAndNeverBesideData(t *testing.T) {
	t.Parallel()
	const bucket = "TOCSIN_REGISTER"
	for name, c := range map[string]struct {
		remove, put []string // keys of the bucket
		data        bool     // the journal has a record
		want        error
		says        string
	}{
		"as it was left":                       {},
		"with data as well":                    {data: true},
		"of format 1":                          {remove: []string{"format", "secret.ids"}, want: register.ErrFormat, says: "export the register"},
		"of a format to come":                  {put: []string{"format"}, want: register.ErrFormat, says: `format "other"`},
		"without the secret of ids":            {remove: []string{"secret.ids"}, want: exchange.ErrRecord, says: "backup"},
		"without the other secret":             {remove: []string{"secret"}, want: exchange.ErrRecord, says: "backup"},
		"without anything but data":            {remove: []string{"format", "secret.ids", "secret"}, data: true, want: exchange.ErrRecord, says: "backup"},
		"stopped between the first two":        {remove: []string{"format", "secret"}},
		"stopped before the format":            {remove: []string{"format"}},
		"stopped before the format, with data": {remove: []string{"format"}, data: true, want: exchange.ErrRecord},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := broker.Start(broker.Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = b.Close() }()
			first, err := register.Open(t.Context(), b.Conn(), []byte("fixed"))
			if err != nil {
				t.Fatal(err)
			}
			want := first.Current().IdentityID("cert-at")
			if want != exchange.NewIDs([]byte("fixed")).Of("identity", "member", "cert-at") {
				t.Error("a fixed secret is not taken:", want)
			}
			js, err := jetstream.New(b.Conn())
			if err != nil {
				t.Fatal(err)
			}
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range c.remove {
				if err := kv.Purge(t.Context(), key); err != nil {
					t.Fatal(err)
				}
			}
			for _, key := range c.put {
				if _, err := kv.Put(t.Context(), key, []byte("other")); err != nil {
					t.Fatal(err)
				}
			}
			if c.data {
				if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: exchange.IntakeStream, Subjects: []string{"x"}}); err != nil {
					t.Fatal(err)
				}
				if _, err := js.Publish(t.Context(), "x", nil); err != nil {
					t.Fatal(err)
				}
			}
			again, err := register.Open(t.Context(), b.Conn(), nil)
			if c.want != nil {
				if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%v, want %v that says %q", err, c.want, c.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := again.Current().IdentityID("cert-at"); got != want {
				t.Errorf("the identifiers are others now: %s, were %s", got, want)
			}
		})
	}
}
