// Package bench measures the exchange on its own path (HTTP, a journal that syncs
// before it acknowledges, the view) beside what the same machine does with the
// bare parts, in the same run: a figure alone says more about the machine than
// about the exchange.
//
// Publishers and readers run in this process too, on the same cores, so CPU and
// memory are those of both ends.
package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// Result is one case: what the exchange does, beside its limit.
type Result struct {
	Bench string `json:"bench"`
	Case  string `json:"case"`
	// Figure and Limit are in the same unit; Ratio is Figure over Limit, 0 where
	// there is no limit.
	Figure float64 `json:"figure"`
	Unit   string  `json:"unit"`
	Limit  float64 `json:"limit"`
	Ratio  float64 `json:"ratio"`
	// CPUSeconds is what the figure took of all cores, PeakRSSBytes the process's
	// largest resident set meanwhile.
	CPUSeconds   float64 `json:"cpu_seconds"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
}

// Bench is one of the benches. Long says what its limits are.
type Bench struct {
	Name, Short, Long string
	// Cases are those that Options.Only can name.
	Cases []string
	Run   func(ctx context.Context, o Options) error
}

// All lists the benches.
var All = []Bench{
	{
		"ingest", "Publish a sinkhole log, and post indicators over TAXII",
		"From CSV to readable over TAXII everywhere; the limit is the same blocks appended to a\nbare stream, synced as ours; for archived the same without an archive. A lone event wants less than 20 ms.",
		[]string{"observation", "infection", "post-1000", "lone", "archived", "days", "again"},
		Ingest,
	},
	{
		"page", "Read random pages of a large collection over TAXII",
		"Eight readers, each request with its token; the limit is the same bytes served by\nnet/http from memory, for other endpoints as many bytes a second as the plain page.\nOne reader alone wants less than 5 ms.",
		[]string{"random-1000", "random-1000-gzip", "random-1000-zstd", "match-type", "match-id-100", "manifest"},
		Page,
	},
	{
		"fanout", "Send blocks to 200 members over NATS, and to 5,000 event streams",
		"How long a block takes until its reader has it; the limit is a bare stream with bare\nconsumers at the same pace. An event stream wants less than 100 KB of memory.",
		[]string{"members", "streams"},
		Fanout,
	},
	{
		"scale", "Compare a large exchange with a small one",
		"The limit is the small one; for a rebuild, reading the same blocks and writing the same\nkeys with nothing in between; for a start, 2 s.",
		[]string{"versions", "size"},
		Scale,
	},
}

// Options say how much to measure, and where.
type Options struct {
	// Full runs the sizes that the claims are about: minutes, and gigabytes of
	// disk.
	Full bool
	// Only, where it is not "", is the one case to run.
	Only string
	// Dir is for the files, which are deleted afterwards; "" is the system's
	// directory for temporary ones.
	Dir string
	// Report is given each case when it is done.
	Report func(Result)
}

// wants reports whether a case is to be run.
func (o *Options) wants(name string) bool { return o.Only == "" || o.Only == name }

// size chooses by Full.
func (o *Options) size(usual, full int) int {
	if o.Full {
		return full
	}
	return usual
}

// report fills in what follows from the rest.
func (o *Options) report(r Result, u usage) {
	if r.Limit > 0 {
		r.Ratio = r.Figure / r.Limit
	}
	r.CPUSeconds, r.PeakRSSBytes = u.cpu.Seconds(), u.peak
	o.Report(r)
}

// temporary calls f with a directory of its own.
func (o *Options) temporary(f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(o.Dir, "tocsin-bench-")
	if err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return f(dir)
}

// system is an exchange under measurement.
type system struct{ *node.Node }

// open opens an exchange on a directory, with a register where one is given.
func (o *Options) open(ctx context.Context, dir string, file []byte, change ...func(*node.Options)) (*system, error) {
	opt := node.Options{Dir: filepath.Join(dir, "exchange"), HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0"}
	// One member stands for many here.
	opt.Limits = api.Limits{Requests: 1e6, Bytes: 1 << 40, Concurrent: 1e6, AllConcurrent: 1e6, Streams: 1e6, AllStreams: 1e6}
	for _, f := range change {
		f(&opt)
	}
	n, err := node.Open(ctx, opt)
	if err != nil {
		return nil, err
	}
	s := &system{n}
	if file == nil {
		return s, nil
	}
	f, err := register.Parse(file)
	if err == nil {
		_, err = n.Register.Change(ctx, "bench", func(r *exchange.Register) error {
			f.Apply(r, false, time.Now())
			return nil
		})
	}
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *system) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return s.Close(ctx)
}

// during opens an exchange for the time of f.
func (o *Options) during(ctx context.Context, dir string, file []byte, f func(s *system) error, change ...func(*node.Options)) error {
	s, err := o.open(ctx, dir, file, change...)
	if err != nil {
		return err
	}
	return errors.Join(f(s), s.close())
}

// operator is the client of the exchange's operator.
func (s *system) operator() *apiclient.Client {
	return &apiclient.Client{Server: s.HTTPURL(), User: exchange.Admin, Token: s.AdminToken(), HTTP: taxiiclient.NewHTTP()}
}
