package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// The pace of an event stream: a comment at least every heartbeat, and a reader
// who takes longer than slow for 64 KiB is cut; it resumes where it stood.
const (
	heartbeat = 15 * time.Second
	slow      = 30 * time.Second

	// An event has at most so many objects, and of more than one so many bytes.
	perEvent   = 500
	eventBytes = 1 << 20
)

// cursor is where a reader of an event stream stands, as its event ids say: the
// date_added of the last object it has. Of what was withdrawn up to gone it has been
// told, or it never had it. That spares noise and keeps no secret: a reader may ask for all that was withdrawn.
type cursor struct{ after, gone time.Time }

func (p cursor) String() string {
	if p.gone.After(p.after) {
		return fmt.Sprintf("%d-%d", micro(p.after), micro(p.gone))
	}
	return strconv.FormatInt(micro(p.after), 10)
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// parseCursor reads an id. One of before began with where the stream had started: such a stream may repeat what came since.
func parseCursor(s string) (cursor, error) {
	part := strings.Split(s, "-")
	bad, n := len(part) > 3, make([]uint64, 0, 3)
	for _, text := range part[:min(len(part), 3)] {
		micro, err := strconv.ParseUint(text, 10, 62)
		bad, n = bad || err != nil, append(n, micro)
	}
	if len(n) == 3 {
		n = n[1:]
	}
	n = append(n, n[0]) // nothing was told of behind it
	if bad || n[1] < n[0] {
		return cursor{}, fail(http.StatusBadRequest, "Bad Last-Event-ID", "%.60q is no id of an event of this stream; start without it", s)
	}
	return cursor{after: atMicro(n[0]), gone: atMicro(n[1])}, nil
}

func atMicro(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(n)).UTC()
}

// events streams a collection as it grows: GET /v1/collections/{id}/events. An
// event is a STIX bundle; Last-Event-ID resumes behind one without a gap or a
// repeat, where this version has made the id; an object that is added again comes again; from is start, now, or a block's
// number. What can be read over TAXII
// can be read here, by the same callers, for as long as they may.
func (a *API) events(w http.ResponseWriter, req *http.Request) {
	if err := a.stream(w, req); err != nil {
		a.fail(w, req, err)
	}
}

// followed returns the right to the stream's collection, if the caller may read it under the
// register in force.
func followed(x *access.Access, req *http.Request) (policy.Read, exchange.Caller, error) {
	who, err := callerOf(x, req)
	if err != nil {
		return nil, who, err
	}
	right := x.Read(who, req.PathValue("collection"), exchange.ChannelEvents)
	switch {
	case right == nil && who.Member == exchange.Anybody:
		err = taxiiserver.ErrUnauthorized
	case right == nil:
		err = taxiiserver.ErrNotFound
	}
	return right, who, err
}

func (a *API) stream(w http.ResponseWriter, req *http.Request) error {
	x := a.Access.Load()
	if x == nil {
		return taxiiserver.ErrUnavailable
	}
	right, who, err := followed(x, req)
	if errors.Is(err, taxiiserver.ErrUnauthorized) {
		a.failedLogin(x, req)
	}
	if err != nil {
		return err
	}
	a.uses.note(req.Context(), &who)
	at, err := a.startEvents(req, right.Collection())
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold events back
	out := &eventWriter{w: w, c: http.NewResponseController(w)}
	if req.Method == http.MethodHead {
		return nil
	}
	// The id alone: whoever is cut before the first event resumes from here too.
	if out.write([]byte("retry: 1000\nid: " + at.String() + "\n\n")) {
		a.follow(req, &who, out, right, at)
	}
	return nil
}

