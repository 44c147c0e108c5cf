package taxiiserver

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"

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
	next := f.Next
	if next == "" {
		at.begin(&f)
	} else if f, err = c.s.cursors.open(next, at, f.Limit); err != nil {
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
		Since:     fromMicro(at.Since), After: fromMicro(at.After), Limit: DefaultLimit, Facts: facts,
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

// paging appends the start of a page: whether there is more, and a comma where
// objects follow.
func (c *call) paging(b []byte, p *Page, at *position) []byte {
	b = append(b, '{')
	if next := c.next(p, at); next != "" {
		b = append(appendText(append(b, `"more":true,"next":`...), next), ',')
		if p.Count == 0 {
			b = b[:len(b)-1]
		}
	}
	return b
}

// appendText appends a JSON string.
func appendText[T string | []byte](b []byte, s T) []byte {
	if plain(s) { // as nearly all are
		return append(append(append(b, '"'), s...), '"')
	}
	b, _ = jsontext.AppendQuote(b, s) // what is not UTF-8 is replaced
	return b
}

// plain tells whether a text stands in a JSON string as it is: whether it is printable ASCII without
// quotes and backslashes. It looks at eight bytes at a time, whose highest bits say what is wrong.
func plain[T string | []byte](s T) bool {
	const each = 0x0101010101010101
	for ; len(s) > 0; s = s[min(8, len(s)):] {
		var x uint64
		if len(s) >= 8 {
			x = uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		} else {
			last := [8]byte{' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '}
			copy(last[:], s)
			x = binary.LittleEndian.Uint64(last[:])
		}
		quote, backslash := x^each*'"', x^each*'\\'
		wrong := x | (x + each) | (x - each*' ') | (quote-each)&^quote | (backslash-each)&^backslash
		if wrong&(each*0x80) != 0 {
			return false
		}
	}
	return true
}

// manifest answers Get Object Manifests (section 5.3).
func (c *call) manifest() error {
	p, at, err := c.page(true)
	if err != nil || p == nil {
		return err
	}
	text := manifests.Get().(*[]byte)
	defer func() {
		if cap(*text) <= maxManifest {
			manifests.Put(text)
		}
	}()
	b := c.paging((*text)[:0], p, at)
	if p.Count > 0 {
		if b, err = appendRecords(append(b, `"objects":[`...), p.Facts); err != nil {
			return err
		}
		b = append(b, ']')
	}
	*text = append(b, '}')
	return c.text(http.StatusOK, *text)
}

// maxManifest is how much of memory is used again, in bytes: more than a manifest of MaxLimit records usually takes.
const maxManifest = 2 << 20

// manifests are what manifests are written into.
var manifests = sync.Pool{New: func() any { b := make([]byte, 0, 64<<10); return &b }}

// appendRecords appends the records of a manifest (section 5.3.1).
func appendRecords(b []byte, facts iter.Seq2[*Fact, error]) ([]byte, error) {
	var r records
	start := len(b)
	for o, err := range facts {
		if err != nil {
			return b, err
		}
		b = r.append(b, o)
	}
	return b[:max(len(b)-1, start)], nil // behind the last one is no comma
}

// records writes records, which have much in common with those before.
type records struct {
	typ              string // the last one that stands in a string as it is
	version, written []byte // the last one, and as a string
	second           int64
	date             []byte // the member with a date_added of that second, and what follows it
	micros           int    // where its microseconds are
}

// append appends a record, with a comma behind it.
func (r *records) append(b []byte, o *Fact) []byte {
	switch {
	case len(o.Text) > 0:
		b = appendText(append(b, `{"id":`...), o.Text)
	case o.ID.Type == r.typ || plain(o.ID.Type):
		r.typ = o.ID.Type
		b = append(o.ID.AppendTo(append(b, `{"id":"`...)), '"')
	default:
		b = appendText(append(b, `{"id":`...), o.ID.AppendTo(nil))
	}
	b = r.added(b, o.Added)
	switch {
	case len(o.Version) == 0:
		b = append(b, `"`+taxii.NoVersion+`"`...)
	case !bytes.Equal(o.Version, r.version):
		r.version = append(r.version[:0], o.Version...)
		r.written = appendText(r.written[:0], o.Version)
		fallthrough
	default:
		b = append(b, r.written...)
	}
	if o.SpecVersion == "2.1" {
		return append(b, `,"media_type":"application/stix+json;version=2.1"},`...)
	}
	return append(appendText(append(b, `,"media_type":`...), "application/stix+json;version="+o.SpecVersion), `},`...)
}

// added appends a date_added and the name of what follows it. Many are of the same second.
func (r *records) added(b []byte, at time.Time) []byte {
	if r.date == nil || at.Unix() != r.second {
		r.second = at.Unix()
		r.date = taxii.AppendTime(append(r.date[:0], `,"date_added":"`...), at)
		r.micros = len(r.date) - len("000000Z")
		r.date = append(r.date, `","version":`...)
	}
	b = append(b, r.date...)
	digits := b[len(b)-len(r.date)+r.micros:][:6]
	n := at.Nanosecond() / 1000
	for i := range digits {
		digits[len(digits)-1-i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// versions answers Get Object Versions (section 5.8).
func (c *call) versions() error {
	p, at, err := c.page(true)
	if err != nil || p == nil {
		return err
	}
	v := taxii.Versions{More: p.More, Next: c.next(p, at)}
	if p.Count > 0 {
		for f, err := range p.Facts {
			if err != nil {
				return err
			}
			v.Versions = append(v.Versions, cmp.Or(string(f.Version), taxii.NoVersion))
		}
	}
	return c.json(http.StatusOK, v)
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
	size := root.MaxContentLength
	if c.r.ContentLength >= 0 {
		size = c.r.ContentLength
	}
	if !c.s.bodies.TryAcquire(size) {
		return ErrUnavailable
	}
	defer c.s.bodies.Release(size)
	var buf bytes.Buffer
	buf.Grow(int(min(max(c.r.ContentLength, 0), root.MaxContentLength)) + bytes.MinRead) // its objects are parts of it
	_, err = buf.ReadFrom(http.MaxBytesReader(c.w, c.r.Body, root.MaxContentLength))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return tooLarge
	case err != nil:
		return taxii.NewError(http.StatusBadRequest, "Cannot be read", "The request's body ended early or is not in its Content-Encoding")
	}
	select {
	case c.s.adding <- struct{}{}:
		defer func() { <-c.s.adding }()
	case <-ctx.Done():
		return ctx.Err()
	}
	list, err := taxii.SplitEnvelope(buf.Bytes(), MaxObjects)
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
