package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/misp"
	"github.com/tocsin-exchange/tocsin/exchange/register"
	"github.com/tocsin-exchange/tocsin/exchange/report"
	"github.com/tocsin-exchange/tocsin/exchange/view"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// apiError is an error that callers may know.
type apiError struct {
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Problems    []string `json:"problems,omitempty"`
	HTTPStatus  string   `json:"http_status"`
	status      int
}

func (e *apiError) Error() string { return e.Title + ": " + e.Description }

func fail(status int, title, format string, args ...any) *apiError {
	return &apiError{Title: title, Description: fmt.Sprintf(format, args...), HTTPStatus: strconv.Itoa(status), status: status}
}

// fail is the one place that maps errors to answers under /v1.
func (a *API) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *apiError
	var invalid *register.Invalid
	var file *report.FileError
	var much *limited
	switch {
	case errors.As(err, &e):
	case errors.As(err, &much):
		w.Header().Set("Retry-After", strconv.Itoa(int(much.after/time.Second)))
		e = fail(much.status, much.title(), "%v", much)
	case errors.As(err, &invalid):
		e = fail(http.StatusUnprocessableEntity, "The register would not be sound", "Nothing was changed")
		e.Problems = invalid.Problems
	case errors.As(err, &file):
		e = fail(http.StatusUnprocessableEntity, "Nothing can be read of it", "%s", file.Error())
	case errors.Is(err, taxiiserver.ErrUnauthorized):
		w.Header().Add("WWW-Authenticate", `Basic realm="tocsin", charset="UTF-8"`)
		e = fail(http.StatusUnauthorized, "Unauthorized", "Send your member id and token by HTTP Basic, or the token as Bearer")
	case errors.Is(err, taxiiserver.ErrNotFound), errors.Is(err, exchange.ErrNoFeed):
		e = fail(http.StatusNotFound, "Not found", "There is no such thing, or not for you")
	case errors.Is(err, http.ErrLineTooLong):
		e = fail(http.StatusBadRequest, "Cannot be read", "The request's body is not in its Transfer-Encoding")
	case errors.Is(err, exchange.ErrFull):
		e = fail(http.StatusInsufficientStorage, "No room", "%v", a.full(err))
	case errors.Is(err, exchange.ErrDamaged):
		e = fail(http.StatusServiceUnavailable, "Takes nothing in", "%v", exchange.ErrDamaged)
	case errors.Is(err, exchange.ErrKeyReused):
		e = fail(http.StatusConflict, "Idempotency key used before", "%v", err)
	case errors.Is(err, exchange.ErrClosed), errors.Is(err, taxiiserver.ErrUnavailable), errors.Is(err, misp.ErrBusy):
		w.Header().Set("Retry-After", "2")
		e = fail(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
	case r.Context().Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, os.ErrDeadlineExceeded): // the caller is gone, or the exchange is stopping
		w.Header().Set("Retry-After", "2")
		e = fail(http.StatusServiceUnavailable, "Unavailable", "Try again in a moment")
	case errors.Is(a.View.Note(err), view.ErrDamaged): // which is in the log, once
		e = fail(http.StatusInternalServerError, damagedTitle, damagedDetail)
	default:
		if full := a.full(err); full != nil {
			a.Log.Error("request failed on a full disk", "method", r.Method, "route", r.Pattern, "error", err)
			e = fail(http.StatusInsufficientStorage, "No room", "%v", full)
			break
		}
		a.Log.Error("request failed", "method", r.Method, "route", r.Pattern, "error", err)
		e = fail(http.StatusInternalServerError, "Internal error", "The server's log says more")
	}
	writeJSON(w, e.status, e)
}

// What callers are told of a damaged view.
const (
	damagedTitle  = "The view is damaged"
	damagedDetail = "This cannot be read until the operator has started the exchange anew, or has run tocsin rebuild"
)

// full returns the exchange.ErrFull that an error is or, since a full disk shows in many ways, is
// taken to come from; nil where it is something else.
func (a *API) full(err error) error {
	if full := a.Room(); errors.Is(full, exchange.ErrFull) {
		return full
	}
	if errors.Is(err, exchange.ErrFull) { // there is room again
		return exchange.ErrFull
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		status, text = http.StatusInternalServerError, []byte(`{"title":"Internal error","http_status":"500"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(text)+1))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // a caller that is gone is no error of ours
}
