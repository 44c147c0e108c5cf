package admission

import (
	"context"
	"slices"
	"sync"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/wait"
)

// Packager packages the records of one feed that were decided under one version
// of the register; packaging.Packager is the one there is.
type Packager interface {
	Shares(in *record.Intake) ([]record.Share, error)
	// Outlines are the shares with objects that have nothing but what tells them and their versions apart.
	Outlines(in *record.Intake) ([]record.Share, error)
}

// Packagers packages records of any feed and version. It is safe for concurrent
// use.
type Packagers struct {
	// Register returns a version of the register.
	Register func(ctx context.Context, version uint64) (*exchange.Register, error)
	// Version is that in which new records are packaged.
	Version uint8
	// New makes a packager.
	New func(r *exchange.Register, feed string) (Packager, error)

	mu    sync.Mutex
	ready map[packagerKey]Packager
	made  []*packaged // of records that were asked for once, oldest first
}

type packagerKey struct {
	version uint64
	feed    string
}

// maxPackagers is how many are kept; versions come and go one after the other.
const maxPackagers = 64

// packaged is what a record was packaged as.
type packaged struct {
	of     recordKey
	shares *wait.Once[[]record.Share]
}

// recordKey tells records apart.
type recordKey struct {
	feed     string
	register uint64
	at       int64 // µs
	hash     [32]byte
}

// maxMade is how many records' shares are kept. A record is packaged for its
// blocks and, a moment later, for the feed's own collection: once is enough, and
// whoever comes second takes it along, as it is some 10 MB.
const maxMade = 6

// Shares packages the record under the version of the register that it names,
// for the collections that want selects. It is for records as they come in.
func (p *Packagers) Shares(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error) {
	one, mine := p.entry(recordKey{in.Feed, in.Register, in.At.UnixMicro(), in.Hash})
	var shares []record.Share
	var err error
	if mine {
		defer func() {
			if err != nil {
				p.forget(one)
			}
		}()
		shares, err = one.shares.Make(func() ([]record.Share, error) { return p.each(ctx, in, Packager.Shares) })
	} else if shares, err = one.shares.Wait(ctx); err != nil && ctx.Err() == nil { // it can be that its caller had gone
		return p.Again(ctx, in, want)
	}
	return wanted(shares, want), err
}

// Again is Shares for a record of the past: it keeps nothing of it.
func (p *Packagers) Again(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error) {
	shares, err := p.each(ctx, in, Packager.Shares)
	return wanted(shares, want), err
}

// Outlines is Again without the objects' texts.
func (p *Packagers) Outlines(ctx context.Context, in *record.Intake, want func(collection string) bool) ([]record.Share, error) {
	shares, err := p.each(ctx, in, Packager.Outlines)
	return wanted(shares, want), err
}

func wanted(shares []record.Share, want func(collection string) bool) []record.Share {
	var list []record.Share
	for _, s := range shares {
		if want(s.Collection) {
			list = append(list, s)
		}
	}
	return list
}

// entry returns the entry of a record; mine says that the caller has to fill it.
func (p *Packagers) entry(of recordKey) (one *packaged, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.made, func(o *packaged) bool { return o.of == of }); i >= 0 {
		one = p.made[i]
		p.made = slices.Delete(p.made, i, i+1)
		return one, false
	}
	one = &packaged{of: of, shares: wait.NewOnce[[]record.Share]()}
	if len(p.made) == maxMade {
		p.made = slices.Delete(p.made, 0, 1)
	}
	p.made = append(p.made, one)
	return one, true
}

func (p *Packagers) forget(one *packaged) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = slices.DeleteFunc(p.made, func(o *packaged) bool { return o == one })
}

func (p *Packagers) each(ctx context.Context, in *record.Intake, shares func(Packager, *record.Intake) ([]record.Share, error)) ([]record.Share, error) {
	one, err := p.get(ctx, packagerKey{in.Register, in.Feed})
	if err != nil {
		return nil, err
	}
	return shares(one, in)
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
