package taxiiserver

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// page reads the request's filter and cursor and fetches what they ask for, with
// the objects' facts where they are wanted. It returns no page where the caller has it already.
func (c *call) page(facts bool) (*Page, *position, error) {
	f, err := c.filter()
	if err != nil {
		return nil, nil, err
	}
	col, err := c.session.Collection(c.r.Context(), c.root, c.path[2])
	if err != nil {
		return nil, nil, err
	}
	if !col.CanRead {
		return nil, nil, ErrForbidden
	}
	at := &position{Caller: c.session.Caller(), Root: c.root, Collection: col.ID, Endpoint: c.path[3]}
	if len(c.path) > 4 {
		// The path has said which object it is, and of versions all are listed.
		at.Object, f.IDs, f.Types = c.path[4], nil, nil
	}
	if len(c.path) > 5 {
		at.Endpoint, f.Versions = c.path[5], []taxii.VersionFilter{{Keyword: "all"}}
	}
	err = errElsewhere
	resumed := f.Next != ""
	if resumed {
		err = c.s.cursors.open(at, &f)
	}
	if errors.Is(err, errElsewhere) {
		f.Next, resumed = "", false
		at.begin(&f)
	} else if err != nil {
		return nil, nil, err
	}
	state, err := c.session.State(c.r.Context(), c.root, col.ID)
	if err != nil {
		return nil, nil, err
	}
	if state != "" && c.unchanged(state) {
		return nil, nil, nil
	}
	q := Query{
		Selection: Selection{IDs: f.IDs, Types: f.Types, SpecVersions: f.SpecVersions, Versions: f.Versions, Match: f.Match},
		After:     fromMicro(at.After), Resumed: resumed, Limit: DefaultLimit, Facts: facts,
	}
	if f.Limit > 0 {
		q.Limit = min(f.Limit, MaxLimit)
	}
	if at.Object != "" {
		q.IDs = []string{at.Object}
	}
	p, err := c.session.Objects(c.r.Context(), c.root, col.ID, q)
	if err == nil && at.Object != "" && p.Count == 0 {
		err = c.missing(col.ID, &q)
	}
	if err != nil {
		return nil, nil, err
	}
	c.dates(p, at)
	if p.NoStore {
		c.w.Header().Set("Cache-Control", "no-store")
	}
	return p, at, nil
}

// filter reads the request's query.
func (c *call) filter() (taxii.Filter, error) {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return taxii.Filter{}, taxii.NewError(http.StatusBadRequest, "Bad query", "The query cannot be read: %v", err)
	}
	return taxii.ParseFilter(query)
}

// missing tells what there is none of from what was read before.
func (c *call) missing(collection string, q *Query) error {
	all := Query{Selection: q.Selection, Limit: 1}
	all.SpecVersions, all.Match = nil, nil
	if len(all.Versions) == 0 {
		all.Versions = []taxii.VersionFilter{{Keyword: "all"}}
	}
	p, err := c.session.Objects(c.r.Context(), c.root, collection, all)
	if err == nil && p.Count == 0 {
		return ErrNotFound // section 5.7: a version that was deleted is not found either
	}
	return err
}

// dates sets the headers of section 3.2. A page without objects has the place
// where the next one starts in them, so that whoever goes on from there misses
// nothing.
func (c *call) dates(p *Page, at *position) {
	first, last := fromMicro(at.After), fromMicro(at.After)
	if p.Count > 0 {
		first, last = p.First, p.Last
		at.After = max(last.UnixMicro(), p.Reached.UnixMicro())
	}
	h := c.w.Header()
	h.Set("Content-Type", taxii.MediaType)
	// In the standard's capitals, which some scripts look for.
	h[taxii.HeaderAddedFirst], h[taxii.HeaderAddedLast] = []string{formatDate(first)}, []string{formatDate(last)}
}

func formatDate(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0)
	}
	return taxii.FormatTime(t)
}

// next is the cursor of the page that follows, "" where none does.
func (c *call) next(p *Page, at *position) string {
	if !p.More {
		return ""
	}
	return c.s.cursors.seal(at)
}

// objects answers Get Objects (section 5.4) and Get an Object (section 5.6).
func (c *call) objects() error {
	p, at, err := c.page(false)
	if err != nil || p == nil {
		return err
	}
	// The envelope is written piece by piece: its objects are bytes already.
	open, end := c.paging(nil, p, at), "}"
	size := 0
	if p.Count > 0 {
		open, end, size = append(open, `"objects":[`...), "]}", p.Objects.Len()
	}
	c.w.Header().Set("Content-Length", strconv.Itoa(len(open)+size+len(end)))
	if c.r.Method == http.MethodHead {
		return nil
	}
	out := &answer{w: c.w}
	_, _ = out.Write(open)
	if p.Count > 0 {
		_, err = p.Objects.WriteTo(out)
	}
	if err != nil && out.err == nil {
		c.s.log.Error("taxii answer cut short", "error", err)
		panic(http.ErrAbortHandler) // what went out must not look whole
	}
	_, _ = io.WriteString(out, end)
	return nil
}

