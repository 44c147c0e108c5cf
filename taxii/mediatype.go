package taxii

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Acceptable reports, as an *Error of status 406, that a client takes nothing
// that we speak (TAXII 2.1 section 1.6.8.2). It takes what real clients send:
// with and without a version, quoted, spaced, in upper case, in lists with
// quality values, wildcards, or no Accept header at all.
func Acceptable(accept []string) error {
	any20 := false
	said := false
	for _, part := range strings.Split(strings.Join(accept, ","), ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		said = true
		typ, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(params["q"]), 64); err == nil && q <= 0 {
			continue
		}
		version := params["version"]
		switch typ {
		case "*/*", "application/*":
			return nil
		case "application/taxii+json":
			if version == "" || version == "2.1" {
				return nil
			}
			any20 = any20 || version == "2.0"
		case "application/json", "application/stix+json":
			return nil
		case "application/vnd.oasis.taxii+json", "application/vnd.oasis.stix+json":
			any20 = true
		}
	}
	switch {
	case !said:
		return nil
	case any20:
		return NewError(http.StatusNotAcceptable, "TAXII 2.0 is not spoken here", "This server speaks TAXII 2.1: send Accept: %s", MediaType)
	}
	return NewError(http.StatusNotAcceptable, "Not acceptable", "Send Accept: %s", MediaType)
}

// Readable reports, as an *Error of status 415, that a request's body is of a
// kind that we don't read. It takes what real clients send: with and without a
// version, spaced, STIX or plain JSON, or no Content-Type at all.
func Readable(contentType []string) error {
	text := strings.TrimSpace(strings.Join(contentType, ","))
	if text == "" {
		return nil
	}
	typ, params, err := mime.ParseMediaType(text)
	if err == nil {
		version := params["version"]
		switch typ {
		case "application/json":
			return nil
		case "application/taxii+json", "application/stix+json":
			if version == "" || version == "2.1" {
				return nil
			}
		}
	}
	return NewError(http.StatusUnsupportedMediaType, "Unsupported media type", "Send Content-Type: %s", MediaType)
}

// Has reports whether a client says that it has the state of a resource that a tag names, which is quoted
// (RFC 9110 section 13.1.2). "*" does not count: whether there is anything is not known yet.
func Has(r *http.Request, tag string) bool {
	for part := range strings.SplitSeq(strings.Join(r.Header.Values("If-None-Match"), ","), ",") {
		if strings.TrimPrefix(strings.TrimSpace(part), "W/") == tag {
			return true
		}
	}
	return false
}