// follow writes events until the reader is gone or may not read any more. The
// right is looked at behind each read, so that nothing goes out that came in
// after it had ended.
func (a *API) follow(req *http.Request, began *exchange.Caller, out *eventWriter, right policy.Read, at cursor) {
	c, seen := right.Collection(), ""
	for {
		changed, state := a.View.Changed(c.ID), a.View.State(c.ID)
		var next *pageEvent
		if state != seen {
			var err error
			next, err = a.cached.get(req.Context(), eventKey{c.ID, state, micro(at.after)}, func() (*view.Page, []byte, error) {
				p, err := a.View.Page(req.Context(), right, view.Query{After: at.after, Limit: perEvent, Bytes: eventBytes})
				if err != nil {
					return nil, nil, err
				}
				data, err := eventData(c.ID, p)
				return p, data, err
			})
			if err != nil {
				if req.Context().Err() == nil {
					a.streamFailed(c.ID, err)
					out.closeWithReason("the exchange cannot go on")
				}
				return
			}
			if !next.more { // this state has nothing behind it
				seen = state
			}
		}
		behind := at.after
		if at.gone.After(behind) {
			behind = at.gone
		}
		gone, err := a.View.Withdrawn(right, behind, maxWithdrawn)
		if err != nil {
			a.streamFailed(c.ID, err)
			out.closeWithReason("the exchange cannot go on")
			return
		}
		x, replaced := a.Access.Watch()
		now, who, err := followed(x, req)
		if err != nil || now.Collection().UUID != c.UUID {
			a.tell(req, began, exchange.AuditEntry{Action: exchange.AuditCut, Channel: exchange.ChannelEvents, Collection: c.ID})
			out.closeWithReason("you may not read this collection any more")
			return
		}
		right = now
		for _, w := range gone {
			if at.gone = w.At; next == nil || next.data == nil {
				at.after = w.At // nothing else is behind it yet
			}
			if !out.write(withdrawal(at, &w)) {
				return
			}
		}
		if len(gone) == maxWithdrawn { // there may be more, which come before what is new
			seen = ""
			continue
		}
		if next != nil && next.data != nil {
			at.after = next.last
			a.tell(req, &who, exchange.AuditEntry{
				Action: exchange.AuditRead, Channel: exchange.ChannelEvents, Collection: c.ID, First: next.first, Last: next.last, Count: int64(next.count),
			})
			if !out.write([]byte("id: "+at.String()+"\n"), next.data) {
				return
			}
			continue
		}
		select {
		case <-changed:
		case <-replaced:
		case <-time.After(heartbeat):
			if !out.write([]byte(": heartbeat\n\n")) {
				return
			}
		case <-req.Context().Done():
			return
		}
	}
}

// streamFailed says why a stream ends, but for a damaged view, which is in the log, once.
func (a *API) streamFailed(collection string, err error) {
	if !errors.Is(a.View.Note(err), view.ErrDamaged) {
		a.Log.Error("event stream failed", "collection", collection, "error", err)
	}
}

// withdrawal is the event that tells of objects whose label was raised.
func withdrawal(at cursor, w *view.Withdrawal) []byte {
	text, _ := json.Marshal(w) // times and texts only
	return fmt.Appendf(nil, "event: withdrawn\nid: %s\ndata: %s\n\n", at, text)
}

// startEvents works out where a stream starts.
func (a *API) startEvents(req *http.Request, c *exchange.Collection) (p cursor, err error) {
	if id := req.Header.Get("Last-Event-ID"); id != "" {
		if p, err = parseCursor(id); err == nil {
			err = a.resumable(c.ID, p)
		}
		return p, err
	}
	from := req.URL.Query().Get("from")
	switch from {
	case "", "start":
		p.gone = a.View.LastRemoval(c.ID)
		return p, nil
	case "now":
		p.gone, p.after = a.View.LastRemoval(c.ID), a.View.Stats(c.ID).Last
	default: // who names a block has what is before it
		b, err := a.block(c.ID, from)
		if err != nil {
			return p, err
		}
		p.after = b.Added.Add(-time.Microsecond)
	}
	return p, nil
}

// eventData is an event of a page's objects, without its id.
func eventData(collection string, p *view.Page) ([]byte, error) {
	if p.Count == 0 {
		return nil, nil
	}
	open := stix.AppendBundleOpen([]byte("data: "), stix.DerivedID("bundle", "collection", collection, "event", p.Last.String(), "first", p.First.String(), "objects", strconv.Itoa(p.Count)))
	end := append(stix.AppendBundleClose(nil), "\n\n"...)
	b := bytes.NewBuffer(make([]byte, 0, len(open)+p.Len()+len(end)))
	b.Write(open)
	if _, err := p.WriteTo(b); err != nil {
		return nil, err
	}
	oneLine(b.Bytes())
	b.Write(end)
	return b.Bytes(), nil
}

// oneLine makes JSON stand in one line: what ends a line there is white space between
// tokens.
func oneLine(b []byte) {
	for _, end := range []byte{'\n', '\r'} {
		for i := bytes.IndexByte(b, end); i >= 0; i = bytes.IndexByte(b, end) {
			b[i], b = ' ', b[i+1:]
		}
	}
}

// eventWriter writes whole events.
type eventWriter struct {
	w http.ResponseWriter
	c *http.ResponseController
}

// write reports whether the reader has taken it in time.
func (e *eventWriter) write(texts ...[]byte) bool {
	for _, b := range texts {
		for part := range slices.Chunk(b, 64<<10) {
			if e.c.SetWriteDeadline(time.Now().Add(slow)) != nil {
				return false
			}
			if _, err := e.w.Write(part); err != nil {
				return false
			}
		}
	}
	return e.c.Flush() == nil
}

// closeWithReason tells the reader why nothing follows.
func (e *eventWriter) closeWithReason(why string) { e.write([]byte(": " + why + "\n\n")) }
