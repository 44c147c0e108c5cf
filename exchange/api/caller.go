package api

import (
	"net/http"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// callerOf returns who asks; it is Anybody who does not say. Some clients write Token for Bearer, or two spaces behind the
// scheme.
func callerOf(x *access.Access, r *http.Request) (who exchange.Caller, err error) {
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	bearer = strings.TrimSpace(bearer)
	user, token, basic := basicAuth(scheme, bearer)
	ok := false
	switch {
	case r.Header.Get("Authorization") == "":
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			who = x.Certificate(r.TLS.VerifiedChains[0][0])
		}
		return who, nil
	case basic && user != "":
		who, ok = x.Token(user, token)
	case strings.EqualFold(scheme, "Bearer"), strings.EqualFold(scheme, "Token"):
		who, ok = x.Token("", bearer)
	}
	if !ok {
		return who, taxiiserver.ErrUnauthorized
	}
	return who, nil
}

// basicAuth reads what stands behind a scheme as HTTP Basic has it (RFC 7617).
func basicAuth(scheme, text string) (user, token string, ok bool) {
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	return (&http.Request{Header: http.Header{"Authorization": {"Basic " + text}}}).BasicAuth()
}
