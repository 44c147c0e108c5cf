package api

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/admission"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/stix/tlp"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// maxPending is how many chunks of one request may be on their way; it is what
// holds the publisher's socket back.
const maxPending = 4

// visibleWait bounds how long an answer waits for this node's view, in which who asked
// may look at once. What it promises is durable before that.
const visibleWait = 30 * time.Second

// visible waits for the view to have what the journal has up to the sequences.
func (a *API) visible(ctx context.Context, intake, blocks uint64) {
	soon, stop := context.WithTimeout(ctx, visibleWait)
	defer stop()
	_ = a.View.Wait(soon, intake, blocks)
}

// publish takes a publisher's rows: POST /v1/feeds/{feed}/events. The body
// streams; it becomes one intake record for every two thousand events or so.
// The answer comes when all of it is in the journal's blocks and, unless ?wait
// is durable, can be read on this node.
func (a *API) publish(r *request) (any, error) {
	feed := r.x.Register.Feed(r.PathValue("feed"))
	if feed == nil || !policy.MayPublish(r.x.Register, r.caller, feed) {
		return nil, taxiiserver.ErrNotFound
	}
	in, err := newIngest(a, r, feed)
	if err != nil {
		return nil, err
	}
	action := exchange.AuditPublished
	if strings.HasSuffix(r.Pattern, "/recall") {
		action = exchange.AuditRecalled
		in.key = "" // what is recalled twice is recalled; and the same rows may have come again in between
		if in.recall, err = reasonOf(r); err != nil {
			return nil, err
		}
		if in.records, err = a.recordsOf(r, feed.ID); err != nil {
			return nil, err
		}
	}
	err = in.run(r.Context())
	status := http.StatusOK
	var file *report.FileError
	switch {
	case errors.As(err, &file):
		in.receipt.AddProblem(file.Problem)
		status = http.StatusUnprocessableEntity
	case err != nil:
		return nil, err
	}
	a.Metrics.receipt(&in.receipt)
	if !in.dry {
		a.tell(r.Request, &r.caller, exchange.AuditEntry{Action: action, Feed: in.feed, Count: in.receipt.Rows, Detail: in.recall})
	}
	if in.replayed > 0 && in.replayed == in.settled {
		r.w.Header().Set("Idempotent-Replayed", "true")
	}
	if err := in.keep(r.Context()); err != nil {
		return nil, err
	}
	writeJSON(r.w, status, policy.Shown(r.x.Register, &in.receipt, r.caller.Member))
	return nil, nil
}

// keep makes the receipt one that can be read again. A request that is repeated
// has the receipt of the first.
func (in *ingest) keep(ctx context.Context) error {
	if in.dry {
		return nil
	}
	id := uuid.New()
	if in.key != "" {
		id = uuid.NewSHA1(uuid.NameSpaceOID, []byte("tocsin receipt "+in.feed+" "+in.key))
	}
	in.receipt.ID = id.String()
	if in.replayed > 0 { // with fewer rows, it may be
		kept, found, err := in.a.keptReceipt(ctx, in.receipt.ID)
		if err != nil || found && kept.Rows > in.receipt.Rows {
			return err
		}
	}
	text, err := json.Marshal(keptReceipt{&in.receipt, in.made})
	if err != nil {
		return err
	}
	return in.a.Journal.SetReceipt(ctx, in.receipt.ID, text)
}

// keptReceipt is a receipt with what it is of, which is nobody else's to know: the sequences of intake records.
type keptReceipt struct {
	*exchange.Receipt
	Records []uint64 `json:"records,omitempty"`
}

// readReceipt answers a receipt again: GET /v1/receipts/{id}.
func (a *API) readReceipt(r *request) (any, error) {
	id, err := uuid.Parse(r.PathValue("receipt"))
	if err != nil {
		return nil, taxiiserver.ErrNotFound
	}
	receipt, found, err := a.keptReceipt(r.Context(), id.String())
	if err != nil || !found {
		return nil, orMissing(err)
	}
	if f := r.x.Register.Feed(receipt.Feed); f == nil || !policy.MayPublish(r.x.Register, r.caller, f) {
		return nil, taxiiserver.ErrNotFound
	}
	return policy.Shown(r.x.Register, receipt, r.caller.Member), nil
}

