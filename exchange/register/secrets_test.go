package register_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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

// A new secret takes the place of the one before, at the next start as well; that is read for ever, and its cursors are
// taken for a while. What never changes stays.
func TestTheSecretIsRotated(t *testing.T) {
	t.Parallel()
	b, err := broker.Start(broker.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	var all [][]byte
	var fixed []byte
	identity := ""
	for n := range 4 {
		s, err := register.Open(t.Context(), b.Conn(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			fixed, identity = s.Secret(), s.Current().IdentityID("cert-at")
		}
		now := time.Now()
		key, old := s.SealKeys()
		cursor, taken := s.CursorKeys(now)
		all = append(all, key)
		if slices.ContainsFunc(all[:n], func(k []byte) bool { return bytes.Equal(k, key) }) || len(key) != 32 {
			t.Error("it is not a new one")
		}
		if d := cmp.Diff(all[:n], old, cmpopts.EquateEmpty()); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(all[:n], taken, cmpopts.EquateEmpty()); d != "" || !bytes.Equal(cursor, key) {
			t.Error(d)
		}
		if cursor, taken := s.CursorKeys(now.Add(register.CursorsFor + time.Minute)); len(taken) != 0 || !bytes.Equal(cursor, key) {
			t.Error("cursors are taken for ever:", len(taken))
		}
		if !bytes.Equal(s.Secret(), fixed) || s.Current().IdentityID("cert-at") != identity {
			t.Error("what never changes has changed")
		}
		if err := s.Rotate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
