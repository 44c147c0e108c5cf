package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary stand in for tocsin: in the scripts, and where
// a test starts and kills processes of its own.
func TestMain(m *testing.M) {
	if os.Getenv("TOCSIN_TEST_MAIN") != "" {
		main()
	}
	testscript.Main(m, map[string]func(){"tocsin": main})
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			if err := os.CopyFS(filepath.Join(e.WorkDir, "sample"), os.DirFS("../../exchange/report/testdata")); err != nil {
				return err
			}
			e.Setenv("TOCSIN_SERVER", "")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			// ready DIR waits until an exchange on the directory answers.
			"ready": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(waitReady(ts.MkAbs(args[0])))
			},
			// lastword FILE writes the last word of a file to another.
			"lastword": func(ts *testscript.TestScript, _ bool, args []string) {
				words := strings.Fields(ts.ReadFile(args[0]))
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(words[len(words)-1]), 0o600))
			},
			// rows N FILE writes a log of N hosts, half of them Austrian.
			"rows": func(ts *testscript.TestScript, _ bool, args []string) {
				var n int
				_, err := fmt.Sscan(args[0], &n)
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(logRows(n)), 0o600))
			},
			// count N TEXT FILE checks how often a text stands in a file.
			"count": func(ts *testscript.TestScript, _ bool, args []string) {
				if got := fmt.Sprint(strings.Count(ts.ReadFile(args[2]), args[1])); got != args[0] {
					ts.Fatalf("%q stands %s times in %s, want %s", args[1], got, args[2], args[0])
				}
			},
		},
	})
}

func logRows(n int) string {
	var b strings.Builder
	b.WriteString("timestamp,ip,port,asn,cc,malware,dst_ip,dst_port\n")
	for i := range n {
		fmt.Fprintf(&b, "2026-03-19 %02d:%02d:%02d,240.%d.%d.%d,%d,4200000000,%s,rustock,250.0.0.1,80\n",
			i/3600%24, i/60%60, i%60, i>>16, i>>8&255, i&255, 1024+i%60000, []string{"AT", "PL"}[i%2])
	}
	return b.String()
}

// waitReady waits until the exchange on a directory answers.
func waitReady(dir string) error {
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) {
		a := access{data: dir}
		if _, err := os.Stat(filepath.Join(dir, "address.json")); err == nil {
			if r, err := a.resolve(); err == nil {
				if res, err := http.Get(r.server + "/readyz"); err == nil {
					_ = res.Body.Close()
					if res.StatusCode == http.StatusOK {
						return nil
					}
				}
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	return fmt.Errorf("%s: not ready within two minutes", dir)
}
