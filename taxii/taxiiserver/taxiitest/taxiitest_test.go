package taxiitest_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiimem"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiserver/taxiitest"
)

// serve serves the fixture from memory.
func serve(t testing.TB) http.Handler {
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
	return taxiiserver.New(s, taxiiserver.Options{Secret: []byte("a secret of this test")})
}

func TestTheServerInMemoryConforms(t *testing.T) {
	h := httptest.NewServer(serve(t))
	defer h.Close()
	taxiitest.Run(t, h.URL)
	taxiitest.RunOdd(t, h.URL)
}

// CONFORMANCE.md, the transcripts and the tests that it names belong together:
// no row without what shows it or why not, no MUST open, no transcript that shows
// nothing.
func TestConformanceIsShown(t *testing.T) {
	text, err := os.ReadFile("../../CONFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]bool)
	for _, name := range taxiitest.Names() {
		shown[name] = false
	}
	tests := testNames(t, "../../..")
	rows := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 6 || !regexp.MustCompile(`^ \d+ $`).MatchString(cells[0]) {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		rows++
		number, level, state, by := cells[0], cells[2], cells[4], cells[5]
		if number != strconv.Itoa(rows) {
			t.Errorf("row %s comes after %d", number, rows-1)
		}
		switch {
		case by == "":
			t.Errorf("row %s says neither what shows it nor why", number)
		case state == "not applicable", state == "divergent" && !strings.HasPrefix(level, "MUST"):
		case state != "done":
			t.Errorf("row %s: %s of a %s", number, state, level)
		default:
			for name := range strings.SplitSeq(by, ", ") {
				if test, ok := strings.CutPrefix(name, "test:"); ok {
					if !tests[test] {
						t.Errorf("row %s: there is no test %s", number, test)
					}
				} else if _, ok := shown[name]; !ok {
					t.Errorf("row %s: there is no transcript %s", number, name)
				} else {
					shown[name] = true
				}
			}
		}
	}
	if rows < 100 {
		t.Errorf("%d rows", rows)
	}
	_, rest, _ := strings.Cut(string(text), "\nBeyond the standard")
	for name, ok := range shown {
		if !ok && !strings.Contains(rest, name) {
			t.Errorf("transcript %s shows nothing that CONFORMANCE.md names", name)
		}
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testNames are the tests of the module.
func testNames(t *testing.T, root string) map[string]bool {
	names := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
			names[m[1]] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
