package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// streams is how many readers follow one collection as server-sent events.
const streams = 5000

// streams has 5,000 readers follow one collection over HTTP while blocks are
// appended to it, and counts what each gets. The first figure is what a stream
// takes of memory, both ends together, without garbage; the second how long a block takes until
// the last reader has it.
func (o *Options) streams(ctx context.Context) error {
	return o.temporary(func(dir string) error {
		return o.during(ctx, dir, teamRegister, func(s *system) error {
			token, _, err := s.Register.NewToken(ctx, "bench", "team", exchange.Token{})
			if err != nil {
				return err
			}
			return s.streams(ctx, o, token, o.size(20, 100))
		})
	})
}

func (s *system) streams(ctx context.Context, o *Options, token string, blocks int) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	// What is there before; every other reader starts at one of these blocks.
	const earlier = 10
	for n := range earlier {
		if err := s.carry(n); err != nil {
			return err
		}
	}
	wants := make([]int64, streams) // objects before the first block that is measured
	m := start()
	before := resident()
	got := make([]atomic.Int64, streams)
	var failed atomic.Pointer[error]
	for i := range streams {
		from := 0
		if i%2 == 1 {
			from = i % earlier
		}
		wants[i] = int64(earlier-from) * perGroup
		conn, err := s.follow(ctx, token, from+1)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := count(conn, &got[i]); err != nil && ctx.Err() == nil {
				failed.Store(&err)
			}
		})
		defer func() { _ = conn.Close() }()
	}
	var took []time.Duration
	for n := range blocks {
		if n == 0 { // until all have what was there
			if err := everybody(ctx, got, wants, &failed); err != nil {
				return err
			}
		}
		begin := time.Now()
		if err := s.carry(earlier + n); err != nil {
			return err
		}
		for i := range wants {
			wants[i] += perGroup
		}
		if err := everybody(ctx, got, wants, &failed); err != nil {
			return err
		}
		took = append(took, time.Since(begin))
	}
	after := resident()
	u := m.stop()
	o.report(Result{Bench: "fanout", Case: fmt.Sprintf("%d-streams-memory", streams), Unit: "KB each", Figure: float64(after-before) / streams / 1000, Limit: 100}, u)
	last := &served{took: took}
	o.report(Result{Bench: "fanout", Case: fmt.Sprintf("%d-streams-all", streams), Unit: "ms", Figure: last.median()}, u)
	return nil
}

// resident is what the process has of memory, without what is garbage, in bytes.
func resident() int64 {
	debug.FreeOSMemory()
	n, _ := status("VmRSS:")
	return n
}

// carry brings the n-th block, from 0, into the collection: some objects, and an
// address that comes with each.
func (s *system) carry(n int) error {
	g := group(0, uint64(n))
	a := netip.AddrFrom4([4]byte{240, 0, 0, 1})
	g.Needs = []record.Object{{ID: stix.AddressID(a), Raw: stix.AppendAddress(nil, a, stix.AddressID(a))}}
	done := make(chan error, 1)
	share := record.Share{Collection: "team", Label: tlp.Amber, Groups: []*record.Group{g}}
	s.Journal.Deliver(share, "bench", uint64(n+1), func(_ uint64, err error) { done <- err })
	return <-done
}

// everybody waits until each has got as many objects as it wants, and no more.
func everybody(ctx context.Context, got []atomic.Int64, wants []int64, failed *atomic.Pointer[error]) error {
	deadline := time.After(time.Minute)
	for i := 0; i < len(got); {
		switch n, want := got[i].Load(), wants[i]; {
		case n == want:
			i++
			continue
		case n > want:
			return fmt.Errorf("bench: a stream has %d objects, not %d", n, want)
		}
		if err := failed.Load(); err != nil {
			return *err
		}
		select {
		case <-time.After(time.Millisecond):
		case <-deadline:
			return fmt.Errorf("bench: a stream has %d objects of %d after a minute", got[i].Load(), wants[i])
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// follow asks for the events of the team's collection from a block on.
func (s *system) follow(ctx context.Context, token string, from int) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(s.HTTPURL(), "http://"))
	if err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /v1/collections/team/events?from=%d HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n", from,
		base64.StdEncoding.EncodeToString([]byte("team:"+token)))
	return conn, err
}

// count counts the objects of a stream, each of which has its name once.
func count(conn io.Reader, objects *atomic.Int64) error {
	const mark = `"name":"Rustock infection"`
	in := bufio.NewReaderSize(conn, 2<<10)
	for first := true; ; first = false { // less than http.ReadResponse takes of memory
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if first && !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
			return fmt.Errorf("bench: a stream was answered %.60q", line)
		}
		if len(line) == len("\r\n") {
			break
		}
	}
	body := httputil.NewChunkedReader(in)
	buf := make([]byte, 1<<10)
	kept := 0
	for {
		n, err := body.Read(buf[kept:])
		text := buf[:kept+n]
		objects.Add(int64(bytes.Count(text, []byte(mark))))
		if at := bytes.LastIndex(text, []byte(mark)); at >= 0 {
			text = text[at+len(mark):]
		}
		kept = copy(buf, text[max(0, len(text)-len(mark)+1):])
		if errors.Is(err, io.EOF) {
			return io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
}
