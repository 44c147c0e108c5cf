package register

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

const (
	formatKey = "format"
	secretKey = "secret"
	idsKey    = "secret.ids"
	// rotatedPrefix starts the keys of the secrets that have taken the place of the first.
	rotatedPrefix = "secret.rotated."
	// format is that of the data directory: of what is in the streams and the buckets together. olderFormat is one that is
	// opened, and has this one from then on: an older program must not write to it any more.
	format      = "5"
	olderFormat = "4"
)

// ErrFormat means that a data directory is of another version of Tocsin, which is to be used with it.
var ErrFormat = errors.New("the data directory is of another version of Tocsin")

// openSecrets reads the secrets of the exchange: what cursors are authenticated, senders and delivery positions
// hidden and webhooks signed with, and what identifiers are made under. These two are made once, where there is nothing
// yet, and never again: without its secret an exchange would not know its own objects. What has taken the place of the
// first for cursors and for what is hidden is beside it.
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

// Upgrade makes a data directory of an older format one of this: what is written from now on, an older program cannot read.
func (s *Store) Upgrade(ctx context.Context) error {
	values, err := s.secrets(ctx)
	if err == nil && string(values[formatKey]) == olderFormat {
		_, err = s.kv.Put(ctx, formatKey, []byte(format))
	}
	if err != nil {
		return fmt.Errorf("upgrade the data directory: %w", err)
	}
	return nil
}

// take takes the secrets, where they are of this format and whole.
func (s *Store) take(values map[string][]byte) error {
	switch {
	case values[formatKey] == nil:
		return fmt.Errorf("%w: it has format 1, in which anybody could compute the ids of objects. Begin a new one: export the register with the Tocsin that made it, apply it here, and publish anew", ErrFormat)
	case string(values[formatKey]) != format && string(values[formatKey]) != olderFormat:
		return fmt.Errorf("%w: it has format %.20q, and this one knows %s: use the Tocsin that made it; or begin a new one: export the register with that, apply it here, and publish anew", ErrFormat, values[formatKey], format)
	case len(values[secretKey]) == 0 || len(values[idsKey]) == 0:
		return errSecret
	}
	s.secret, s.ids = values[secretKey], exchange.NewIDs(values[idsKey])
	s.rotated = nil
	for n := 1; values[rotatedKey(n)] != nil; n++ {
		var r rotated
		if err := json.Unmarshal(values[rotatedKey(n)], &r); err != nil || len(r.Key) == 0 {
			return errSecret
		}
		s.rotated = append(s.rotated, r)
	}
	return nil
}

// rotated is a secret that has taken the place of the one before.
type rotated struct {
	At  time.Time `json:"at"`
	Key []byte    `json:"key"`
}

func rotatedKey(n int) string { return rotatedPrefix + strconv.Itoa(n) }

// Rotate makes a new secret for cursors and for what is hidden in blocks. It holds from the next start of each node on;
// all nodes are stopped meanwhile.
func (s *Store) Rotate(ctx context.Context) error {
	text, err := json.Marshal(rotated{time.Now().UTC(), random()})
	if err == nil {
		_, err = s.kv.Create(ctx, rotatedKey(len(s.rotated)+1), text)
	}
	if err != nil {
		return fmt.Errorf("rotate the secret: %w", err)
	}
	values, err := s.secrets(ctx)
	if err != nil {
		return err
	}
	return s.take(values)
}

// CursorsFor is how long cursors under a secret are taken after another has taken its place.
const CursorsFor = 30 * 24 * time.Hour

// SealKeys are the secret that what is hidden in blocks is written under, and those that it was: these are for reading,
// for ever.
func (s *Store) SealKeys() (key []byte, old [][]byte) { return s.keys(time.Time{}) }

// CursorKeys are the secret that cursors are authenticated under at an instant, and those that are still taken.
func (s *Store) CursorKeys(now time.Time) (key []byte, old [][]byte) {
	return s.keys(now.Add(-CursorsFor))
}

// keys are the newest secret, and those that another has taken the place of since an instant.
func (s *Store) keys(since time.Time) (key []byte, old [][]byte) {
	key = s.secret
	for _, r := range s.rotated {
		if r.At.After(since) {
			old = append(old, key)
		}
		key = r.Key
	}
	return key, old
}

var errSecret = fmt.Errorf("%w: stream KV_%s lacks a secret of the exchange: data is lost; restore the whole data directory from a backup", exchange.ErrRecord, bucket)

// secrets reads what there is of the secrets and the format.
func (s *Store) secrets(ctx context.Context) (map[string][]byte, error) {
	values := make(map[string][]byte)
	for _, key := range []string{formatKey, secretKey, idsKey} {
		if err := s.secretOf(ctx, key, values); err != nil {
			return nil, err
		}
	}
	for n := 1; ; n++ {
		if err := s.secretOf(ctx, rotatedKey(n), values); err != nil || values[rotatedKey(n)] == nil {
			return values, err
		}
	}
}

func (s *Store) secretOf(ctx context.Context, key string, values map[string][]byte) error {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err == nil {
		values[key] = e.Value()
	}
	return err
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

// Secret is a random key of 32 bytes, the same on all nodes and for ever: receivers of webhooks have what is derived from
// it.
func (s *Store) Secret() []byte { return s.secret }
