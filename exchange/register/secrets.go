package register

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

const (
	formatKey = "format"
	secretKey = "secret"
	idsKey    = "secret.ids"
	// format is that of the data directory: of what is in the streams and the buckets together.
	format = "4"
)

// ErrFormat means that a data directory is of another version of Tocsin, which is to be used with it.
var ErrFormat = errors.New("the data directory is of another version of Tocsin")

// openSecrets reads the two secrets of the exchange: what cursors are authenticated, senders and delivery positions
// hidden and webhooks signed with, and what identifiers are made under. They are made once, where there is nothing yet, and never again: without its secret an
// exchange would not know its own objects.
func (s *Store) openSecrets(ctx context.Context, js jetstream.JetStream, secret []byte) error {
	values, err := s.secrets(ctx)
	if err != nil {
		return err
	}
	// The secret of identifiers is made first and the format last, so that a stop in between can be told from format 1.
	if values[formatKey] == nil && (values[idsKey] != nil || values[secretKey] == nil) {
		data, err := hasData(ctx, js)
		if err != nil {
			return err
		}
		if data {
			// Another node may have begun and gone on meanwhile.
			if values, err = s.secrets(ctx); err != nil || values[formatKey] == nil {
				return cmp.Or(err, errSecret)
			}
			return s.take(values)
		}
		if secret == nil {
			secret = random()
		}
		for _, x := range []struct {
			key   string
			value []byte
		}{{idsKey, secret}, {secretKey, random()}, {formatKey, []byte(format)}} {
			if _, err := s.kv.Create(ctx, x.key, x.value); err != nil && !errors.Is(err, jetstream.ErrKeyExists) {
				return err
			}
		}
		if values, err = s.secrets(ctx); err != nil {
			return err
		}
	}
	return s.take(values)
}

// take takes the secrets, where they are of this format and whole.
func (s *Store) take(values map[string][]byte) error {
	switch {
	case values[formatKey] == nil:
		return fmt.Errorf("%w: it has format 1, in which anybody could compute the ids of objects. Begin a new one: export the register with the Tocsin that made it, apply it here, and publish anew", ErrFormat)
	case string(values[formatKey]) != format:
		return fmt.Errorf("%w: it has format %.20q, and this one knows %s: use the Tocsin that made it; or begin a new one: export the register with that, apply it here, and publish anew", ErrFormat, values[formatKey], format)
	case len(values[secretKey]) == 0 || len(values[idsKey]) == 0:
		return errSecret
	}
	s.secret, s.ids = values[secretKey], exchange.NewIDs(values[idsKey])
	return nil
}

var errSecret = fmt.Errorf("%w: stream KV_%s lacks a secret of the exchange: data is lost; restore the whole data directory from a backup", exchange.ErrRecord, bucket)

// secrets reads what there is of the secrets and the format.
func (s *Store) secrets(ctx context.Context) (map[string][]byte, error) {
	values := make(map[string][]byte)
	for _, key := range []string{formatKey, secretKey, idsKey} {
		e, err := s.kv.Get(ctx, key)
		switch {
		case err == nil:
			values[key] = e.Value()
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return nil, err
		}
	}
	return values, nil
}

// hasData tells whether the journal has anything.
func hasData(ctx context.Context, js jetstream.JetStream) (bool, error) {
	for _, name := range []string{exchange.IntakeStream, exchange.BlocksStream} {
		stream, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return false, err
		}
		if stream.CachedInfo().State.LastSeq > 0 {
			return true, nil
		}
	}
	return false, nil
}

func random() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}

// Secret is a random key of 32 bytes, the same on all nodes and for ever.
func (s *Store) Secret() []byte { return s.secret }
