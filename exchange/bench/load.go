package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// load reads pages over HTTP, on some connections for some time.
type load struct {
	url         func(r *rand.Rand) string
	user, token string
	connections int
	time        time.Duration
	encoding    string // Accept-Encoding
}

// served is what a load got.
type served struct {
	usage
	pages, bytes int64
	took         []time.Duration // for each page, ascending
}

// add adds what another run of the same load got.
func (s *served) add(o *served) {
	s.pages, s.bytes = s.pages+o.pages, s.bytes+o.bytes
	s.wall, s.cpu, s.peak = s.wall+o.wall, s.cpu+o.cpu, max(s.peak, o.peak)
	s.took = append(s.took, o.took...)
	slices.Sort(s.took)
}

func (s *served) perSecond() float64 { return float64(s.pages) / s.wall.Seconds() }
func (s *served) pageBytes() float64 { return float64(s.bytes) / float64(max(s.pages, 1)) }

// median is the time of a page, in milliseconds.
func (s *served) median() float64 {
	if len(s.took) == 0 {
		return 0
	}
	return float64(s.took[len(s.took)/2]) / float64(time.Millisecond)
}

func (l *load) run(ctx context.Context) (*served, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: l.connections, DisableCompression: true, ReadBufferSize: 64 << 10}}
	defer client.CloseIdleConnections()
	total := new(served)
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	m := goOn()
	for i := range l.connections {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			var mine served
			buf := make([]byte, 64<<10)
			for time.Since(m.at) < l.time {
				begin := time.Now()
				n, err := l.get(ctx, client, l.url(r), buf, io.Discard)
				if err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
				mine.pages, mine.bytes, mine.took = mine.pages+1, mine.bytes+n, append(mine.took, time.Since(begin))
			}
			mu.Lock()
			total.pages, total.bytes, total.took = total.pages+mine.pages, total.bytes+mine.bytes, append(total.took, mine.took...)
			mu.Unlock()
		})
	}
	wg.Wait()
	total.usage = m.stop()
	slices.Sort(total.took)
	return total, errors.Join(errs...)
}

// get reads one page.
func (l *load) get(ctx context.Context, client *http.Client, url string, buf []byte, to io.Writer) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Accept", taxii.MediaType)
	if l.encoding != "" {
		req.Header.Set("Accept-Encoding", l.encoding)
	}
	if l.user != "" {
		req.SetBasicAuth(l.user, l.token)
	}
	res, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Encoding") != l.encoding {
		return 0, fmt.Errorf("bench: %s answered %s, encoding %q", url, res.Status, res.Header.Get("Content-Encoding"))
	}
	return io.CopyBuffer(onlyWriter{to}, res.Body, buf)
}

// onlyWriter keeps io.CopyBuffer from using another buffer.
type onlyWriter struct{ io.Writer }

// fromMemory runs f with a server that has the bodies in memory; its URLs end
// with a body's number.
func fromMemory(bodies [][]byte, f func(base string) error) error {
	l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.URL.Path[1:])
		if err != nil || n >= len(bodies) {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", taxii.MediaType)
		w.Header().Set("Content-Length", strconv.Itoa(len(bodies[n])))
		_, _ = w.Write(bodies[n])
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	err = f("http://" + l.Addr().String() + "/")
	err = errors.Join(err, server.Close())
	if served := <-done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}
