package admission_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/metrics"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/packaging"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
)

// nowhere is a journal and a view that forget: what is left is parsing, deciding
// and packaging.
type nowhere struct {
	mu       sync.Mutex
	sequence uint64
	objects  int
}

func (n *nowhere) LastIntake(context.Context, string) (h record.Head, number uint64, err error) {
	return h, 0, nil
}

func (n *nowhere) Heads() (blocks, audit record.Head) { return record.Head{}, record.Head{} }

func (n *nowhere) AppendIntake(_ context.Context, _ string, _ []byte, after uint64) (record.Head, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sequence = after + 1
	return record.Head{Sequence: n.sequence}, nil
}

func (*nowhere) HostRecords(string, exchange.HostDay) ([]uint64, error) { return nil, nil }
func (*nowhere) Intake(uint64) (*record.Intake, error)                  { return nil, exchange.ErrRecord }

func (n *nowhere) Deliver(share record.Share, _ string, sequence uint64, done func(uint64, error)) {
	n.mu.Lock()
	for _, g := range share.Groups {
		n.objects += len(g.Objects) + len(g.Needs)
	}
	n.mu.Unlock()
	done(sequence, nil)
}

func (n *nowhere) DeliveredTo(context.Context, string) (uint64, error)  { return 0, nil }
func (n *nowhere) SetDeliveredTo(context.Context, string, uint64) error { return nil }
func (n *nowhere) Wait(context.Context, uint64, uint64) error           { return nil }
func (n *nowhere) Snapshot(string) (record.Snapshot, error)             { return n, nil }
func (n *nowhere) Has(string, record.Version) (bool, error)             { return false, nil }
func (n *nowhere) Host(exchange.HostDay) (record.HostSnapshot, error) {
	return record.HostSnapshot{}, nil
}

func (n *nowhere) Event(exchange.EventID) (known, delivered bool, e error) { return false, false, nil }
func (n *nowhere) Close() error                                            { return nil }

func (n *nowhere) EachIntake(context.Context, string, uint64, func(*record.Intake, uint64) error) error {
	return nil
}

func (n *nowhere) Delivered(string, string) (bool, error) { return false, nil }
func (n *nowhere) Histories() bool                        { return false }
func (n *nowhere) History(netip.Addr) (record.AddressHistory, error) {
	return record.AddressHistory{}, nil
}

func (n *nowhere) Seen(netip.Addr, time.Time) ([]record.Observation, error) { return nil, nil }

func (n *nowhere) Applied() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sequence
}

func (n *nowhere) Introduced(string, record.Introduction) (time.Time, bool, error) {
	return time.Now(), true, nil
}

func (n *nowhere) IntakeByKey(string, string) (*record.Intake, uint64, bool, error) {
	return nil, 0, false, nil
}

// BenchmarkPublish reads a Shadowserver report of a million rows, each of 39 columns and
// another host, decides who gets them, and packages them as observations: all that
// publishing does but for HTTP, journal and view. The memory is the most that was
// in use; it does not grow with the rows.
func BenchmarkPublish(b *testing.B) {
	text, err := os.ReadFile("../report/testdata/2026-03-19-event4_sinkhole_http-example.csv")
	if err != nil {
		b.Fatal(err)
	}
	head, row, _ := bytes.Cut(text, []byte{'\n'})
	before, after, _ := bytes.Cut(append(bytes.TrimSpace(row), '\n'), []byte("203.0.113.45"))
	for _, rows := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "2026-03-19-event4_sinkhole_http-example.csv")
			file, err := os.Create(path)
			if err != nil {
				b.Fatal(err)
			}
			out := bufio.NewWriter(file)
			_, _ = out.Write(append(head, '\n'))
			for i := range rows {
				_, _ = fmt.Fprintf(out, "%s240.%d.%d.%d%s", before, i>>16&255, i>>8&255, i&255, after)
			}
			if err := errors.Join(out.Flush(), file.Close()); err != nil {
				b.Fatal(err)
			}
			peak := 0.0
			for b.Loop() {
				peak = max(peak, publish(b, path, rows))
			}
			b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			b.ReportMetric(peak, "MiB")
		})
	}
}

// publish reads a file through admission, and returns the most memory in use, in MiB.
func publish(b *testing.B, path string, rows int) (peak float64) {
	register := &exchange.Register{Version: 1, IDs: exchange.NewIDs(nil), Members: []exchange.Member{
		{ID: "cert-pl", Name: "CERT", Kind: exchange.CSIRT, Clearance: tlp.AmberStrict, Constituency: exchange.Constituency{Countries: []string{"PL"}}},
		{ID: "dcu", Name: "DCU", Kind: exchange.Publisher, Clearance: tlp.AmberStrict},
	}, Feeds: []exchange.Feed{{
		ID: "rustock", Publisher: "dcu", Operation: "rustock", Malware: exchange.Malware{Name: "Rustock"}, DefaultTLP: tlp.Amber,
		Profile: exchange.ProfileObservation, AllowReserved: true,
	}}}
	n := new(nowhere)
	a := &admission.Admission{
		Removed: func(context.Context, string, uint64) error { return nil },
		Log:     n, History: n, Fatal: func(err error) { b.Error(err) }, Gate: new(sync.RWMutex),
		Packagers: &admission.Packagers{
			Register: func(context.Context, uint64) (*exchange.Register, error) { return register, nil }, Version: packaging.Version,
			New: func(r *exchange.Register, feed string) (admission.Packager, error) { return packaging.New(r, feed) },
		},
	}
	router := constituency.New(register.Members, nil, &register.Feeds[0])
	a.SetRules(&admission.Rules{Register: register, Router: func(*exchange.Feed) exchange.Tables { return router }})
	in, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	rd, err := report.NewReader(in, report.Options{})
	if err != nil {
		b.Fatal(err)
	}
	memory := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	s := &admission.Chunk{Feed: "rustock"}
	total := int64(0)
	chunks, ended := make(chan *admission.Chunk, 2), make(chan struct{})
	go func() {
		defer close(ended)
		for s := range chunks {
			p, err := a.Admit(b.Context(), s)
			if err != nil {
				b.Error(err)
				return
			}
			total += p.Receipt.Events
			metrics.Read(memory)
			peak = max(peak, float64(memory[0].Value.Uint64())/(1<<20))
		}
	}()
	for {
		var ev exchange.Event
		err := rd.Next(&ev)
		if err == nil {
			s.Events = append(s.Events, ev)
		} else if !errors.Is(err, io.EOF) {
			b.Fatal(err)
		}
		if len(s.Events) == admission.MaxEvents || err != nil {
			chunks <- s
			s = &admission.Chunk{Feed: "rustock", Events: make([]exchange.Event, 0, admission.MaxEvents)}
		}
		if err != nil {
			break
		}
	}
	close(chunks)
	<-ended
	if err := a.Close(b.Context()); err != nil {
		b.Fatal(err)
	}
	if total != int64(rows) || n.objects < 3*rows {
		b.Fatal(total, n.objects)
	}
	return peak
}
