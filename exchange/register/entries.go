package register

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
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
// returns it; only its hash is kept. Older ones stay valid. of says what it is to be; without a
// name it gets one.
func (s *Store) NewToken(ctx context.Context, actor, member string, of exchange.Token) (token string, made exchange.Token, err error) {
	token = "tocsin_" + rand.Text()
	of.SHA256, of.Created = exchange.HashToken(token), time.Now().UTC().Truncate(time.Millisecond)
	_, err = s.Change(ctx, actor, func(r *exchange.Register) error {
		if member != exchange.Admin && r.Member(member) == nil {
			return &Invalid{Problems: []string{fmt.Sprintf("there is no member %.60q", member)}}
		}
		made = of
		for n := len(r.Tokens[member]) + 1; made.Name == ""; n++ {
			name := fmt.Sprintf("token-%d", n)
			if !slices.ContainsFunc(r.Tokens[member], func(t exchange.Token) bool { return t.Name == name }) {
				made.Name = name
			}
		}
		r.Tokens[member] = append(r.Tokens[member], made)
		return nil
	})
	return token, made, err
}

// RevokeTokens takes credentials of a member away: the one of the name, or all where that is
// "". It returns how many.
func (s *Store) RevokeTokens(ctx context.Context, actor, member, name string) (n int, err error) {
	_, err = s.Change(ctx, actor, func(r *exchange.Register) error {
		had := r.Tokens[member]
		left := slices.DeleteFunc(slices.Clone(had), func(t exchange.Token) bool { return name == "" || t.Name == name })
		if n = len(had) - len(left); len(left) == 0 {
			delete(r.Tokens, member)
		} else {
			r.Tokens[member] = left
		}
		return nil
	})
	return n, err
}