func (a *API) keptReceipt(ctx context.Context, id string) (receipt *exchange.Receipt, found bool, err error) {
	text, found, err := a.Journal.Receipt(ctx, id)
	if err != nil || !found {
		return nil, false, err
	}
	receipt = new(exchange.Receipt)
	err = json.Unmarshal(text, receipt)
	return receipt, err == nil, err
}

// body remembers why it could not be read to its end.
type body struct {
	r   io.Reader
	n   atomic.Int64 // bytes that were read
	err error
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.n.Add(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// ingest is one publishing request.
type ingest struct {
	a     *API
	r     *request
	body  body
	opt   report.Options
	feed  string
	key   string
	label tlp.Level
	dry   bool
	// recall takes rows back, for the reason that it is; records are the intake records whose events are meant, instead of rows.
	recall  string
	records []uint64
	made    []uint64 // records
	// visible lets the answer wait for this node's view.
	visible bool

	receipt           exchange.Receipt
	rest              exchange.Receipt // what is to be said after the last row; parse writes it
	pending           []*admission.Pending
	counted           int64  // bytes of the body
	settled, replayed int    // chunks
	intake, blocks    uint64 // the highest sequences
}

func newIngest(a *API, r *request, feed *exchange.Feed) (*ingest, error) {
	q := r.URL.Query()
	bad := func(what string, err error) error {
		return fail(http.StatusBadRequest, "Bad parameter", "%s: %v", what, err)
	}
	in := &ingest{a: a, r: r, body: body{r: r.Body}, feed: feed.ID, key: r.Header.Get("Idempotency-Key"), dry: r.flag("dry_run"), visible: q.Get("wait") != "durable"}
	in.receipt = exchange.Receipt{Feed: feed.ID, Collections: make(map[string]int64)}
	if len(in.key) > 200 || strings.ContainsFunc(in.key, func(c rune) bool { return c < 0x21 || c > 0x7e }) {
		return nil, fail(http.StatusBadRequest, "Bad header", "Idempotency-Key: at most 200 printable ASCII characters without spaces")
	}
	in.opt.Name = q.Get("name")
	in.opt.Format, in.opt.Keep = q.Get("format"), feed.Evidence == exchange.EvidenceAll
	if in.opt.Format == "" {
		// Other types leave it to the content: every JSON format comes as lines.
		if typ, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); typ == "application/stix+json" || typ == "application/taxii+json" {
			in.opt.Format = report.STIX
		}
	}
	if err := report.CheckFormat(in.opt.Format); err != nil {
		return nil, bad("format", err)
	}
	for _, m := range q["map"] {
		from, to, ok := strings.Cut(m, "=")
		if !ok {
			return nil, bad("map", fmt.Errorf("%.60q is not column=field", m))
		}
		if in.opt.Map == nil {
			in.opt.Map = make(map[string]string)
		}
		in.opt.Map[from] = to
	}
	if err := report.CheckMap(in.opt.Map); err != nil {
		return nil, bad("map", err)
	}
	if s := q.Get("line"); s != "" {
		n, err := strconv.ParseInt(s, 10, 62)
		if err != nil || n < 1 {
			return nil, bad("line", fmt.Errorf("%.20q is not a line number", s))
		}
		in.opt.FirstLine = int(n)
	}
	if err := in.label.UnmarshalText([]byte(q.Get("tlp"))); err != nil {
		return nil, bad("tlp", err)
	}
	return in, nil
}

// run parses in one goroutine and admits in this one, so that both cores work.
// It returns the first error; what was admitted before it is in the receipt.
func (in *ingest) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	chunks := make(chan *admission.Chunk, 1)
	parsed := make(chan error, 1)
	// Whatever ends the request also ends a read from the publisher's socket.
	control := http.NewResponseController(in.r.w)
	stop := context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Now()) })
	defer func() {
		if !stop() { // the server takes the deadline for a hang-up: what came next on the connection would fail
			in.r.w.Header().Set("Connection", "close")
		}
	}()
	go func() {
		defer close(chunks)
		defer func() {
			if p := recover(); p != nil { // it is the request's, not the process's
				// Where, and not what: that can be of a row.
				parsed <- fmt.Errorf("a parser failed (%T): %s", p, debug.Stack())
			}
		}()
		if in.records != nil {
			parsed <- in.again(ctx, chunks)
			return
		}
		parsed <- in.parse(ctx, chunks)
	}()
	var err error
	for s := range chunks {
		if err == nil {
			if err = in.admit(ctx, s); err != nil {
				cancel()
			}
		}
	}
	parseErr := <-parsed
	in.receipt.Add(&in.rest)
	for err == nil && len(in.pending) > 0 {
		err = in.settle(ctx)
	}
	if err != nil {
		return err
	}
	if in.visible {
		in.a.visible(ctx, in.intake, in.blocks)
	}
	return parseErr
}

