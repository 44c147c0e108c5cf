package bench

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// teamRegister has one team that is responsible for all of the Rustock log, its feed with
// the profile infection, and collections that the team posts to.
var teamRegister = []byte(`
members:
  - {id: team, name: Team, kind: csirt, clearance: amber+strict, constituency: {prefixes: ["240.0.0.0/4", "2001:db8::/32"]}}
  - {id: dcu, name: Publisher, kind: publisher, clearance: amber+strict}
feeds:
  - {id: rustock, publisher: dcu, operation: rustock, malware: {name: Rustock}, default_tlp: amber, allow_reserved: true}
collections:
  - {id: board, ceiling: amber, readers: [team], writers: [team]}
  - {id: once, ceiling: amber, readers: [team], writers: [team]}
`)

// perHost is how many objects a host is packaged as with the profile infection:
// address, traffic, observed data, indicator, two relationships, sighting.
const perHost = 7

// connections is how many readers there are at a time.
const connections = 8

// Page reads random pages of a large collection over TAXII, each request with its
// token. The limit is the same bytes served by net/http from memory; for other
// endpoints it is the plain page's bytes in the same time. Figures in
// milliseconds are the median of one reader alone, and their limit is 5 ms.
func Page(ctx context.Context, o Options) error {
	return o.temporary(func(dir string) error {
		return o.during(ctx, dir, teamRegister, func(s *system) error {
			if _, err := s.publish(ctx, o.size(15_000, 150_000)); err != nil {
				return err
			}
			p, err := o.pages(ctx, s, "team")
			if err != nil {
				return err
			}
			return p.run(ctx)
		})
	})
}

// pages are the requests of the page bench.
type pages struct {
	o           *Options
	base        string // of the collection
	first, last time.Time
	ids         []string
	load        load
}

func (o *Options) pages(ctx context.Context, s *system, collection string) (*pages, error) {
	token, _, err := s.Register.NewToken(ctx, "bench", "team", exchange.Token{})
	if err != nil {
		return nil, err
	}
	p := &pages{o: o, base: s.HTTPURL() + "/exchange/collections/" + collection + "/"}
	p.load = load{user: "team", token: token, connections: connections, time: time.Duration(o.size(300, 1000)) * time.Millisecond}
	p.last = s.View.Stats(collection).Last
	// Some ids from all over the collection.
	all := s.Register.Current().Collections()
	right := policy.ToRead(s.Register.Current(), exchange.As("team"), &all[slices.IndexFunc(all, func(c exchange.Collection) bool { return c.ID == collection })], exchange.ChannelTAXII)
	first, err := s.View.Page(ctx, right, view.Query{Limit: 1})
	if err != nil {
		return nil, err
	}
	p.first = first.First
	r := rand.New(rand.NewPCG(1, 2))
	for range 400 {
		page, err := s.View.Page(ctx, right, view.Query{After: p.somewhere(r), Limit: 10, Facts: true})
		if err != nil {
			return nil, err
		}
		for x, err := range page.Facts() {
			if err != nil {
				return nil, err
			}
			if len(x.Text) > 0 {
				return nil, fmt.Errorf("bench: %s is no identifier that we make", x.Text)
			}
			p.ids = append(p.ids, string(x.ID.AppendTo(nil)))
		}
	}
	return p, nil
}

// somewhere is a random date_added of the collection, not at its very end.
func (p *pages) somewhere(r *rand.Rand) time.Time {
	span := p.last.Sub(p.first) - 2*time.Millisecond
	return p.first.Add(time.Duration(r.Int64N(int64(max(span, 1)))))
}

// at is the request for a random page.
func (p *pages) at(endpoint string, more url.Values) func(r *rand.Rand) string {
	return func(r *rand.Rand) string {
		q := url.Values{"limit": {"1000"}, "added_after": {taxii.FormatTime(p.somewhere(r))}}
		for k, v := range more {
			q[k] = v
		}
		return p.base + endpoint + "/?" + q.Encode()
	}
}

