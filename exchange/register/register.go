// Package register keeps who takes part and how: members, feeds, collections,
// credentials, and the networks table that places addresses.
//
// A version of the register is an immutable snapshot in a JetStream key-value
// bucket, cut into chunks because ten thousand owners do not fit one message.
// The key "current" names the version in force and is changed by compare and
// set: of two changes at once, one is made anew on top of the other. Old
// versions stay, since intake records name the version they were decided under.
package register

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/exchange"
)

const (
	bucket     = "TOCSIN_REGISTER"
	currentKey = "current"
	chunkSize  = 512 << 10
	maxBlob    = 1 << 30 // of one snapshot or table, uncompressed
	// maxVersions is how many past versions are kept in memory.
	maxVersions = 16
)

// Store is the register of an exchange. It is safe for concurrent use.
type Store struct {
	kv      jetstream.KeyValue
	dec     *zstd.Decoder
	secret  []byte
	rotated []rotated // what has taken its place, oldest first
	ids     *exchange.IDs
	current atomic.Pointer[exchange.Register]
	// contents and changed are what Attach was given, nil before that.
	contents Contents
	changed  func(*exchange.Register)

	mu       sync.Mutex // guards what is below
	versions map[uint64]*exchange.Register
}

// pointer is the value of the key "current".
type pointer struct {
	Version uint64    `json:"version"`
	Blob    blob      `json:"blob"`
	Actor   string    `json:"actor"`
	At      time.Time `json:"at"`
}

// blob names chunks in the bucket: <prefix>.0, <prefix>.1, …
type blob struct {
	Prefix string `json:"prefix"`
	Chunks int    `json:"chunks"`
	SHA256 string `json:"sha256"`
}

// Open opens the register, and makes an empty one where there is none. secret is what a new exchange makes
// its identifiers under, nil for a random one.
func Open(ctx context.Context, nc *nats.Conn, secret []byte) (*Store, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	s := &Store{versions: make(map[uint64]*exchange.Register)}
	s.kv, err = js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: bucket, Description: "Members, feeds, collections, credentials"})
	if err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	if s.dec, err = zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxBlob)); err != nil {
		return nil, err
	}
	if err := s.openSecrets(ctx, js, secret); err != nil {
		return nil, fmt.Errorf("open register: %w", err)
	}
	r := &exchange.Register{IDs: s.ids, UUIDs: map[string]string{}, Tokens: map[string][]exchange.Token{}}
	if e, err := s.kv.Get(ctx, currentKey); err == nil {
		if r, err = s.load(ctx, e.Value()); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fmt.Errorf("open register: %w", err)
	}
	s.current.Store(r)
	return s, nil
}

// Current returns the version in force. It is not to be changed.
func (s *Store) Current() *exchange.Register { return s.current.Load() }

// At returns a version of the register, current or past.
func (s *Store) At(ctx context.Context, version uint64) (*exchange.Register, error) {
	if r := s.current.Load(); r.Version == version {
		return r, nil
	}
	s.mu.Lock()
	r := s.versions[version]
	s.mu.Unlock()
	if r != nil {
		return r, nil
	}
	// A version gets its own key when the next one replaces it.
	for _, key := range []string{versionKey(version), currentKey} {
		e, err := s.kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("version %d of the register: %w", version, err)
		}
		if r, err = s.load(ctx, e.Value()); err != nil {
			return nil, err
		}
		if r.Version == version {
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.versions) >= maxVersions {
				clear(s.versions)
			}
			s.versions[version] = r
			return r, nil
		}
	}
	return nil, fmt.Errorf("version %d of the register is not there", version)
}

func versionKey(v uint64) string { return fmt.Sprintf("version.%d", v) }

// load reads the snapshot that a pointer names.
func (s *Store) load(ctx context.Context, value []byte) (*exchange.Register, error) {
	var p pointer
	if err := json.Unmarshal(value, &p); err != nil {
		return nil, fmt.Errorf("damaged register: %w", err)
	}
	text, err := s.get(ctx, p.Blob)
	if err != nil {
		return nil, fmt.Errorf("version %d of the register: %w", p.Version, err)
	}
	r := &exchange.Register{IDs: s.ids, Hash: p.Blob.SHA256}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("version %d of the register: %w", p.Version, err)
	}
	return r, nil
}