func (in *ingest) admit(ctx context.Context, s *admission.Chunk) error {
	// A request can go on for hours: the right to publish is looked at each time.
	if !in.a.stillMayPublish(in.r, in.feed) {
		return taxiiserver.ErrNotFound
	}
	if err := in.count(ctx, s); err != nil {
		return err
	}
	for len(in.pending) >= maxPending {
		if err := in.settle(ctx); err != nil {
			return err
		}
	}
	p, err := in.a.Admission.Admit(ctx, s)
	if err != nil {
		return err
	}
	in.pending = append(in.pending, p)
	return nil
}

// leastEvent is what an event counts as at least, in bytes: compressed rows take more than was sent.
const leastEvent = 128

// count counts a chunk, and refuses it where its publisher has sent too much before.
func (in *ingest) count(ctx context.Context, s *admission.Chunk) error {
	if in.dry {
		return nil
	}
	q, member, now := &in.a.quotas, in.r.caller.Member, time.Now()
	if err := q.may(ctx, member, now); err != nil {
		return err
	}
	read := in.body.n.Load()
	q.sent(member, max(read-in.counted, int64(leastEvent*len(s.Events))), now)
	in.counted = read
	return nil
}

// stillMayPublish looks at the caller's rights as they are now.
func (a *API) stillMayPublish(r *request, feed string) bool {
	x := a.Access.Load()
	f := x.Register.Feed(feed)
	who, err := callerOf(x, r.Request)
	return err == nil && who.Is(&r.caller) && f != nil && policy.MayPublish(x.Register, who, f)
}

// settle waits for the oldest chunk and adds its receipt.
func (in *ingest) settle(ctx context.Context) error {
	p := in.pending[0]
	if err := p.Wait(ctx); err != nil {
		return err
	}
	in.pending = in.pending[1:]
	in.receipt.Add(&p.Receipt)
	in.intake, in.blocks = max(in.intake, p.Intake), max(in.blocks, p.Blocks)
	if p.Intake != 0 {
		in.made = append(in.made, p.Intake)
	}
	in.settled++
	if p.Replayed {
		in.replayed++
	}
	return nil
}

// parse cuts the rows into chunks: at a number of events, of bytes of text, or
// of problems.
func (in *ingest) parse(ctx context.Context, out chan<- *admission.Chunk) error {
	rd, err := report.NewReader(&in.body, in.opt)
	if in.body.err != nil {
		return in.body.err
	}
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		s, err := in.chunk(rd, n)
		if in.body.err != nil {
			// What was read of this chunk is not what its key is for.
			return in.body.err
		}
		if s.Receipt.Rows == 0 {
			in.rest = s.Receipt
		} else {
			select {
			case out <- s:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// chunk reads one chunk; its key is the request's and its number in it.
func (in *ingest) chunk(rd *report.Reader, number int) (*admission.Chunk, error) {
	s := &admission.Chunk{Feed: in.feed, Label: in.label, DryRun: in.dry, Recall: in.recall, Events: make([]exchange.Event, 0, admission.MaxEvents)}
	if in.key != "" && !in.dry {
		s.Key = in.key + "/" + strconv.Itoa(number)
	}
	sum := sha256.New()
	defer func() {
		sum.Sum(s.Hash[:0])
		s.Receipt.Notes, s.Receipt.Unread = rd.Noted()
	}()
	text := 0
	var row *report.RowError
	for len(s.Events) < admission.MaxEvents && text < admission.MaxText && len(s.Receipt.Problems) < exchange.MaxProblems {
		n := len(s.Events)
		ev := &s.Events[:n+1][n]
		err := rd.Next(ev)
		switch {
		case err == nil:
			s.Events = s.Events[:n+1]
			text += len(ev.Hostname) + len(ev.Malware) + len(ev.Protocol) + len(ev.Provider) + len(ev.PublisherID) + len(ev.Extra) + len(ev.Account)
			id := ev.ID()
			_, _ = sum.Write(id[:])
		case errors.As(err, &row):
			s.Receipt.Rejected++
			s.Receipt.AddProblem(row.Problem)
		default:
			return s, err
		}
		s.Receipt.Rows++
	}
	return s, nil
}
