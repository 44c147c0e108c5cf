package exchangetest_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
)

// row says who may use a route: those kinds of credentials get ok. Whoever's credential is good for the
// scope and who may not all the same gets no; whose is not gets 403, or where the thing is none of
// its business 404. "-" asks for no scope.
type row struct {
	path, body string
	scope      string
	may        string
	ok, no     int
}

const (
	everybody = "at at:read at:publish at:feedback at/eva cert isp dcu peer admin admin:read"
	operator  = "admin"
	readers   = "at at:read at/eva cert admin admin:read" // of what is cert-at's
	rowsOfCSV = "ip,timestamp,cc\n240.0.0.1,2026-03-19T10:00:00Z,AT\n"
	nobodyToo = "nobody wrong expired " + everybody
)

var rights = map[string]row{
	"POST /v1/feeds/{feed}/events":                     {"/v1/feeds/rustock/events", rowsOfCSV, "publish", "dcu admin", 200, 404},
	"POST /v1/feeds/{feed}/recall":                     {"/v1/feeds/rustock/recall?reason=x", "ip,timestamp\n240.0.0.77,2026-03-19T10:00:00Z\n", "publish", "dcu admin", 200, 404}, // not there: others need the host
	"GET /v1/receipts/{receipt}":                       {"/v1/receipts/RECEIPT", "", "publish", "dcu admin", 200, 404},
	"GET /v1/feeds":                                    {"/v1/feeds", "", "publish", everybody, 200, 0},
	"GET /v1/feeds/{feed}":                             {"/v1/feeds/rustock", "", "publish", "dcu admin", 200, 404},
	"POST /v1/clean":                                   {"/v1/clean", `{"hosts":[{"address":"240.0.0.1"}]}`, "feedback", everybody, 200, 0},
	"POST /v1/lint":                                    {"/v1/lint", `{"type":"x"}`, "-", everybody, 200, 0},
	"GET /v1/self":                                     {"/v1/self", "", "-", everybody, 200, 0},
	"GET /v1/explain":                                  {"/v1/explain?address=240.0.0.1", "", "read", everybody, 200, 0},
	"GET /v1/members":                                  {"/v1/members", "", "read", everybody, 200, 0},
	"GET /v1/members/{member}":                         {"/v1/members/cert-at", "", "read", readers, 200, 404},
	"GET /v1/collections":                              {"/v1/collections", "", "read", everybody, 200, 0},
	"GET /v1/collections/{collection}":                 {"/v1/collections/cert-at", "", "read", readers, 200, 404},
	"GET /v1/collections/{collection}/verify":          {"/v1/collections/cert-at/verify", "", "read", readers, 200, 404},
	"GET /v1/collections/{collection}/withdrawn":       {"/v1/collections/cert-at/withdrawn", "", "read", readers, 200, 404},
	"POST /v1/collections/{collection}/subscription":   {"/v1/collections/cert-at/subscription", "", "read", "at at:read at/eva cert", 200, 404},
	"DELETE /v1/collections/{collection}/subscription": {"/v1/collections/cert-at/subscription?name=x", "", "read", "at at:read at/eva cert", 200, 404},
	"GET /v1/collections/{collection}/events":          {"/v1/collections/cert-at/events", "", "-", readers, 200, 404},
	"GET /misp/{collection}/{file}":                    {"/misp/cert-at/manifest.json", "", "read", readers, 200, 404},
	"GET /v1/webhooks":                                 {"/v1/webhooks", "", "read", everybody, 200, 0},
	"GET /v1/webhooks/{webhook}":                       {"/v1/webhooks/soc", "", "read", readers, 200, 404},
	"POST /v1/webhooks/{webhook}/resend":               {"/v1/webhooks/soc/resend", "", "read", "at at/eva cert admin", 200, 403},
	"POST /v1/webhooks/{webhook}/ping":                 {"/v1/webhooks/soc/ping", "", "read", "at at/eva cert admin", 200, 403},
	"GET /v1/members/{member}/webhook-key":             {"/v1/members/cert-at/webhook-key", "", "read", "at at/eva cert admin", 200, 403},
	"POST /v1/members/{member}/webhook-key":            {"/v1/members/cert-at/webhook-key", "", "read", "at at/eva cert admin", 200, 403},
	"GET /v1/register":                                 {"/v1/register", "", "admin", operator, 200, 403},
	"POST /v1/register":                                {"/v1/register?dry_run", "members: []", "admin", operator, 200, 403},
	"GET /v1/networks":                                 {"/v1/networks", "", "admin", operator, 200, 403},
	"PUT /v1/networks":                                 {"/v1/networks", "prefix,asn,cc\n240.9.0.0/16,1,AT\n", "admin", operator, 200, 403},
	"GET /v1/members/{member}/tokens":                  {"/v1/members/cert-at/tokens", "", "admin", operator, 200, 403},
	"POST /v1/members/{member}/tokens":                 {"/v1/members/cert-pl/tokens", "", "admin", operator, 200, 403},
	"DELETE /v1/members/{member}/tokens":               {"/v1/members/cert-pl/tokens", "", "admin", operator, 200, 403},
	"DELETE /v1/members/{member}/tokens/{token}":       {"/v1/members/cert-pl/tokens/none", "", "admin", operator, 404, 403},
	"PUT /v1/members/{member}/hidden":                  {"/v1/members/isp-one/hidden?show", "", "admin", operator, 200, 403},
	"GET /v1/audit":                                    {"/v1/audit", "", "admin", operator, 200, 403},
	"GET /v1/audit/given":                              {"/v1/audit/given?address=240.0.0.1", "", "admin", operator, 200, 403},
	"GET /v1/audit/verify":                             {"/v1/audit/verify", "", "admin", operator, 200, 403},
	"POST /v1/erase":                                   {"/v1/erase?reason=asked", `{"addresses":["203.0.113.250"]}`, "admin", operator, 200, 403},
	"GET /v1/backup":                                   {"/v1/backup", "", "admin", operator, 200, 403},
	"GET /v1/quarantine":                               {"/v1/quarantine", "", "admin", operator, 200, 403},
	"GET /v1/quarantine/{held}":                        {"/v1/quarantine/none", "", "admin", operator, 404, 403},
	"POST /v1/quarantine/{held}":                       {"/v1/quarantine/none", `{"reason":"x"}`, "admin", operator, 404, 403},
	"GET /v1/quarantine/{held}/object":                 {"/v1/quarantine/none/object", "", "read", "", 404, 404},
	"GET /metrics":                                     {"/metrics", "", "admin", operator, 200, 403},
	"GET /healthz":                                     {"/healthz", "", "-", nobodyToo, 200, 0},
	"GET /readyz":                                      {"/readyz", "", "-", nobodyToo, 200, 0},

	"GET /taxii2/":                                                   {"/taxii2/", "", "-", "nobody " + everybody, 200, 0},
	"GET /{api-root}/":                                               {"/exchange/", "", "-", everybody, 200, 0},
	"GET /{api-root}/status/{status-id}/":                            {"/exchange/status/STATUS/", "", "-", "admin admin:read", 200, 404},
	"GET /{api-root}/collections/":                                   {"/exchange/collections/", "", "-", everybody, 200, 0},
	"GET /{api-root}/collections/{id}/":                              {"/exchange/collections/cert-at/", "", "-", readers, 200, 404},
	"GET /{api-root}/collections/{id}/manifest/":                     {"/exchange/collections/cert-at/manifest/", "", "-", readers, 200, 404},
	"GET /{api-root}/collections/{id}/objects/":                      {"/exchange/collections/cert-at/objects/", "", "-", readers, 200, 404},
	"POST /{api-root}/collections/{id}/objects/":                     {"/exchange/collections/board/objects/", "BOARD", "-", "at at:publish at/eva cert isp dcu peer admin", 202, 403},
	"GET /{api-root}/collections/{id}/objects/{object-id}/":          {"/exchange/collections/cert-at/objects/OBJECT/", "", "-", readers, 200, 404},
	"DELETE /{api-root}/collections/{id}/objects/{object-id}/":       {"/exchange/collections/board/objects/MINE/", "", "-", "at at/eva cert isp dcu peer admin", 200, 403},
	"GET /{api-root}/collections/{id}/objects/{object-id}/versions/": {"/exchange/collections/cert-at/objects/OBJECT/versions/", "", "-", readers, 200, 404},
}