// Change makes a new version: change gets a copy of the one in force to alter.
// What it leaves unaltered makes no version. The result is checked as a whole;
// where it is not sound, the error is an Invalid and nothing changes.
func (s *Store) Change(ctx context.Context, actor string, change func(r *exchange.Register) error) (*exchange.Register, error) {
	for {
		base := &exchange.Register{IDs: s.ids}
		e, err := s.kv.Get(ctx, currentKey)
		switch {
		case err == nil:
			if base, err = s.load(ctx, e.Value()); err != nil {
				return nil, err
			}
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			return nil, fmt.Errorf("change the register: %w", err)
		}
		next, err := s.edit(base, change)
		if err != nil || next == nil {
			return base, err
		}
		switch err := s.replace(ctx, actor, base, next, e); {
		case errors.Is(err, errRaced):
			continue
		case err != nil:
			return nil, err
		}
		return next, nil
	}
}

// replace puts next in force after base, if nothing stands in the way.
func (s *Store) replace(ctx context.Context, actor string, base, next *exchange.Register, old jetstream.KeyValueEntry) error {
	release, err := s.hold(ctx, base, next)
	if err != nil {
		return fmt.Errorf("change the register: %w", err)
	}
	defer release()
	if err := s.Fits(next); err != nil {
		return err
	}
	if err := s.commit(ctx, actor, next, base.Version, old); err != nil {
		return fmt.Errorf("change the register: %w", err)
	}
	s.advance(next)
	return nil
}

// Preview returns what a change would make of the version in force, without
// making it.
func (s *Store) Preview(change func(r *exchange.Register) error) (*exchange.Register, error) {
	base := s.Current()
	next, err := s.edit(base, change)
	if err == nil && next != nil {
		err = s.Fits(next)
	}
	if next == nil {
		next = base
	}
	return next, err
}

var errRaced = errors.New("somebody else changed the register")

// edit applies the change to a copy; nil where it makes no difference.
func (s *Store) edit(base *exchange.Register, change func(*exchange.Register) error) (*exchange.Register, error) {
	before, err := json.Marshal(base)
	if err != nil {
		return nil, err
	}
	next := &exchange.Register{IDs: s.ids}
	if err := json.Unmarshal(before, next); err != nil {
		return nil, err
	}
	if next.UUIDs == nil {
		next.UUIDs = make(map[string]string)
	}
	if next.Tokens == nil {
		next.Tokens = make(map[string][]exchange.Token)
	}
	if err := change(next); err != nil {
		return nil, err
	}
	normalise(next)
	if err := validate(next); err != nil {
		return nil, err
	}
	after, err := json.Marshal(next)
	if err != nil || bytes.Equal(before, after) {
		return nil, err
	}
	next.Version = base.Version + 1
	return next, nil
}

// commit puts next in force after the version that was, whose entry is old, nil
// where there was none.
func (s *Store) commit(ctx context.Context, actor string, next *exchange.Register, was uint64, old jetstream.KeyValueEntry) error {
	text, err := json.Marshal(next)
	if err != nil {
		return err
	}
	p := pointer{Version: next.Version, Actor: actor, At: time.Now().UTC()}
	if p.Blob, err = s.put(ctx, "snapshot", text); err != nil {
		return err
	}
	next.Hash = p.Blob.SHA256
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	revision := uint64(0)
	if old != nil {
		// The version that is replaced stays to be found. All who race to
		// replace it write the same here.
		revision = old.Revision()
		if _, err := s.kv.Put(ctx, versionKey(was), old.Value()); err != nil {
			return err
		}
	}
	_, err = s.kv.Update(ctx, currentKey, value, revision)
	var api *jetstream.APIError
	if errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence {
		return errRaced
	}
	return err
}

// advance puts a version in force here, unless a later one is.
func (s *Store) advance(r *exchange.Register) {
	for {
		have := s.current.Load()
		if have.Version >= r.Version || s.current.CompareAndSwap(have, r) {
			break
		}
	}
	if s.changed != nil {
		s.changed(r)
	}
}

// Watch follows what other nodes do to the register until ctx ends.
func (s *Store) Watch(ctx context.Context) error {
	w, err := s.kv.Watch(ctx, currentKey)
	if err != nil {
		return fmt.Errorf("watch the register: %w", err)
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("watch the register: the watch ended")
			}
			if e == nil {
				continue // all that was there has been told
			}
			r, err := s.load(ctx, e.Value())
			if err != nil {
				return err
			}
			s.advance(r)
		}
	}
}
