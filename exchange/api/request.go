package api

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
)

// request is one request under /v1 with its caller.
type request struct {
	*http.Request
	w      http.ResponseWriter
	x      *access.Access
	caller exchange.Caller
}

// mine tells whether the caller is a member, or the operator.
func (r *request) mine(member string) bool {
	return r.caller.Member == exchange.Admin || r.caller.Member == member
}

func (r *request) body() ([]byte, error) {
	text, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return nil, fail(http.StatusRequestEntityTooLarge, "Too large", "At most %d bytes", large.Limit)
	}
	return text, err
}

// flag reads a boolean parameter; present without a value it is true.
func (r *request) flag(name string) bool {
	q := r.URL.Query()
	on, err := strconv.ParseBool(cmp.Or(q.Get(name), "true"))
	return q.Has(name) && (on || err != nil)
}

// instant reads a parameter that is a time, zero where it is not there.
func (r *request) instant(name string) (at time.Time, err error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return at, nil
	}
	if at, err = time.Parse(time.RFC3339Nano, s); err != nil {
		return at, fail(http.StatusBadRequest, "Bad parameter", "%s: %.40q is no time such as 2026-03-19T00:00:00Z", name, s)
	}
	return at, nil
}

// decode reads a JSON object with nothing in it that is not known, and nothing behind it.
func decode(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields() // what is misspelled would be taken for left out
	err := d.Decode(to)
	if _, more := d.Token(); err == nil && !errors.Is(more, io.EOF) {
		err = errors.New("something follows the JSON object")
	}
	return err
}
