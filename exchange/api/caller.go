package api

import (
	"net/http"
	"strings"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/access"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// callerOf returns who asks; it is Anybody who does not say.
func callerOf(x *access.Access, r *http.Request) (who exchange.Caller, err error) {
	user, token, basic := r.BasicAuth()
	scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	ok := false
	switch {
	case r.Header.Get("Authorization") == "":
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			who = x.Certificate(r.TLS.VerifiedChains[0][0])
		}
		return who, nil
	case basic && user != "":
		who, ok = x.Token(user, token)
	case !basic && strings.EqualFold(scheme, "Bearer"):
		who, ok = x.Token("", strings.TrimSpace(bearer))
	}
	if !ok {
		return who, taxiiserver.ErrUnauthorized
	}
	return who, nil
}
