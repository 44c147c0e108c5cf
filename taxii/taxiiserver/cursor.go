package taxiiserver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
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

	// After is a date_added in µs since 1970; 0 for the first page of all.
	After        int64    `json:"a,omitempty"`
	Limit        int      `json:"l,omitempty"`
	IDs          []string `json:"i,omitempty"`
	Types        []string `json:"t,omitempty"`
	SpecVersions []string `json:"s,omitempty"`
	Versions     []string `json:"v,omitempty"`
	// Generation is that of date_added values; a later one makes this invalid.
	Generation int `json:"g"`
}

const generation = 1

// begin takes over what a first page was asked with.
func (p *position) begin(f *taxii.Filter) {
	p.Generation = generation
	if !f.AddedAfter.IsZero() {
		p.After = f.AddedAfter.UnixMicro()
	}
	p.Limit, p.IDs, p.Types, p.SpecVersions = f.Limit, f.IDs, f.Types, f.SpecVersions
	for _, v := range f.Versions {
		if v.Keyword == "" {
			v.Keyword = v.At.Format(time.RFC3339Nano)
		}
		p.Versions = append(p.Versions, v.Keyword)
	}
}

func (p *position) query() Query {
	q := Query{IDs: p.IDs, Types: p.Types, SpecVersions: p.SpecVersions}
	if p.After != 0 {
		q.After = time.UnixMicro(p.After).UTC()
	}
	for _, s := range p.Versions {
		v := taxii.VersionFilter{Keyword: s}
		if t, err := taxii.ParseTime(s); err == nil {
			v = taxii.VersionFilter{At: t}
		}
		q.Versions = append(q.Versions, v)
	}
	return q
}

// cursors seals and opens positions.
type cursors struct{ key []byte }

const sumSize = 16

func (c cursors) sum(text []byte) []byte {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte("taxii cursor\n"))
	m.Write(text)
	return m.Sum(nil)[:sumSize]
}

func (c cursors) seal(p *position) string {
	text, _ := json.Marshal(p) // strings and numbers only
	return base64.RawURLEncoding.EncodeToString(append(c.sum(text), text...))
}

// open reads a cursor into p, which says where it has to be for. The cursor's
// own state wins over what the request says beside it.
func (c cursors) open(next string, p *position) error {
	bad := taxii.NewError(http.StatusBadRequest, "Bad cursor", "next is not a value that this server gave you for this resource; start without it, with added_after")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(next)
	if err != nil || len(raw) < sumSize || !hmac.Equal(raw[:sumSize], c.sum(raw[sumSize:])) {
		return bad
	}
	var got position
	if json.Unmarshal(raw[sumSize:], &got) != nil || got.Generation != generation || got.Caller != p.Caller ||
		got.Root != p.Root || got.Collection != p.Collection || got.Object != p.Object || got.Endpoint != p.Endpoint {
		return bad
	}
	*p = got
	return nil
}
