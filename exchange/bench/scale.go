package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tocsin-exchange/tocsin/examples/rustock"
	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/view/store"
)

// Scale compares a large exchange with a small one, an object of many versions
// with one of one, and the making of a view anew with the least that takes.
// Times of pages are the median of one reader alone, in milliseconds, who reads from both
// in turns: once with the cache as it is, which holds all of a small collection and nearly
// nothing of a large one, and once without.
func Scale(ctx context.Context, o Options) error {
	return o.temporary(func(dir string) error {
		b := &scale{o: &o, dir: dir, small: filepath.Join(dir, "small"), large: filepath.Join(dir, "large")}
		for _, step := range []struct {
			of  string
			run func(context.Context) error
		}{{"versions", b.versions}, {"size", b.few}, {"size", b.many}, {"size", b.reopen}, {"size", b.rebuild}} {
			if !o.wants(step.of) {
				continue
			}
			if err := step.run(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

type scale struct {
	o                 *Options
	dir, small, large string // directories
	objects           int64  // of the large one
}

// uncached opens an exchange that keeps no blocks in memory.
func uncached(n *node.Options) { n.CacheBytes = 1 }

// few makes an exchange of 10,000 objects.
func (b *scale) few(ctx context.Context) error {
	return b.o.during(ctx, b.small, teamRegister, func(s *system) error {
		_, err := s.publish(ctx, 10_000/perHost+1)
		return err
	})
}

// reader is one reader alone of a collection.
func (b *scale) reader(ctx context.Context, s *system, collection string) (*load, error) {
	p, err := b.o.pages(ctx, s, collection)
	if err != nil {
		return nil, err
	}
	l := p.of(p.at("objects", nil))
	l.connections = 1
	return l, nil
}

// pages measures pages of a collection, beside those of another exchange's.
func (b *scale) pages(ctx context.Context, name string, s *system, collection string, beside *system, other string) error {
	got, err := b.reader(ctx, s, collection)
	if err != nil {
		return err
	}
	limit, err := b.reader(ctx, beside, other)
	if err != nil {
		return err
	}
	large, small, err := inTurns(ctx, got, limit)
	if err == nil {
		b.o.report(Result{Bench: "scale", Case: name, Unit: "ms", Figure: large.median(), Limit: small.median()}, large.usage)
	}
	return err
}

// versions posts objects, and others of which there are 49 more versions, and reads the latest, also after a new start.
func (b *scale) versions(ctx context.Context) error {
	const versions = 50
	n, dir := b.o.size(2, 10)*perPost, filepath.Join(b.dir, "versions")
	err := b.o.during(ctx, dir, teamRegister, func(s *system) error {
		if _, err := s.post(ctx, "once", n, 0, posters); err != nil {
			return err
		}
		for v := range versions {
			if _, err := s.post(ctx, "board", n, v, posters); err != nil {
				return err
			}
		}
		return b.pages(ctx, "page-50-versions", s, "board", s, "once")
	})
	if err != nil {
		return err
	}
	return b.o.during(ctx, dir, nil, func(s *system) error {
		return b.pages(ctx, "page-50-versions-restarted", s, "board", s, "once")
	})
}

// many fills a large exchange, and measures how fast it takes hosts in the end, beside what empty ones
// do before and afterwards, and its pages.
func (b *scale) many(ctx context.Context) error {
	probe, fill := b.o.size(10_000, 200_000), b.o.size(60_000, 1_120_000) // a probe is longer than what compactions come in
	sample := rustock.NewSample(fill + 2*probe)
	var first, last usage
	err := b.o.during(ctx, b.large, teamRegister, func(s *system) (err error) {
		if err := s.networks(ctx); err != nil {
			return err
		}
		if first, err = s.part(ctx, sample, rustock.Start, 0, probe); err != nil {
			return err
		}
		if _, err = s.part(ctx, sample, rustock.Start, probe, probe+fill); err != nil {
			return err
		}
		if last, err = s.part(ctx, sample, rustock.Start, probe+fill, fill+2*probe); err != nil {
			return err
		}
		b.objects = s.View.Stats("team").Objects
		return b.o.during(ctx, b.small, nil, func(small *system) error {
			return b.pages(ctx, "page-at-"+short(b.objects), s, "team", small, "team")
		})
	})
	if err != nil {
		return err
	}
	return b.o.during(ctx, filepath.Join(b.dir, "empty"), teamRegister, func(s *system) error {
		if err := s.networks(ctx); err != nil {
			return err
		}
		again, err := s.part(ctx, sample, rustock.Start, 0, probe)
		if err != nil {
			return err
		}
		rate := func(wall time.Duration) float64 { return float64(probe) / wall.Seconds() }
		b.o.report(Result{
			Bench: "scale", Case: "ingest-at-" + short(b.objects), Unit: "hosts/s", Figure: rate(last.wall), Limit: rate((first.wall + again.wall) / 2),
		}, last)
		return nil
	})
}

// short writes a number of objects as people say it.
func short(n int64) string {
	if n >= 1_000_000 {
		return strconv.FormatFloat(float64(n/100_000)/10, 'f', -1, 64) + "M"
	}
	return strconv.FormatInt(n/1000, 10) + "k"
}

// reopen measures how long the large exchange takes to start, and its pages
// without a cache.
func (b *scale) reopen(ctx context.Context) error {
	m := start()
	s, err := b.o.open(ctx, b.large, nil, uncached)
	if err != nil {
		return err
	}
	u := m.stop()
	b.o.report(Result{Bench: "scale", Case: "start-at-" + short(b.objects), Unit: "s", Figure: u.wall.Seconds(), Limit: 2}, u)
	err = b.o.during(ctx, b.small, nil, func(small *system) error {
		return b.pages(ctx, "page-uncached-at-"+short(b.objects), s, "team", small, "team")
	}, uncached)
	return errors.Join(err, s.close())
}

// rebuild makes the large exchange's view anew. The limit is to read the same
// records and blocks, and to write the same batches, with nothing in between.
func (b *scale) rebuild(ctx context.Context) error {
	path := filepath.Join(b.large, "batches")
	if err := b.record(ctx, path); err != nil {
		return err
	}
	if err := node.Rebuild(ctx, filepath.Join(b.large, "exchange")); err != nil {
		return err
	}
	m := start()
	s, err := b.o.open(ctx, b.large, nil)
	if err != nil {
		return err
	}
	u := m.stop()
	have := s.View.Stats("team").Objects
	if err := s.close(); err != nil {
		return err
	}
	if have != b.objects {
		return fmt.Errorf("bench: %d objects after the rebuild, %d before", have, b.objects)
	}
	bare, err := b.bareRebuild(ctx, path)
	if err != nil {
		return err
	}
	b.o.report(Result{
		Bench: "scale", Case: "rebuild-" + short(b.objects), Unit: "objects/s",
		Figure: float64(b.objects) / u.wall.Seconds(), Limit: float64(b.objects) / bare.Seconds(),
	}, u)
	return nil
}

// record makes the view anew and keeps what is written to it.
func (b *scale) record(ctx context.Context, path string) (err error) {
	if err := node.Rebuild(ctx, filepath.Join(b.large, "exchange")); err != nil {
		return err
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	out := bufio.NewWriterSize(file, 1<<20)
	batches := make(chan []byte, 64)
	written := make(chan error, 1)
	go func() {
		var failed error
		for batch := range batches {
			_, err1 := out.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(batch))))
			_, err2 := out.Write(batch)
			failed = errors.Join(failed, err1, err2)
		}
		written <- errors.Join(failed, out.Flush())
	}()
	err = b.o.during(ctx, b.large, nil, func(*system) error { return nil }, func(n *node.Options) {
		n.Tap = func(batch []byte) { batches <- append([]byte(nil), batch...) }
	})
	close(batches)
	return errors.Join(err, <-written)
}

// bareRebuild reads both streams and writes the batches, side by side.
func (b *scale) bareRebuild(ctx context.Context, path string) (time.Duration, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	begin := time.Now()
	err = withBroker(filepath.Join(b.large, "exchange", "journal"), func(bare *broker.Broker) error {
		begin = time.Now() // the server has started
		read := make(chan error, 2)
		for _, stream := range []string{exchange.BlocksStream, exchange.IntakeStream} {
			go func() { read <- eachBatch(ctx, bare, stream, func([]jetstream.Msg) error { return nil }) }()
		}
		err := store.Replay(filepath.Join(b.large, "bare"), store.Options{}, bufio.NewReaderSize(file, 1<<20))
		return errors.Join(err, <-read, <-read)
	})
	return time.Since(begin), err
}