// caller is a kind of credential.
type caller struct {
	user, token string
	scopes      string // "" for all
	config      *tls.Config
}

// Every kind of credential on every route with every verb: allowed exactly where the table says.
func TestEveryRouteForEveryCredential(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	e := secure(t, a)
	e.Apply(t, strings.NewReplacer("{id: cert-at, name: CERT.at, kind: csirt,", "{id: cert-at, name: CERT.at, kind: csirt, certificates: [\"dns:taxii.cert.at\"],",
		"- {id: dcu,", "- {id: friend, kind: peer, clearance: amber}\n  - {id: dcu,").Replace(writable)+"webhooks:\n"+hookLine("soc", "cert-at", "cert-at", "http://127.0.0.1:1/", "doorbell"))
	plain := &tls.Config{RootCAs: a.pool()}
	token := func(member string, of exchange.Token) string {
		text, _, err := e.Register.NewToken(t.Context(), "test", member, of)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	kinds := map[string]caller{
		"nobody": {config: plain}, "wrong": {"cert-at", "tocsin_wrong", "", plain}, "expired": {"cert-at", token("cert-at", exchange.Token{Expires: time.Now().Add(-time.Second)}), "", plain},
		"cert": {config: &tls.Config{RootCAs: a.pool(), Certificates: []tls.Certificate{a.issue("taxii.cert.at", x509.ExtKeyUsageClientAuth)}}},
	}
	for kind, member := range map[string]string{"at": "cert-at", "isp": "isp-one", "dcu": "dcu", "peer": "friend", "at/eva": "cert-at", "admin": exchange.Admin} {
		of := exchange.Token{}
		if kind == "at/eva" {
			of.Person = "eva"
		}
		kinds[kind] = caller{member, token(member, of), "", plain}
	}
	for _, kind := range []string{"at:read", "at:publish", "at:feedback", "admin:read"} {
		member, scope, _ := strings.Cut(kind, ":")
		member = map[string]string{"at": "cert-at", "admin": exchange.Admin}[member]
		kinds[kind] = caller{member, token(member, exchange.Token{Scopes: []exchange.Scope{exchange.Scope(scope)}}), scope, plain}
	}
	clients := make(map[*tls.Config]*http.Client)
	do := func(c caller, method, path, body string) (int, string) {
		t.Helper()
		if clients[c.config] == nil {
			transport := &http.Transport{TLSClientConfig: c.config}
			t.Cleanup(transport.CloseIdleConnections)
			clients[c.config] = &http.Client{Transport: transport}
		}
		return request(t, clients[c.config], method, e.HTTPURL()+path, c.user, c.token, body)
	}
	admin := kinds["admin"]
	mine := sample(1, version1, "")
	_, text := do(admin, "POST", "/v1/feeds/rustock/events", rowsOfCSV)
	receipt := property(text, "id")[0]
	_, text = do(admin, "POST", "/exchange/collections/board/objects/", envelope(mine))
	status := property(text, "id")[0]
	_, text = do(admin, "GET", "/exchange/collections/cert-at/objects/?match[type]=sighting", "")
	fill := strings.NewReplacer("RECEIPT", receipt, "STATUS", status, "OBJECT", sightingOf(text), "MINE", property(mine, "id")[0], "BOARD", envelope(mine))

	routes := taxiiserver.Endpoints()
	for _, r := range api.Routes() {
		routes = append(routes, r.Pattern)
	}
	for _, pattern := range routes {
		if _, known := rights[pattern]; !known {
			t.Errorf("route %s has no row in the table of rights", pattern)
		}
	}
	owned := 0
	for pattern, r := range rights {
		if !slices.Contains(routes, pattern) {
			t.Errorf("the table of rights has a row for %s, which is no route", pattern)
		}
		method, _, _ := strings.Cut(pattern, " ")
		path, body := fill.Replace(r.path), fill.Replace(r.body)
		for kind, c := range kinds {
			want := r.no
			switch good := c.scopes == "" || r.scope == "-" || c.scopes == r.scope; {
			case strings.Contains(r.may, "nobody wrong"):
				want = r.ok
			case kind == "wrong" || kind == "expired", kind == "nobody" && !slices.Contains(strings.Fields(r.may), kind):
				want = 401
			case !good:
				want = 403
			case slices.Contains(strings.Fields(r.may), kind):
				want = r.ok
			}
			path := path
			if method == http.MethodDelete && want == r.ok { // each deletes what is its own
				owned++
				own := sample(100+owned, version1, "")
				do(c, "POST", "/exchange/collections/board/objects/", envelope(own))
				path = strings.Replace(path, property(mine, "id")[0], property(own, "id")[0], 1)
			}
			if got, text := do(c, method, path, body); got != want && !(want == 403 && got == 404) && !(want == 404 && got == 409) {
				t.Errorf("%s as %s: %d, want %d: %.200s", pattern, kind, got, want, text)
			}
		}
		for _, verb := range []string{"GET", "POST", "PUT", "DELETE", "PATCH"} {
			there := slices.ContainsFunc(routes, func(o string) bool {
				_, a, _ := strings.Cut(o, " ")
				_, b, _ := strings.Cut(pattern, " ")
				return a == b && strings.HasPrefix(o, verb+" ")
			})
			if there {
				continue
			}
			for kind, c := range kinds {
				if got, text := do(c, verb, path, body); got < 400 {
					t.Errorf("%s %s as %s: %d %.200s", verb, path, kind, got, text)
				}
			}
		}
	}
}

// sightingOf is the id of the first sighting of an envelope.
func sightingOf(text string) string {
	i := strings.Index(text, `"id":"sighting--`)
	return text[i+6 : i+6+len("sighting--")+36]
}

// request sends a request and returns its status, and its body where it ends.
func request(t *testing.T, c *http.Client, method, url, user, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, token)
	}
	if strings.Contains(url, "/exchange/") {
		req.Header.Set("Content-Type", taxii.MediaType)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text := make([]byte, 1<<20)
	n := 0
	for n < len(text) && !strings.HasSuffix(url, "/events") || method == http.MethodPost {
		k, err := res.Body.Read(text[n:])
		if n += k; err != nil {
			break
		}
	}
	return res.StatusCode, string(text[:n])
}