// answer is written to until the caller is gone.
type answer struct {
	w   io.Writer
	err error
}

func (a *answer) Write(b []byte) (n int, err error) {
	if a.err == nil {
		n, a.err = a.w.Write(b)
	}
	return n, a.err
}

// paging appends the start of a page, and a comma where objects follow. A page with objects says
// whether there is more either way, since some clients look for it; an empty one is {}.
func (c *call) paging(b []byte, p *Page, at *position) []byte {
	b = append(b, '{')
	next := c.next(p, at)
	switch {
	case next != "":
		b = appendText(append(b, `"more":true,"next":`...), next)
	case p.Count > 0:
		b = append(b, `"more":false`...)
	}
	if p.Count > 0 {
		b = append(b, ',')
	}
	return b
}

// add answers Add Objects (section 5.5).
func (c *call) add() error {
	ctx := c.r.Context()
	col, err := c.session.Collection(ctx, c.root, c.path[2])
	if err != nil {
		return err
	}
	if !col.CanWrite {
		return ErrForbidden
	}
	if err := taxii.Readable(c.r.Header.Values("Content-Type")); err != nil {
		return err
	}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return taxii.NewError(http.StatusUnsupportedMediaType, "Unsupported encoding", "Content-Encoding %.20q is not read here: send gzip or none", e)
	}
	root, err := c.session.APIRoot(ctx, c.root)
	if err != nil {
		return err
	}
	tooLarge := taxii.NewError(http.StatusRequestEntityTooLarge, "Too large",
		"A request has at most %d bytes (max_content_length): send the objects in several", root.MaxContentLength)
	if c.r.ContentLength > root.MaxContentLength {
		return tooLarge
	}
	length := root.MaxContentLength
	if c.r.ContentLength >= 0 {
		length = c.r.ContentLength
	}
	text, held, err := readBody(c.s.bodies, http.MaxBytesReader(c.w, c.r.Body, root.MaxContentLength), length)
	defer c.s.bodies.Release(held)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge
	case errors.Is(err, ErrUnavailable):
		return err
	case err != nil:
		return taxii.NewError(http.StatusBadRequest, "Cannot be read", "The request's body ended early or is not in its Content-Encoding")
	}
	select {
	case c.s.adding <- struct{}{}:
		defer func() { <-c.s.adding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	list, err := taxii.SplitEnvelope(text, MaxObjects)
	if err == nil && len(list) == 0 {
		err = errors.New("it has no objects")
	}
	if err != nil {
		return taxii.NewError(http.StatusUnprocessableEntity, "Not an envelope", `The body has to be {"objects": [...]} with STIX objects: %v`, err)
	}
	status, err := c.session.Add(ctx, c.root, col.ID, list)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, status)
}

// firstRead is how much of a body is read at first, in bytes; then as much again as there is.
const firstRead = 256 << 10

// readBody reads a body of at most a length into memory, of which it takes as much as has arrived: who announces much
// and sends it slowly takes nothing from others. held is what it has taken of the memory, also with an error;
// ErrUnavailable says that there is no more.
func readBody(memory *semaphore.Weighted, r io.Reader, length int64) (text []byte, held int64, err error) {
	for {
		if len(text) == cap(text) {
			size := min(max(firstRead, 2*int64(cap(text))), length+bytes.MinRead)
			if size <= int64(cap(text)) { // longer than it should be: the reader will say so
				size = int64(cap(text)) + bytes.MinRead
			}
			if !memory.TryAcquire(size - held) {
				return text, held, ErrUnavailable
			}
			held = size
			text = append(make([]byte, 0, size), text...)
		}
		n, err := r.Read(text[len(text):cap(text)])
		text = text[:len(text)+n]
		if errors.Is(err, io.EOF) {
			return text, held, nil
		}
		if err != nil {
			return text, held, err
		}
	}
}

// remove answers Delete an Object (section 5.7).
func (c *call) remove() error {
	f, err := c.filter()
	if err != nil {
		return err
	}
	col, err := c.session.Collection(c.r.Context(), c.root, c.path[2])
	if err != nil {
		return err
	}
	if !col.CanRead || !col.CanWrite {
		return ErrForbidden
	}
	if err := c.session.Delete(c.r.Context(), c.root, col.ID, c.path[4], Selection{SpecVersions: f.SpecVersions, Versions: f.Versions}); err != nil {
		return err
	}
	return c.text(http.StatusOK, nil)
}
