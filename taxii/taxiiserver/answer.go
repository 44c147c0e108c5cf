package taxiiserver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// resource writes a small resource, unless the caller has it.
func (c *call) resource(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if c.unchanged(string(text)) {
		return nil
	}
	return c.text(http.StatusOK, text)
}

// unchanged sets the ETag of what is about to be sent, which is told apart from
// what else could be sent here by the facts; it answers 304 and reports true
// where the caller has it already.
func (c *call) unchanged(facts ...string) bool {
	sum := sha256.New()
	for _, f := range append(facts, c.session.Caller(), strings.Join(c.path, "/"), c.r.URL.RawQuery) {
		_, _ = fmt.Fprintf(sum, "%d:%s\n", len(f), f)
	}
	// Weak: compression does not change what it says.
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:18]) + `"`
	c.w.Header()["ETag"] = []string{"W/" + tag}
	if !taxii.Has(c.r, tag) {
		return false
	}
	c.w.Header().Set("Content-Type", taxii.MediaType)
	c.w.WriteHeader(http.StatusNotModified)
	return true
}

func (c *call) json(status int, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return c.text(status, text)
}

func (c *call) text(status int, text []byte) error {
	writeText(c.w, status, text)
	return nil
}

func writeText(w http.ResponseWriter, status int, text []byte) {
	h := w.Header()
	h.Set("Content-Type", taxii.MediaType)
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	_, _ = w.Write(text) // a caller that is gone is no error of ours
}

// Error answers with an error message (section 3.6.1). What is not one of the
// errors that callers may know becomes a plain 500, and its text goes to the log.
func (s *Server) Error(w http.ResponseWriter, r *http.Request, err error) {
	e := s.message(w, r, err)
	text, _ := json.Marshal(e) // strings only
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	delete(h, "ETag")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(e.RetryAfter/time.Second)))
	}
	writeText(w, e.Status(), text)
}

func (s *Server) message(w http.ResponseWriter, r *http.Request, err error) *taxii.Error {
	var e *taxii.Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, ErrNotFound):
		return taxii.NewError(http.StatusNotFound, "Not found", "There is no such resource, or not for you")
	case errors.Is(err, ErrForbidden):
		return taxii.NewError(http.StatusForbidden, "Forbidden", "You may not do this with this collection: see its can_read and can_write")
	case errors.Is(err, ErrUnauthorized):
		w.Header().Add("WWW-Authenticate", `Basic realm="tocsin", charset="UTF-8"`)
		w.Header().Add("WWW-Authenticate", `Bearer realm="tocsin"`)
		return taxii.NewError(http.StatusUnauthorized, "Unauthorized", "Send your member id and token by HTTP Basic, or the token as Bearer")
	case errors.Is(err, ErrUnavailable), r.Context().Err() != nil: // or the caller is gone, or the server is stopping
		e = taxii.NewError(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
		e.RetryAfter = 2 * time.Second
		return e
	}
	s.log.Error("taxii request failed", "method", r.Method, "error", err)
	return taxii.NewError(http.StatusInternalServerError, "Internal error", "The server's log says more")
}
