package api

import (
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/misp"
	"github.com/tocsin-exchange/tocsin/exchange/policy"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// misp answers MISP, which fetches a collection as a feed: GET /misp/{collection}/manifest.json,
// /{uuid}.json and /hashes.csv. What is above AMBER is left out; of a collection that holds what is
// RED there is none.
func (a *API) misp(r *request) (any, error) {
	c := r.x.Collection(r.PathValue("collection"))
	if c == nil {
		return nil, taxiiserver.ErrNotFound
	}
	right := policy.ToTake(r.x.Register, r.caller, c, exchange.ChannelMISP)
	if right == nil {
		return nil, taxiiserver.ErrNotFound
	}
	h := r.w.Header()
	h.Set("Cache-Control", "no-cache") // it is asked each time whether there is more
	switch file := r.PathValue("file"); {
	case file == "manifest.json":
		text, err := a.mispFeeds.Manifest(r.Context(), r.x.Register, right)
		if err != nil || r.unchanged(misp.Tag(text)+r.encoding()) {
			return nil, err
		}
		return nil, a.cut(r, r.compressed("application/json", func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		}))
	case file == "hashes.csv":
		hashes, err := a.mispFeeds.Hashes(r.Context(), r.x.Register, right)
		if err != nil {
			return nil, err
		}
		return nil, a.mispFile(r, hashes, hashes.Tag, "text/csv", exchange.AuditEntry{Collection: c.ID, Last: time.Now(), Detail: file})
	default:
		uuid, ok := strings.CutSuffix(file, ".json")
		if !ok {
			return nil, taxiiserver.ErrNotFound
		}
		event, err := a.mispFeeds.Event(r.Context(), r.x.Register, right, uuid)
		if err != nil {
			return nil, err
		}
		if event == nil {
			return nil, taxiiserver.ErrNotFound
		}
		return nil, a.mispFile(r, event, event.Tag, "application/json", exchange.AuditEntry{
			Collection: c.ID, First: time.UnixMicro(event.First).UTC(), Last: time.UnixMicro(event.Last).UTC(), Count: int64(event.Count),
		})
	}
}

// mispFile answers one state of a file, and tells the audit that it was read.
func (a *API) mispFile(r *request, file interface {
	Write(w io.Writer) error
	Close() error
}, tag, typ string, e exchange.AuditEntry,
) error {
	defer func() { _ = file.Close() }() // it was read
	if r.unchanged(tag + r.encoding()) {
		return nil
	}
	e.Action, e.Channel = exchange.AuditRead, exchange.ChannelMISP
	a.tell(r.Request, &r.caller, e)
	return a.cut(r, r.compressed(typ, file.Write))
}

// encoding is what follows the tag of an answer: it is another one where it is compressed.
func (r *request) encoding() string {
	r.w.Header().Set("Vary", "Accept-Encoding")
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.ReplaceAll(part, " ", ""), ";")
		if refused := q != "" && strings.Trim(q, "q=0.") == ""; strings.EqualFold(name, "gzip") && !refused {
			return "-gzip"
		}
	}
	return ""
}

// compressed answers with what write writes, with gzip where the caller reads that. Where write fails the answer has no end.
func (r *request) compressed(typ string, write func(io.Writer) error) error {
	r.w.Header().Set("Content-Type", typ)
	if r.encoding() == "" {
		return write(r.w)
	}
	r.w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(r.w)
	if err := write(z); err != nil {
		return err
	}
	return z.Close()
}

// unchanged answers 304 where the caller has what the tag names.
func (r *request) unchanged(tag string) bool {
	tag = `"` + tag + `"`
	r.w.Header().Set("ETag", tag)
	if !taxii.Has(r.Request, tag) {
		return false
	}
	r.w.WriteHeader(http.StatusNotModified)
	return true
}

// cut ends the connection where what was begun cannot be ended: nobody is to take a part for the whole.
func (a *API) cut(r *request, err error) error {
	if err == nil {
		return nil
	}
	if r.Context().Err() == nil {
		a.Log.Warn("a MISP feed was cut", "route", r.Pattern, "error", err)
	}
	panic(http.ErrAbortHandler)
}
