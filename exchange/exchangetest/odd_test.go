package exchangetest_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// Every odd request has its status, a TAXII error object, and TAXII's media type.
func TestOddRequests(t *testing.T) {
	e := exchangetest.Start(t, exchangetest.Register)
	e.Publish(t, "rustock", rows(20, "2026-03-19", "AT"))
	token := e.Token(t, "cert-at")
	const objects = "/exchange/collections/cert-at/objects/"
	for _, c := range []struct {
		method, path string
		want         int
		header       []string
	}{
		{"GET", "/taxii2/", 200, nil},
		{"GET", "/taxii2", 200, nil},
		{"GET", "//taxii2//", 200, nil},
		{"HEAD", "/taxii2/", 200, nil},
		{"GET", "/exchange", 200, nil},
		{"GET", "/exchange//collections", 200, nil},
		{"GET", objects, 200, nil},
		{"GET", strings.TrimSuffix(objects, "/"), 200, nil},
		{"GET", "/", 404, nil},
		{"GET", "/other/", 404, nil},
		{"GET", "/other/collections/", 404, nil},
		{"GET", "/taxii2/x/", 404, nil},
		{"GET", "/exchange/x/", 404, nil},
		{"GET", "/exchange/collections/nothing/", 404, nil},
		{"GET", "/exchange/collections/%00/", 404, nil},
		{"GET", "/exchange/collections/..%2f..%2f/", 404, nil},
		{"GET", objects + "ipv4-addr--00000000-0000-4000-8000-000000000000/", 404, nil},
		{"GET", objects + "nonsense/", 404, nil},
		{"GET", objects + "nonsense/versions/", 404, nil},
		{"GET", objects + "nonsense/other/", 404, nil},
		{"GET", "/exchange/collections/cert-at/status/", 404, nil},
		{"POST", "/taxii2/", 405, nil},
		{"PUT", objects, 405, nil},
		{"DELETE", "/exchange/", 405, nil},
		{"PATCH", objects, 405, nil},
		{"POST", objects, 403, nil},
		{"GET", objects + "?limit=0", 400, nil},
		{"GET", objects + "?limit=-1", 400, nil},
		{"GET", objects + "?limit=x", 400, nil},
		{"GET", objects + "?limit=1&limit=2", 400, nil},
		{"GET", objects + "?limit=1e3", 400, nil},
		{"GET", objects + "?limit=99999999999999999999", 400, nil},
		{"GET", objects + "?limit=100000", 200, nil},
		{"GET", objects + "?added_after=now", 400, nil},
		{"GET", objects + "?added_after=2026-03-19T00:00:00Z&added_after=2026-03-19T00:00:00Z", 400, nil},
		{"GET", objects + "?added_after=2026-03-19T00:00:00Z", 200, nil},
		{"GET", objects + "?added_after=2026-03-19T00:00:00.123456789Z", 200, nil},
		{"GET", objects + "?added_after=0001-01-01T00:00:00Z", 200, nil},
		{"GET", objects + "?match[id]=" + strings.Repeat("a", 17<<10), 400, nil},
		{"GET", objects + "?added_after=9999-12-31T23:59:59Z", 200, nil},
		{"GET", objects + "?next=x", 400, nil},
		{"GET", objects + "?next=", 400, nil},
		{"GET", objects + "?next=" + strings.Repeat("A", 4000), 400, nil},
		{"GET", objects + "?match[type]=a&match[type]=b", 400, nil},
		{"GET", objects + "?match[type]=nothing", 200, nil},
		{"GET", objects + "?match[colour]=blue", 200, nil},
		{"GET", objects + "?match[version]=all,last", 400, nil},
		{"GET", objects + "?match[version]=newest", 400, nil},
		{"GET", objects + "?match[version]=first,last", 200, nil},
		{"GET", objects + "?match[id]=nonsense", 200, nil},
		{"GET", objects + "?match[id]=ipv4-addr--x,,", 200, nil},
		{"GET", objects + "?match[spec_version]=2.0", 200, nil},
		{"GET", objects + "?%zz", 400, nil},
		{"GET", objects + "?colour=blue", 200, nil},
		{"GET", objects, 406, []string{"Accept", "text/html"}},
		{"GET", objects, 406, []string{"Accept", "application/vnd.oasis.taxii+json; version=2.0"}},
		{"GET", objects, 200, []string{"Accept", "application/taxii+json"}},
		{"GET", objects, 200, []string{"Accept", `APPLICATION/TAXII+JSON; VERSION="2.1"`}},
		{"GET", objects, 200, []string{"Accept", "text/html,*/*;q=0.1"}},
	} {
		status, h, body := e.Do(t, c.method, c.path, "cert-at", token, "", c.header...)
		name := c.method + " " + c.path[:min(len(c.path), 80)]
		if status != c.want || h.Get("Content-Type") != taxii.MediaType {
			t.Errorf("%s %v: %d %s, want %d: %.200s", name, c.header, status, h.Get("Content-Type"), c.want, body)
			continue
		}
		if status == http.StatusMethodNotAllowed && h.Get("Allow") == "" {
			t.Errorf("%s: no Allow", name)
		}
		var msg taxii.Error
		if status >= 400 && (json.Unmarshal([]byte(body), &msg) != nil || msg.Title == "" || msg.HTTPStatus != strconv.Itoa(status)) {
			t.Errorf("%s: no error object: %.200s", name, body)
		}
		if status < 400 && c.method == "GET" && !json.Valid([]byte(body)) {
			t.Errorf("%s: not JSON: %.200s", name, body)
		}
	}
	// A cursor altered in any place opens nothing.
	_, _, body := e.Do(t, "GET", objects+"?limit=1", "cert-at", token, "")
	var env taxii.Envelope
	if err := json.Unmarshal([]byte(body), &env); err != nil {
		t.Fatal(err)
	}
	for i := range env.Next {
		bad := []byte(env.Next)
		if bad[i]++; bad[i] == env.Next[i] || bad[i] == '/' || bad[i] == '{' || bad[i] == '[' || bad[i] == ':' {
			bad[i] = 'A'
		}
		if string(bad) == env.Next {
			continue
		}
		if status, _, body := e.Do(t, "GET", objects+"?next="+string(bad), "cert-at", token, ""); status != 400 {
			t.Errorf("altered at %d: %d %.100s", i, status, body)
		}
	}
}
