// Package taxii holds the resources, media types, filters and errors of TAXII
// 2.1 (OASIS Standard, 10 June 2021). The server side is in taxiiserver, the
// client side in taxiiclient. None of them knows what the objects are, or who
// keeps them.
package taxii

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// MediaType is what every response is, errors included (TAXII 2.1 section 1.6.8.1).
const MediaType = "application/taxii+json;version=2.1"

// The headers that give the date_added of the first and last object of a page
// (TAXII 2.1 section 3.1).
const (
	HeaderAddedFirst = "X-TAXII-Date-Added-First"
	HeaderAddedLast  = "X-TAXII-Date-Added-Last"
)

// Discovery is the resource of section 4.1.
type Discovery struct {
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Contact     string   `json:"contact,omitempty"`
	Default     string   `json:"default,omitempty"`
	APIRoots    []string `json:"api_roots,omitempty"`
}

// APIRoot is the resource of section 4.2. MaxContentLength is in bytes.
type APIRoot struct {
	Title            string   `json:"title"`
	Description      string   `json:"description,omitempty"`
	Versions         []string `json:"versions"`
	MaxContentLength int64    `json:"max_content_length"`
}

// Collections is the resource of section 5.1. It is empty, not null, where the
// caller may see none.
type Collections struct {
	Collections []Collection `json:"collections,omitempty"`
}

// Collection is the resource of section 5.2.
type Collection struct {
	ID          string   `json:"id"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	Alias       string   `json:"alias,omitempty"`
	CanRead     bool     `json:"can_read"`
	CanWrite    bool     `json:"can_write"`
	MediaTypes  []string `json:"media_types,omitempty"`
}

// Envelope is the resource of section 3.7. Objects keep their bytes.
type Envelope struct {
	More    bool              `json:"more,omitempty"`
	Next    string            `json:"next,omitempty"`
	Objects []json.RawMessage `json:"objects,omitempty"`
}

// Manifest is the resource of section 5.3. More and Next page it as they do an
// envelope.
type Manifest struct {
	More    bool             `json:"more,omitempty"`
	Next    string           `json:"next,omitempty"`
	Objects []ManifestRecord `json:"objects,omitempty"`
}

// ManifestRecord describes one version of one object (section 5.3.1).
type ManifestRecord struct {
	ID        string `json:"id"`
	DateAdded string `json:"date_added"`
	Version   string `json:"version"`
	MediaType string `json:"media_type,omitempty"`
}

// Versions is the resource of section 5.8.
type Versions struct {
	More     bool     `json:"more"`
	Next     string   `json:"next,omitempty"`
	Versions []string `json:"versions,omitempty"`
}

// Status is the resource of section 4.3.1: what became of the objects of one
// request. The counts of successes, failures and pendings add up to TotalCount,
// and each list has as many details as its count says.
type Status struct {
	ID               string          `json:"id"`
	Status           string          `json:"status"`
	RequestTimestamp string          `json:"request_timestamp,omitempty"`
	TotalCount       int             `json:"total_count"`
	SuccessCount     int             `json:"success_count"`
	Successes        []StatusDetails `json:"successes,omitempty"`
	FailureCount     int             `json:"failure_count"`
	Failures         []StatusDetails `json:"failures,omitempty"`
	PendingCount     int             `json:"pending_count"`
	Pendings         []StatusDetails `json:"pendings,omitempty"`
}

// The values of Status.Status.
const (
	StatusPending  = "pending"
	StatusComplete = "complete"
)

// StatusDetails is about one object (section 4.3.1).
type StatusDetails struct {
	ID      string `json:"id"`
	Version string `json:"version"`
	Message string `json:"message,omitempty"`
}

// NoVersion is the version of objects that have none (sections 3.4.1 and 5.8).
const NoVersion = "1970-01-01T00:00:00.000000Z"

// Error is the error message of section 3.6.1. HTTPStatus is a string there.
type Error struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	ErrorID     string `json:"error_id,omitempty"`
	ErrorCode   string `json:"error_code,omitempty"`
	HTTPStatus  string `json:"http_status,omitempty"`
	// ExternalDetails is a URL.
	ExternalDetails string          `json:"external_details,omitempty"`
	Details         json.RawMessage `json:"details,omitempty"`
	// RetryAfter, where it is not 0, is sent as a header.
	RetryAfter time.Duration `json:"-"`
}

// NewError makes an error message for a status.
func NewError(status int, title, format string, args ...any) *Error {
	return &Error{Title: title, Description: fmt.Sprintf(format, args...), HTTPStatus: strconv.Itoa(status)}
}

// Status returns HTTPStatus as a number, 500 where it is none.
func (e *Error) Status() int {
	if n, err := strconv.Atoi(e.HTTPStatus); err == nil && n >= 400 && n < 600 {
		return n
	}
	return 500
}

func (e *Error) Error() string {
	if e.Description == "" {
		return e.Title
	}
	return e.Title + ": " + e.Description
}

// TLS is what sections 8.2.2 and 8.5.1 ask of TLS, on either side: 1.2 or later,
// and of 1.2 none of the cipher suites that HTTP/2 forbids.
func TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, CipherSuites: []uint16{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
		tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	}}
}

// timeLayout has exactly six digits after the point: section 3.2 asks for them.
const timeLayout = "2006-01-02T15:04:05.000000Z"

// FormatTime writes a timestamp as section 3.2 has it: UTC, microseconds.
func FormatTime(t time.Time) string { return string(AppendTime(nil, t)) }

// AppendTime appends what FormatTime writes.
func AppendTime(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, timeLayout) }

// ParseTime reads a timestamp with 0 to 9 digits after the point. Clients send
// fewer than the six that the specification wants.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || len(s) > len(time.RFC3339Nano) || s[13] != ':' || s[19] == ',' {
		return time.Time{}, fmt.Errorf("%.60q is not a timestamp such as 2026-03-19T00:04:07.000000Z", s)
	}
	return t.UTC(), nil
}
