package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
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
	case isAny(err, exchange.ErrFull, exchange.ErrDisk, exchange.ErrDamaged):
		w.Header().Set("Retry-After", strconv.Itoa(int(retryWrite/time.Second)))
		e = a.takesNothing(err)
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
		if e = a.takesNothing(err); e != nil {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryWrite/time.Second)))
			a.Log.Error("request failed as nothing can be written", "method", r.Method, "route", r.Pattern, "error", err)
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

// nothingIn is why nothing is taken in, with what is answered then.
var nothingIn = []struct {
	why    error
	disk   bool // it shows in many ways
	status int
	title  string
}{
	{exchange.ErrFull, true, http.StatusInsufficientStorage, "No room"},
	{exchange.ErrDisk, true, http.StatusServiceUnavailable, "Cannot be written"},
	{exchange.ErrDamaged, false, http.StatusServiceUnavailable, "Takes nothing in"},
}

// retryWrite is after how long somebody who writes may come again.
const retryWrite = 10 * time.Second

// takesNothing returns what is answered where an error is one of these, or, since a disk that is full or fails shows in many ways,
// may come of it; nil where it is something else.
func (a *API) takesNothing(err error) *apiError {
	room := a.Room()
	for _, x := range nothingIn {
		switch {
		case x.disk && errors.Is(room, x.why):
			return fail(x.status, x.title, "%v", room)
		case errors.Is(err, x.why):
			return fail(x.status, x.title, "%v", x.why)
		}
	}
	return nil
}

func isAny(err error, of ...error) bool {
	return slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
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
