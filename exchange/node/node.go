// Package node is one running exchange: it opens the parts in the only legal
// order and closes them in the only other one.
//
// Opening: lock, broker, register, journal, view, HTTP (which answers 503 for now), the view catches up with the
// journal, admission delivers what a crash left between intake and blocks, submission adds what it was marking anew,
// what was removed leaves the journal, the register has to fit what the collections hold. Closing: HTTP, admission, followers,
// packers, view, broker, lock.
// What was acknowledged is durable at any moment; closing only saves the next
// start some work.
package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/archive"
	"github.com/tocsin-exchange/tocsin/exchange/broker"
	"github.com/tocsin-exchange/tocsin/exchange/clock"
	"github.com/tocsin-exchange/tocsin/exchange/constituency"
	"github.com/tocsin-exchange/tocsin/exchange/journal"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/removal"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// ErrLocked means that another process has the data directory open.
var ErrLocked = errors.New("the data directory is in use by another process")

// Options configure a node.
type Options struct {
	// Dir holds everything: journal, register, view, admin.token.
	Dir string
	// HTTP and NATS are the addresses to listen on; "" opens no port.
	HTTP, NATS string
	// NATSURLs are NATS servers of their own, in place of the embedded one; NATSKeys are the keys
	// for them.
	NATSURLs []string
	NATSKeys *broker.Keys
	// CertFile and KeyFile turn on TLS for both.
	CertFile, KeyFile string
	// ClientCA names a file with the authorities whose client certificates are
	// taken over HTTPS; "" asks for none.
	ClientCA string
	// Metrics is an address for /metrics alone, without credentials; "" for none.
	Metrics string
	// PublicURL is where callers reach the exchange, when that is not where it
	// listens; without a slash at its end.
	PublicURL string
	// CacheBytes bounds the view's cache of blocks; 0 means 64 MiB.
	CacheBytes int64
	// Memory is what the process aims to stay within, in bytes; 0 means 768 MiB.
	// Open sets the runtime's limit by it, which is one for all nodes of a process.
	Memory int64
	// Reserve is how many bytes of the disk have to be free for more to be taken in; 0 means 64 MiB, or
	// half of a smaller disk.
	Reserve uint64
	// KeepAudit is how long the audit is kept; 0 for ever.
	KeepAudit time.Duration
	// Secret is what a new exchange makes the identifiers of its objects under; nil for a random one. The demo and
	// tests have a fixed one.
	Secret []byte
	// RestoreWindow is for how long orders to erase are carried out again after a restore; 0 means 400 days. Then their keys are
	// destroyed.
	RestoreWindow time.Duration
	// Maintenance is the time of the day, in UTC, at which the node wants to be opened again where something is erased or too old.
	Maintenance time.Duration
	// Limits bound what callers are given over HTTP.
	Limits api.Limits
	// BehindProxy are the proxies in front that tell where requests come from, in
	// X-Forwarded-For.
	BehindProxy []netip.Prefix
	// Scrub is how often the journal's files are read, to see whether they are whole; 0 means every six hours.
	Scrub time.Duration
	// Webhooks is how often webhooks' receivers are asked; the zero value is webhook.DefaultPace.
	Webhooks webhook.Pace
	// Archive is where the exchange is archived; its zero value is nowhere.
	Archive ArchiveOptions
	// TrustClock says that the machine's clock is right, however long the exchange did not run. Wall is that clock; nil for
	// time.Now.
	TrustClock bool
	Wall       func() time.Time
	// Drill sends nothing to anybody: what was restored is tried, and thrown away.
	Drill bool
	// Tap is given what is written to the view, for measuring.
	Tap func(batch []byte)
	// Log is told what an operator should know; nil drops it.
	Log *slog.Logger
	// TAXII, where it is set, goes between the exchange and its TAXII server.
	TAXII func(taxiiserver.Backend) taxiiserver.Backend
}

// Node is a running exchange.
type Node struct {
	Register *register.Store
	Journal  *journal.Journal
	View     *view.View

	opt        Options
	log        *slog.Logger
	lock       *flock.Flock
	broker     *broker.Broker
	archiver   *archive.Archiver // nil for none
	clock      *clock.Clock
	remover    *removal.Remover
	admission  *admission.Admission
	backfiller *admission.Backfiller
	api        *api.API
	webhooks   *webhook.Sender
	token      string
	listener   net.Listener
	servers    []*http.Server
	stop       context.CancelFunc // of the followers
	wg         sync.WaitGroup

	// gate is held for writing while the register is changed in a way that what
	// is on its way could stand against.
	gate sync.RWMutex

	access access.InForce
	logins atomic.Pointer[access.Logins] // of the register in force
	full   atomic.Bool                   // the disk, when it was looked at last

	damage atomic.Pointer[[]finding] // what is known of damage to the journal

	rights  sync.Mutex // guards what is below, up to failed
	expires time.Time  // when the next credential ends, zero for none

	failed atomic.Pointer[error] // why the node has failed
	done   chan struct{}         // closed when it has
	// maintenance is closed when the node is to be closed and opened again.
	maintenance chan struct{}
	once        sync.Once
	disk        atomic.Pointer[error] // why it cannot be written, nil where it can
	durables    atomic.Pointer[error] // why members' consumers are not as the register says

	applying sync.Mutex // held while a version of the register is put in force; guards what is below
	wanted   []policy.Read
	applied  *exchange.Register
	networks *constituency.Networks
	netKey   string
	route    func(*exchange.Feed) *constituency.Router // the tables in force
	routed   *constituency.Networks                    // that they were made with

	open     chan struct{} // closed when members may log in
	requests requests
	halt     context.CancelFunc // of requests under way
}

