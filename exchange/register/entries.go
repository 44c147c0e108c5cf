package register

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
)

// SetNetworks stores a networks table, as text, and puts it in force.
func (s *Store) SetNetworks(ctx context.Context, actor string, text []byte) (*exchange.Register, error) {
	b, err := s.put(ctx, "networks", text)
	if err != nil {
		return nil, fmt.Errorf("store networks: %w", err)
	}
	return s.Change(ctx, actor, func(r *exchange.Register) error {
		r.NetworksKey = fmt.Sprintf("%s/%d", b.SHA256, b.Chunks)
		return nil
	})
}

// Networks returns the text of the table that a register names, nil for none.
func (s *Store) Networks(ctx context.Context, key string) ([]byte, error) {
	if key == "" {
		return nil, nil
	}
	b := blob{}
	if n, err := fmt.Sscanf(key, "%64s/%d", &b.SHA256, &b.Chunks); n != 2 || err != nil {
		return nil, fmt.Errorf("networks %q: damaged name", key)
	}
	b.Prefix = "networks." + b.SHA256
	text, err := s.get(ctx, b)
	if err != nil {
		return nil, fmt.Errorf("networks %s: %w", b.SHA256[:12], err)
	}
	return text, nil
}

// NewToken makes a credential for the member, or for exchange.Admin, and
// returns it; only its hash is kept. Older ones stay valid.
func (s *Store) NewToken(ctx context.Context, actor, member string) (string, error) {
	token := "tocsin_" + rand.Text()
	_, err := s.Change(ctx, actor, func(r *exchange.Register) error {
		if member != exchange.Admin && r.Member(member) == nil {
			return &Invalid{Problems: []string{fmt.Sprintf("there is no member %.60q", member)}}
		}
		r.Tokens[member] = append(r.Tokens[member], exchange.Token{
			Name: fmt.Sprintf("token-%d", len(r.Tokens[member])+1), SHA256: exchange.HashToken(token), Created: time.Now().UTC().Truncate(time.Millisecond),
		})
		return nil
	})
	return token, err
}

// RevokeTokens takes all credentials of a member away. It returns how many.
func (s *Store) RevokeTokens(ctx context.Context, actor, member string) (n int, err error) {
	_, err = s.Change(ctx, actor, func(r *exchange.Register) error {
		n = len(r.Tokens[member])
		delete(r.Tokens, member)
		return nil
	})
	return n, err
}
