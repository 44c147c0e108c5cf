package taxiitest_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// Whatever is sent, the answer is TAXII: no 500, nothing but JSON, and an error
// message where it is an error.
func answers(t *testing.T, h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body := w.Body.Bytes()
	if w.Code >= 500 || w.Header().Get("Content-Type") != taxii.MediaType {
		t.Fatalf("%d %s: %s", w.Code, w.Header().Get("Content-Type"), body)
	}
	var e taxii.Error
	if w.Code >= 400 && (json.Unmarshal(body, &e) != nil || e.Title == "" || e.HTTPStatus != strconv.Itoa(w.Code)) {
		t.Fatalf("%d without an error message: %s", w.Code, body)
	}
	if w.Header().Get("Content-Encoding") == "" && len(body) > 0 && !json.Valid(body) {
		t.Fatalf("%d: not JSON: %s", w.Code, body)
	}
	return w
}

// request makes a request as admin. It is nil where net/http would refuse it.
func request(method, target, body string) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil || strings.ContainsAny(method, " \r\n") || method == "" {
		return nil
	}
	r := httptest.NewRequest(http.MethodGet, "/", strings.NewReader(body))
	r.Method, r.URL, r.RequestURI = method, u, target
	r.SetBasicAuth("admin", "Password0")
	r.Header.Set("Accept", taxii.MediaType)
	return r
}

func FuzzRequestLine(f *testing.F) {
	for _, s := range []string{"/taxii2/", "//main//collections/library/objects/x/versions/?limit=1", "/main/status/x/", "/%2e%2e/", "/main/collections/%00/manifest", "/?#"} {
		f.Add("GET", s)
		f.Add("DELETE", s)
	}
	h := serve(f)
	f.Fuzz(func(t *testing.T, method, target string) {
		if r := request(method, target, ""); r != nil {
			answers(t, h, r)
		}
	})
}

func FuzzQuery(f *testing.F) {
	for _, s := range []string{"limit=1&next=x", "match[version]=all,last&match[id]=a", "added_after=2020-01-01T00:00:00Z", "match%5Btype%5D=indicator&match[confidence-gte]=5&match[revoked]=true&match[tlp]=amber", "%zz", "a;b"} {
		f.Add(s)
	}
	h := serve(f)
	f.Fuzz(func(t *testing.T, query string) {
		for _, path := range []string{"objects/", "manifest/", "objects/x/", "objects/x/versions/"} {
			r := request("GET", "/main/collections/library/"+path, "")
			r.URL.RawQuery = query
			w := answers(t, h, r)
			var env taxii.Envelope
			if path != "objects/" || w.Code != 200 || json.Unmarshal(w.Body.Bytes(), &env) != nil || !env.More {
				continue
			}
			// What it says goes on does.
			r = request("GET", "/main/collections/library/objects/?next="+url.QueryEscape(env.Next), "")
			if w := answers(t, h, r); w.Code != 200 {
				t.Fatalf("next of %q: %d %s", query, w.Code, w.Body)
			}
		}
	})
}

func FuzzHeaders(f *testing.F) {
	for _, s := range []string{"Accept: */*", "Accept: application/taxii+json;version=\"2.1\";q=0.5\r\nIf-None-Match: *", "Authorization: basic x", "Content-Encoding: gzip\r\nContent-Type: text/plain", "Authorization: Bearer", "Accept-Encoding: gzip;q=0"} {
		f.Add(s)
	}
	h := serve(f)
	f.Fuzz(func(t *testing.T, header string) {
		raw := "POST /main/collections/box/objects/ HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n{}"
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil {
			return
		}
		for _, method := range []string{"POST", "GET", "OPTIONS"} {
			again := r.Clone(t.Context())
			again.Method, again.Body = method, http.NoBody
			answers(t, h, again)
		}
	})
}

func FuzzEnvelope(f *testing.F) {
	for _, s := range []string{`{"objects":[{"type":"indicator","spec_version":"2.1","id":"indicator--00000000-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00Z","modified":"2026-01-01T00:00:00Z"}]}`, `{"objects":[1,"x",{}]}`, `{"more":true}`, `[`, "\xef\xbb\xbf{}"} {
		f.Add([]byte(s))
	}
	h := serve(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		r := request("POST", "/main/collections/box/objects/", string(body))
		r.Header.Set("Content-Type", taxii.MediaType)
		w := answers(t, h, r)
		var s taxii.Status
		if w.Code == http.StatusAccepted && (json.Unmarshal(w.Body.Bytes(), &s) != nil || s.TotalCount != s.SuccessCount+s.FailureCount+s.PendingCount ||
			len(s.Successes) != s.SuccessCount || len(s.Failures) != s.FailureCount) {
			t.Fatalf("counts: %s", w.Body)
		}
		if w.Code != http.StatusAccepted {
			return
		}
		// Whatever was taken can be read: what is served is JSON.
		answers(t, h, request("GET", "/main/collections/box/objects/", ""))
		for _, o := range s.Successes {
			answers(t, h, request("DELETE", "/main/collections/box/objects/"+url.PathEscape(o.ID)+"/", ""))
		}
	})
}

func FuzzCursor(f *testing.F) {
	h := serve(f)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, request("GET", "/main/collections/shelf/objects/?limit=1", ""))
	var env taxii.Envelope
	if err := json.Unmarshal(w.Body.Bytes(), &env); err != nil || env.Next == "" {
		f.Fatal(w.Body)
	}
	f.Add(env.Next)
	f.Add("x")
	f.Add("")
	f.Fuzz(func(t *testing.T, next string) {
		w := answers(t, h, request("GET", "/main/collections/shelf/objects/?next="+url.QueryEscape(next), ""))
		// An empty one counts as none.
		if (w.Code == 200) != (next == env.Next || next == "") || w.Code != 200 && bytes.Contains(w.Body.Bytes(), []byte("indicator--")) {
			t.Fatalf("%q opens: %d %s", next, w.Code, w.Body)
		}
	})
}
