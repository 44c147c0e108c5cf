package taxiitest_test

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiimem"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiitest"
)

// start serves the fixture from memory.
func start(t testing.TB) (base string) {
	t.Helper()
	var f struct {
		Discovery taxii.Discovery   `json:"discovery"`
		Users     map[string]string `json:"users"`
		Roots     map[string]struct {
			taxii.APIRoot
			PageSize    int            `json:"page_size"`
			Status      []taxii.Status `json:"status"`
			Collections []struct {
				taxii.Collection
				Objects []struct {
					DateAdded time.Time       `json:"date_added"`
					Object    json.RawMessage `json:"object"`
				} `json:"objects"`
			} `json:"collections"`
		} `json:"api_roots"`
	}
	if err := json.Unmarshal(taxiitest.Fixture, &f); err != nil {
		t.Fatal(err)
	}
	s := &taxiimem.Server{Discovery: f.Discovery, Users: f.Users, Roots: make(map[string]*taxiimem.Root)}
	for name, r := range f.Roots {
		root := &taxiimem.Root{APIRoot: r.APIRoot, PageSize: r.PageSize, Statuses: make(map[string]*taxiimem.Status)}
		for _, st := range r.Status {
			root.Statuses[st.ID] = &taxiimem.Status{Status: st}
		}
		for _, c := range r.Collections {
			col := &taxiimem.Collection{Collection: c.Collection}
			for _, o := range c.Objects {
				if err := s.Add(col, o.Object, o.DateAdded); err != nil {
					t.Fatal(err)
				}
			}
			root.Collections = append(root.Collections, col)
		}
		s.Roots[name] = root
	}
	h := httptest.NewServer(taxiiserver.New(s, taxiiserver.Options{Secret: []byte("a secret of this test")}))
	t.Cleanup(h.Close)
	return h.URL
}

func TestTheServerInMemoryConforms(t *testing.T) { taxiitest.Run(t, start(t)) }