// hundred is the request for a hundred random objects.
func (p *pages) hundred(r *rand.Rand) string {
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = p.ids[r.IntN(len(p.ids))]
	}
	return p.base + "objects/?" + url.Values{"match[id]": {strings.Join(ids, ",")}}.Encode()
}

func (p *pages) run(ctx context.Context) error {
	plain, limit, err := p.plain(ctx)
	if err != nil {
		return err
	}
	p.o.report(Result{Bench: "page", Case: "random-1000", Unit: "pages/s", Figure: plain.perSecond(), Limit: limit.perSecond()}, plain.usage)
	for _, c := range []struct {
		name, encoding string
		url            func(r *rand.Rand) string
	}{
		{"random-1000-gzip", "gzip", p.at("objects", nil)},
		{"random-1000-zstd", "zstd", p.at("objects", nil)},
		{"match-type", "", p.at("objects", url.Values{"match[type]": {"indicator"}})},
		{"match-id-100", "", p.hundred},
		{"manifest", "", p.at("manifest", nil)},
	} {
		if !p.o.wants(c.name) {
			continue
		}
		if c.encoding != "" {
			l := p.of(c.url)
			l.encoding = c.encoding
			debug.FreeOSMemory()
			got, err := l.run(ctx)
			if err != nil {
				return err
			}
			p.o.report(Result{Bench: "page", Case: c.name, Unit: "pages/s", Figure: got.perSecond()}, got.usage)
			continue
		}
		got, plain, err := inTurns(ctx, p.of(c.url), p.of(p.at("objects", nil)))
		if err != nil {
			return err
		}
		p.o.report(Result{
			Bench: "page", Case: c.name, Unit: "pages/s",
			Figure: got.perSecond(), Limit: plain.perSecond() * plain.pageBytes() / got.pageBytes(),
		}, got.usage)
		if err := p.alone(ctx, c.name, c.url); err != nil {
			return err
		}
	}
	return nil
}

// of is the load of such requests.
func (p *pages) of(url func(r *rand.Rand) string) *load {
	l := p.load
	l.url = url
	return &l
}

// alone measures how long one reader waits who is alone.
func (p *pages) alone(ctx context.Context, name string, url func(r *rand.Rand) string) error {
	l := p.of(url)
	l.connections, l.time = 1, 2*l.time
	debug.FreeOSMemory()
	got, err := l.run(ctx)
	if err == nil {
		p.o.report(Result{Bench: "page", Case: name + "-alone", Unit: "ms", Figure: got.median(), Limit: 5}, got.usage)
	}
	return err
}

// rounds is how often what is measured and its limit take turns: a machine's speed
// changes from one moment to the next.
const rounds = 8

// inTurns measures two loads, which take turns. Peaks are those of both together.
func inTurns(ctx context.Context, a, b *load) (got, limit *served, err error) {
	debug.FreeOSMemory()
	got, limit = new(served), new(served)
	for range rounds {
		one, err := a.run(ctx)
		if err != nil {
			return nil, nil, err
		}
		got.add(one)
		if one, err = b.run(ctx); err != nil {
			return nil, nil, err
		}
		limit.add(one)
	}
	return got, limit, nil
}

// plain measures the plain page beside some of the same pages from memory.
func (p *pages) plain(ctx context.Context) (plain, limit *served, err error) {
	var bodies [][]byte
	r := rand.New(rand.NewPCG(3, 4))
	url := p.at("objects", nil)
	for range 32 {
		var b bytes.Buffer
		if _, err := p.load.get(ctx, http.DefaultClient, url(r), make([]byte, 64<<10), &b); err != nil {
			return nil, nil, err
		}
		bodies = append(bodies, b.Bytes())
	}
	err = fromMemory(bodies, func(base string) (err error) {
		plain, limit, err = inTurns(ctx, p.of(url), p.of(func(r *rand.Rand) string { return base + strconv.Itoa(r.IntN(len(bodies))) }))
		return err
	})
	return plain, limit, err
}