// Open opens an exchange and returns once it is ready: what the journal holds is
// in the view, and what a crash has left undone is done.
func Open(ctx context.Context, opt Options) (n *Node, err error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	opt.Memory = cmp.Or(opt.Memory, 768<<20)
	limitHeap(opt.Memory)
	spareProcessor()
	n = &Node{opt: opt, log: opt.Log, done: make(chan struct{}), maintenance: make(chan struct{}), open: make(chan struct{})}
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close(context.WithoutCancel(ctx)))
			n = nil
		}
	}()
	if err := n.openStores(ctx); err != nil {
		return n, err
	}
	if err := n.openExchange(ctx); err != nil {
		return n, err
	}
	return n, n.announce()
}

// run has something go on until ctx ends; where it fails, the node does.
func (n *Node) run(ctx context.Context, what string, f func() error) {
	n.wg.Go(func() {
		err := f()
		switch {
		case err != nil && ctx.Err() == nil:
			n.fail(fmt.Errorf("%s: %w", what, err))
		case err != nil && !errors.Is(err, context.Canceled):
			n.log.Error("not all was done before the stop", "what", what, "error", err)
		}
	})
}

// ready reports why the node is not ready.
func (n *Node) ready(ctx context.Context) error {
	if err := n.Err(); err != nil {
		return err
	}
	if n.diskFailed() { // what there is can be read
		return nil
	}
	if wrong := n.durables.Load(); wrong != nil {
		return *wrong
	}
	if broken := n.View.Broken(); len(broken) > 0 {
		return fmt.Errorf("chains do not hold: %v", broken)
	}
	return n.catchUp(ctx)
}

// fail ends the node: its state is not known to be good.
func (n *Node) fail(err error) {
	if n.Journal != nil && !n.diskFailed() && len(n.opt.NATSURLs) == 0 {
		if disk := n.probe(); disk != nil && !errors.Is(disk, errSlow) {
			n.diskFails(disk)
		}
	}
	if n.diskFailed() {
		n.log.Error("what was under way has failed with the disk", "error", err)
		return
	}
	if n.failed.CompareAndSwap(nil, &err) {
		n.log.Error("the exchange stops", "error", err)
		close(n.done)
	}
}

// Done is closed when the node has failed and must be closed.
func (n *Node) Done() <-chan struct{} { return n.done }

// Err returns why the node has failed, nil while it has not.
func (n *Node) Err() error {
	if err := n.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Close stops the exchange in order. Chunks under way are finished while ctx
// lasts.
func (n *Node) Close(ctx context.Context) error {
	var errs []error
	if n.halt != nil {
		n.halt()
	}
	if n.remover != nil {
		n.remover.Close()
	}
	for _, server := range n.servers {
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		if server.Shutdown(short) != nil {
			errs = append(errs, server.Close())
		}
		cancel()
	}
	n.requests.end()
	if n.admission != nil {
		if err := n.admission.Close(ctx); err != nil && n.Err() == nil {
			errs = append(errs, err)
		}
	}
	if n.api != nil {
		n.api.TellRefused()
		if n.room(false) == nil {
			errs = append(errs, n.api.SaveUsed(ctx))
		}
	}
	if n.stop != nil {
		n.stop()
	}
	n.wg.Wait()
	if n.stop != nil && n.Err() == nil && n.room(false) == nil {
		errs = append(errs, n.noteStop(ctx), n.noteTime())
		if err := n.ArchiveNow(ctx); err != nil { // the next start goes on with it
			n.log.Error("the archive is behind", "error", err)
		}
	}
	if n.Journal != nil {
		n.Journal.Close() // after the followers, who decompress
	}
	switch {
	case n.View == nil:
	case n.diskFailed() && n.probe() != nil: // Pebble would try again for ever; what it has in memory is made anew from the journal
		errs = append(errs, exchange.ErrDisk)
	default:
		errs = append(errs, n.View.Close(ctx))
	}
	switch {
	case n.broker == nil:
	case n.diskFailed(): // as after a crash: what the broker has in memory need not be on the disk
		errs = append(errs, n.broker.Close())
	default:
		errs = append(errs, stopBroker(n.opt.Dir, n.broker))
	}
	if n.lock != nil {
		_ = os.Remove(filepath.Join(n.opt.Dir, "address.json"))
		errs = append(errs, n.lock.Unlock())
	}
	return errors.Join(errs...)
}

func parseNetworks(text []byte) ([]byte, int, error) {
	rows, err := constituency.ParseTable(text, "")
	if err != nil {
		return nil, 0, err
	}
	return constituency.FormatNetworks(rows), constituency.NewNetworks(rows).Len(), nil
}
