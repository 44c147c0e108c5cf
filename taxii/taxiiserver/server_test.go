package taxiiserver_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiimem"
)

// Whoever passes a request on may go on reading its headers, in another goroutine too.
func TestARequestStaysAsItCame(t *testing.T) {
	const board = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"
	s := taxiiserver.New(&taxiimem.Server{Roots: map[string]*taxiimem.Root{"api": {
		APIRoot:     taxii.APIRoot{Title: "API", Versions: []string{taxii.MediaType}, MaxContentLength: 10 << 20},
		Collections: []*taxiimem.Collection{{Collection: taxii.Collection{ID: board, Title: "Board", CanRead: true, CanWrite: true}}},
	}}}, taxiiserver.Options{Secret: []byte("a key that authenticates cursors")})
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	_, _ = z.Write([]byte(`{"objects":[{"type":"ipv4-addr","id":"ipv4-addr--28bb3599-77cd-5a82-a950-b5bc3caf07c4","value":"198.51.100.3"}]}`))
	_ = z.Close()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/collections/"+board+"/objects/", &body)
	r.Header.Set("Content-Type", taxii.MediaType)
	r.Header.Set("Content-Encoding", "gzip")
	before := r.Header.Clone()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusAccepted {
		t.Fatal(w.Code, w.Body)
	}
	if d := gocmp.Diff(before, r.Header); d != "" {
		t.Error(d)
	}
}
