package taxiiserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// position is where a page ended and what was asked for: all that the next
// page needs. It is sealed into the cursor, so that the server keeps nothing;
// rights are looked at anew each time.
type position struct {
	// What the cursor is for. It opens in no other place and for nobody else.
	Caller     string `json:"w"`
	Root       string `json:"r"`
	Collection string `json:"c"`
	Object     string `json:"o,omitempty"`
	Endpoint   string `json:"e"`

	// After is the date_added behind which this page goes on, in µs since 1970; 0 is before the first.
	After int64 `json:"a,omitempty"`
	// Query is what the first page was asked with.
	Query string `json:"q,omitempty"`
	// Generation is that of date_added values; a later one makes this invalid.
	Generation int `json:"g"`
}

const generation = 1

// begin takes over what a first page was asked with.
func (p *position) begin(f *taxii.Filter) {
	p.Generation = generation
	if !f.AddedAfter.IsZero() {
		p.After = max(f.AddedAfter.UnixMicro(), 0)
	}
	asked := *f
	asked.AddedAfter = time.Time{}
	p.Query = asked.Query().Encode()
}

func fromMicro(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// cursors seals and opens positions.
type cursors struct {
	key []byte
	old [][]byte // that are taken as well
}

const sumSize = 16

func sum(key, text []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte("taxii cursor\n"))
	m.Write(text)
	return m.Sum(nil)[:sumSize]
}

func (c cursors) seal(p *position) string {
	text, _ := json.Marshal(p) // strings and numbers only
	return base64.RawURLEncoding.EncodeToString(append(sum(c.key, text), text...))
}

// made tells whether a cursor is this server's.
func (c cursors) made(mark, text []byte) bool {
	return slices.ContainsFunc(append([][]byte{c.key}, c.old...), func(key []byte) bool { return hmac.Equal(mark, sum(key, text)) })
}

// errElsewhere means that a cursor is the caller's own, of another collection. Some clients send one
// collection's cursor to the next (OpenCTI's connector does): it counts as absent.
var errElsewhere = errors.New("the cursor is of another collection")

// open reads the cursor that a request's filter names into p, which says where it has to be for, and
// the filter that it began with into f. The cursor's own state wins over what the request
// says beside it, but for the limit, where the request names one.
func (c cursors) open(p *position, f *taxii.Filter) error {
	bad := taxii.NewError(http.StatusBadRequest, "Bad cursor", "next is not a value that this server gave you for this resource; start without it, with added_after")
	raw, err := base64.RawURLEncoding.DecodeString(f.Next)
	if err != nil || len(raw) < sumSize || base64.RawURLEncoding.EncodeToString(raw) != f.Next || !c.made(raw[:sumSize], raw[sumSize:]) {
		return bad
	}
	var got position
	switch {
	case json.Unmarshal(raw[sumSize:], &got) != nil || got.Caller != p.Caller:
		return bad
	case got.Collection != p.Collection:
		return errElsewhere
	case got.Generation != generation || got.Root != p.Root || got.Object != p.Object || got.Endpoint != p.Endpoint:
		return bad
	}
	query, err := url.ParseQuery(got.Query)
	if err != nil {
		return bad
	}
	began, err := taxii.ParseFilter(query)
	if err != nil {
		return bad // what is a filter has changed since
	}
	if f.Limit > 0 {
		began.Limit = f.Limit
	}
	*p, *f = got, began
	return nil
}
