package exchange

import (
	"context"
	"sync"
)

// Packager packages the records of one feed that were decided under one version
// of the register; packaging.Packager is the one there is.
type Packager interface {
	Shares(in *Intake, want func(collection string) bool) ([]Share, error)
}

// Packagers packages records of any feed and version. It is safe for concurrent
// use.
type Packagers struct {
	// Register returns a version of the register.
	Register func(ctx context.Context, version uint64) (*Register, error)
	// New makes a packager.
	New func(r *Register, feed string) (Packager, error)

	mu    sync.Mutex
	ready map[packagerKey]Packager
}

type packagerKey struct {
	version uint64
	feed    string
}

// maxPackagers is how many are kept; versions come and go one after the other.
const maxPackagers = 64

// Shares packages the record under the version of the register that it names.
func (p *Packagers) Shares(ctx context.Context, in *Intake, want func(collection string) bool) ([]Share, error) {
	one, err := p.get(ctx, packagerKey{in.Register, in.Feed})
	if err != nil {
		return nil, err
	}
	return one.Shares(in, want)
}

func (p *Packagers) get(ctx context.Context, key packagerKey) (Packager, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one := p.ready[key]; one != nil {
		return one, nil
	}
	reg, err := p.Register(ctx, key.version)
	if err != nil {
		return nil, err
	}
	one, err := p.New(reg, key.feed)
	if err != nil {
		return nil, err
	}
	if p.ready == nil || len(p.ready) >= maxPackagers {
		p.ready = make(map[packagerKey]Packager)
	}
	p.ready[key] = one
	return one, nil
}
