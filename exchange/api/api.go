// Package api is the exchange's HTTP face: the TAXII backend, publishing, and
// reading and administration under /v1. It finds out who a caller is and asks policy
// what that caller may do; reading needs a right of policy.ToRead or policy.ToTake.
package api

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/erasure"
	"github.com/tocsin-exchange/tocsin/exchange/misp"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/exchange/webhook"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// Journal is what the API asks of the journal.
type Journal interface {
	// Verify walks the chains of the collections.
	Verify(ctx context.Context, collections ...string) ([]record.Chain, error)
	// BlockAt returns a collection's block at a sequence, and false where there is none.
	BlockAt(ctx context.Context, collection string, sequence uint64) (*record.Block, bool, error)
	// Restarts lists how often the exchange was restored.
	Restarts() []record.Restart
	// Reposition makes a member's NATS consumer start at a sequence, 0 for now.
	Reposition(ctx context.Context, right policy.Read, sequence uint64) error
	// NamedConsumer makes a durable consumer of a member under a name, or with move makes it start there.
	NamedConsumer(ctx context.Context, right policy.Read, name string, move bool, start uint64) (string, error)
	// RemoveNamed removes it, and reports whether it was there.
	RemoveNamed(ctx context.Context, right policy.Read, name string) (bool, error)
	// OwnConsumer makes a NATS consumer for one subscriber of a member.
	OwnConsumer(ctx context.Context, right policy.Read, sequence uint64) (name string, err error)
	// SetStatus keeps a text under an id for two days, on all nodes.
	SetStatus(ctx context.Context, id string, text []byte) error
	Status(ctx context.Context, id string) (text []byte, found bool, err error)
	// SetReceipt keeps a publisher's receipt, on all nodes.
	SetReceipt(ctx context.Context, id string, text []byte) error
	Receipt(ctx context.Context, id string) (text []byte, found bool, err error)
	// SetUsed keeps when a credential was last used.
	SetUsed(ctx context.Context, key string, at time.Time) error
	Used(ctx context.Context, key string) (time.Time, error)
	// ChangeState changes a text that is kept under a key; change leaves it by returning nil.
	ChangeState(ctx context.Context, key string, change func(old []byte) ([]byte, error)) error
	exchange.Auditor
	// VerifyAudit walks the audit's chain.
	VerifyAudit(ctx context.Context) (records int, err error)
}

// Parts are what the API stands on.
type Parts struct {
	Register *register.Store
	Access   *access.InForce
	View     *view.View
	Journal  Journal
	// Backup writes all that the exchange has.
	Backup func(ctx context.Context, to io.Writer) error
	// Erase takes from readers what an order erases, and has the files written anew at the next start.
	Erase     func(ctx context.Context, o *erasure.Order) (*Erased, error)
	Admission *admission.Admission
	Webhooks  *webhook.Sender
	Poster    *submission.Poster
	// ParseNetworks checks a networks table and returns its canonical text.
	ParseNetworks func(text []byte) (canonical []byte, prefixes int, err error)
	// PlanBackfill counts what a change of the register would give members of the past.
	PlanBackfill func(ctx context.Context, base, next *exchange.Register) ([]admission.Planned, error)
	// Ready reports why the node is not ready, nil when it is.
	Ready func(ctx context.Context) error
	// Room reports, as an exchange.ErrFull, that the disk is full, or, as an exchange.ErrDamaged, that nothing is taken in; nil
	// where neither is so.
	Room func() error
	// Damaged is what is known of damage to a stream, nil where nothing is.
	Damaged func(stream string) error
	// Open is closed when there is something to be read; until then all but
	// /healthz answers 503. nil is open.
	Open <-chan struct{}
	// PublicURL is where callers reach the exchange, without a slash at its
	// end; "" takes each request's own host.
	PublicURL string
	// Limits bound what callers are given.
	Limits Limits
	// BehindProxy are the proxies whose X-Forwarded-For tells where requests come from.
	BehindProxy []netip.Prefix
	// NATS is where members connect, "" where they cannot.
	NATS    func() string
	Metrics *Metrics
	Log     *slog.Logger
	// TAXII, where it is set, goes between the exchange and its TAXII server.
	TAXII func(taxiiserver.Backend) taxiiserver.Backend
}

// API answers HTTP requests. It is safe for concurrent use.
type API struct {
	Parts
	mux       *http.ServeMux // of the routes that are no TAXII
	taxii     *taxiiserver.Server
	cached    eventCache
	uses      uses
	limits    limiter
	refused   refusals
	quotas    quotas
	open      requests
	mispFeeds *misp.Feeds // for MISP
}

// New makes the API; it answers once an access is in force.
func New(p Parts) *API {
	a := &API{Parts: p, mispFeeds: misp.New(p.View)}
	a.uses.a, a.limits.Limits, a.refused.audit = a, p.Limits.withDefaults(), p.Journal.Audit
	a.quotas.change, a.quotas.day, a.quotas.standing = p.Journal.ChangeState, int64(a.limits.DayBytes), int64(a.limits.StandingBytes)
	p.Poster.Stands = a.quotas.stand
	var b taxiiserver.Backend = backend{a}
	if p.TAXII != nil {
		b = p.TAXII(b)
	}
	a.mux = a.newMux()
	secret, old := p.Register.CursorKeys(time.Now())
	a.taxii = taxiiserver.New(b, taxiiserver.Options{Secret: secret, Old: old, Log: p.Log})
	return a
}
