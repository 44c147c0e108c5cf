package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest/faults"
	"github.com/tocsin-exchange/tocsin/exchange/record"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// victim is an exchange that has done a bit of everything, stopped, and what it is answered when it is whole.
type victim struct {
	dir     string
	revoked string // a token of cert-at
	answers map[string]string
	audit   int  // records, when it was stopped
	more    bool // a row has been published since
	given   bool // the operator has given up what no collection is made of
}

// victimRegister is its register.
const victimRegister = exchangetest.Register + `
  - {id: board, ceiling: amber, readers: all, writers: all}
`

func sampleObject(n int, extra string) string {
	return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--%08d-0000-4000-8000-000000000000","created":"2026-01-01T00:00:00.000Z",`+
		`"modified":"2026-01-01T00:00:00.000Z","pattern":"[ipv4-addr:value = '198.51.100.%d']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"%s}`, n, n%256, extra)
}

const (
	boardPath    = "/exchange/collections/board/objects/"
	unknownLevel = `,"object_marking_refs":["marking-definition--acacacac-0000-4000-8000-000000000001"]`
)

func newVictim(t *testing.T) *victim {
	t.Helper()
	v := &victim{dir: t.TempDir()}
	e := exchangetest.Open(t, v.dir)
	e.Apply(t, victimRegister)
	v.revoked = e.Token(t, "cert-at")
	token := e.Token(t, "cert-at")
	add := func(objects ...string) {
		code, _, text := e.Do(t, "POST", boardPath, "cert-at", token, `{"objects":[`+strings.Join(objects, ",")+`]}`, "Content-Type", taxii.MediaType)
		if code != http.StatusAccepted {
			t.Fatal(code, text)
		}
	}
	for i := range 12 {
		e.Publish(t, "rustock", logRows(40*(i+1)))
		add(sampleObject(2*i, ""), sampleObject(2*i+1, ""))
	}
	if code, _, text := e.Do(t, "DELETE", boardPath+"indicator--00000003-0000-4000-8000-000000000000/", "cert-at", token, ""); code != http.StatusOK {
		t.Fatal(code, text)
	}
	add(sampleObject(100, unknownLevel))
	e.Do(t, "POST", "/v1/feedback/clean", "cert-at", token, `{"addresses":["240.0.0.0"]}`, "Content-Type", "application/json")
	if n, err := e.Register.RevokeTokens(t.Context(), "test", "cert-at", "token-1"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	e.Apply(t, strings.Replace(victimRegister, "ceiling: green", "ceiling: clear", 1))
	e.Publish(t, "rustock", logRows(600))
	e.Stop(t)

	dir := v.copy(t)
	p := startProcess(t, dir)
	v.answers = p.ask(t)
	p.kill()
	var ends map[string]record.Head
	text, err := os.ReadFile(filepath.Join(v.dir, "stopped.json"))
	if err != nil || json.Unmarshal(text, &ends) != nil || ends[exchange.AuditStream].Sequence == 0 {
		t.Fatal(string(text), err)
	}
	v.audit = int(ends[exchange.AuditStream].Sequence)
	for what, text := range v.answers {
		if strings.HasPrefix(text, "503") || strings.HasPrefix(text, "500") {
			t.Fatal(what, text)
		}
	}
	return v
}

func (v *victim) copy(t *testing.T) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(v.dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// get is a request of the operator.
func (p *process) get(t *testing.T, path string) (code int, text string) {
	t.Helper()
	r, err := (&access{data: p.dir}).resolve()
	if err != nil {
		return 0, err.Error()
	}
	return p.as(t, r.user, r.token, "GET", path, "")
}

func (p *process) as(t *testing.T, user, token, method, path, body string) (code int, text string) {
	t.Helper()
	r, err := (&access{data: p.dir}).resolve()
	if err != nil {
		return 0, err.Error()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.server+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, token)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Content-Type", "text/csv")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	all, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(all)
}

// asked is what is compared: every object of every collection, with its place, and what operators look at.
var asked = []string{
	"/exchange/collections/cert-at/objects/?limit=5000", "/exchange/collections/cert-pl/objects/?limit=5000", "/exchange/collections/isp-one/objects/?limit=5000",
	"/exchange/collections/feed-rustock/objects/?limit=5000", "/exchange/collections/board/objects/?limit=5000", "/exchange/collections/feedback-cert-at/objects/?limit=5000",
	"/exchange/collections/cert-at/manifest/?limit=5000", "/v1/quarantine", "/v1/explain?address=240.0.0.2", "/v1/register",
}

func (p *process) ask(t *testing.T) map[string]string {
	t.Helper()
	answers := make(map[string]string)
	for _, path := range asked {
		code, text := p.get(t, path)
		answers[path] = fmt.Sprintf("%d %s", code, text)
	}
	return answers
}

// auditRecords is how many records the audit has, as its verification says, -1 where it says that it does not hold.
func (p *process) auditRecords(t *testing.T) int {
	t.Helper()
	code, text := p.get(t, "/v1/audit/verify")
	var chain api.AuditChain
	if code != http.StatusOK || json.Unmarshal([]byte(text), &chain) != nil || chain.Problem != "" {
		return -1
	}
	return chain.Records
}

// tryProcess starts an exchange that may not start. It returns what it has written, and false where it ended.
func tryProcess(t *testing.T, dir string, within time.Duration) (p *process, said *exchangetest.Buffer, ready bool) {
	t.Helper()
	_ = os.Remove(filepath.Join(dir, "address.json"))
	said = new(exchangetest.Buffer)
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("journal: {scrub: 1s}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = &process{dir: dir, cmd: exec.Command(os.Args[0], "serve", "--config", file, "--data", dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0")}
	p.cmd.Env = append(os.Environ(), "TOCSIN_TEST_MAIN=1")
	p.cmd.Stderr = said
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	p.ended = make(chan struct{})
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	deadline := time.After(within)
	for {
		select {
		case <-p.ended:
			return p, said, false
		case <-deadline:
			return p, said, false
		case <-time.After(20 * time.Millisecond):
		}
		if strings.Contains(said.String(), "ready: HTTP") {
			return p, said, true
		}
	}
}

// end is a stop in order, or a kill where that takes too long.
func (p *process) end() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(30 * time.Second):
		p.kill()
	}
}

var backtrace = regexp.MustCompile(`(?m)^(panic: |goroutine \d+ \[|fatal error: )`)

// judge starts an exchange that was damaged, and returns what became of it: "whole", "refused" (it does not start, and says
// why), "named" (what is damaged answers with an error, the rest as before).
func (v *victim) judge(t *testing.T, dir string) (verdict string, problems []string) {
	t.Helper()
	p, said, ready := tryProcess(t, dir, time.Minute)
	defer p.kill()
	if ready {
		return v.look(t, p, said)
	}
	p.end()
	text := said.String()
	if backtrace.MatchString(text) {
		problems = append(problems, fmt.Sprintf("it panics: %.600s", text))
	}
	last := strings.TrimSpace(text[strings.LastIndex(strings.TrimSpace(text), "\n")+1:])
	if !strings.Contains(last, "tocsin:") {
		problems = append(problems, fmt.Sprintf("it does not start and does not say why: %.600s", text))
	}
	return "refused: " + last, problems
}

// look asks an exchange that runs, and stops it.
func (v *victim) look(t *testing.T, p *process, said *exchangetest.Buffer) (verdict string, problems []string) {
	t.Helper()
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	dir := p.dir
	verdict = "whole"
	for _, path := range asked {
		code, body := p.get(t, path)
		switch got := fmt.Sprintf("%d %s", code, body); {
		case got == v.answers[path], v.more && strings.HasPrefix(path, "/exchange/") && strings.HasPrefix(got, strings.TrimSuffix(strings.TrimSpace(v.answers[path]), "]}")):
		case code >= 500:
			verdict = "named"
		case v.given && path == "/v1/quarantine":
		case path == "/v1/register":
			wrong("the register is another: %.300s", got)
		default:
			wrong("%s: %d bytes, %d when it was whole: %.200s", path, len(got), len(v.answers[path]), got)
		}
	}
	if code, body := p.as(t, "cert-at", v.revoked, "GET", "/exchange/collections/", ""); code != http.StatusUnauthorized {
		wrong("a revoked token: %d %.100s", code, body)
	}
	// A receipt is a promise.
	row := "240.9.9.8"
	if v.more {
		row = "240.9.9.9"
	}
	r, err := (&access{data: dir}).resolve()
	if err != nil {
		return verdict, append(problems, err.Error())
	}
	code, body := p.as(t, r.user, r.token, "POST", "/v1/feeds/rustock/events?wait=1", "ip,timestamp,cc,asn\n"+row+",2026-03-19T00:00:00Z,AT,1\n")
	if code == http.StatusOK {
		var receipt exchange.Receipt
		_ = json.Unmarshal([]byte(body), &receipt)
		found, status := p.finds(t, row)
		if status >= http.StatusInternalServerError { // of a damaged view, which the next start makes anew
			p.end()
			var ready bool
			if p, said, ready = tryProcess(t, dir, time.Minute); ready {
				found, _ = p.finds(t, row)
			}
		}
		if !found {
			wrong("a row with a receipt does not reach its collection: %.200s", body)
		}
	} else {
		verdict += ", takes nothing: " + strconv.Itoa(code)
		if code < 500 && code != 0 { // which it did not wait for
			wrong("publish: %d %.200s", code, body)
		}
	}
	audit := p.auditRecords(t)
	if audit >= 0 && audit < v.audit && !v.given {
		wrong("the audit has %d records, %d were written, and it says that it is whole", audit, v.audit)
	} else if audit < 0 {
		verdict += ", the audit is damaged"
	}
	p.end()
	if backtrace.MatchString(said.String()) {
		wrong("it panics: %.600s", said.String())
	}
	if len(problems) > 0 {
		text := said.String()
		problems = append(problems, "it said: "+text[max(0, len(text)-3000):])
	}
	return verdict, problems
}

// finds tells whether a row comes to its collection, and what the collection is answered with.
func (p *process) finds(t *testing.T, row string) (found bool, status int) {
	t.Helper()
	for range 100 {
		code, page := p.get(t, "/exchange/collections/cert-at/objects/?limit=5000")
		if strings.Contains(page, row) {
			return true, code
		}
		status = code
		<-time.After(30 * time.Millisecond)
	}
	return false, status
}

// faultsSetting reads how many cases there are, and the seed of the first.
func faultsSetting(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}

// Whatever is damaged of a data directory at rest: it is noticed, or it makes no difference. No wrong byte is served, no
// receipt given for what reaches nobody. TOCSIN_FAULTS is how many faults there are, TOCSIN_FAULTS_SEED the first's seed.
func TestDamageAtRestIsNoticed(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.each(t, 26, func(f faults.Fault, dir string) (verdict string, problems []string) {
		if err := f.Do(dir); err != nil {
			t.Fatal(err)
		}
		verdict, problems = v.judge(t, dir)
		if len(problems) > 0 || verdict == "whole" {
			return verdict, problems
		}
		now, more := v.repair(t, dir)
		return verdict + "; " + now, more
	})
}

// repair has an exchange repaired. Where that says that all is well, it is: every byte is there, and it takes rows again.
func (v *victim) repair(t *testing.T, dir string) (verdict string, problems []string) {
	t.Helper()
	var out, errs strings.Builder
	if code := run([]string{"repair", "--data", dir, "--yes", "--accept"}, strings.NewReader(""), &out, &errs); code != 0 {
		return "not repaired: " + strings.ReplaceAll(out.String()+errs.String(), "\n", " / "), nil
	}
	later := *v
	later.more, later.given = true, true
	verdict, problems = later.judge(t, dir)
	if verdict != "whole" && verdict != "whole, the audit is damaged" { // its chain has a hole for ever, and says so
		problems = append(problems, "it was repaired, and is not whole")
	}
	return "repaired, " + verdict + " (" + strings.ReplaceAll(out.String(), "\n", " / ") + ")", problems
}

// The same beneath an exchange that runs: what it gives is right, now, after it has read its files, and after the next start.
func TestDamageBeneathARunningExchangeIsNoticed(t *testing.T) {
	t.Parallel()
	v := newVictim(t)
	v.each(t, 27, func(f faults.Fault, dir string) (verdict string, problems []string) {
		p, said, ready := tryProcess(t, dir, time.Minute)
		defer p.kill()
		if !ready {
			t.Fatal(said.String())
		}
		err := f.Do(dir)
		if os.IsNotExist(err) { // the file has another name by now
			return "passed over", nil
		}
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(1500 * time.Millisecond) // a scrub
		now, problems := v.look(t, p, said)
		later := *v
		later.more = true
		then, more := later.judge(t, dir)
		return now + "; then " + then, append(problems, more...)
	})
}

// each does something with one copy after the other, and the fault that is for it.
func (v *victim) each(t *testing.T, plan uint64, do func(f faults.Fault, dir string) (verdict string, problems []string)) {
	t.Helper()
	n, seed := faultsSetting("TOCSIN_FAULTS", 12), faultsSetting("TOCSIN_FAULTS_SEED", 1)
	verdicts := make(map[string]int)
	for i := range n {
		r := rand.New(rand.NewPCG(uint64(seed+i), plan))
		dir := v.copy(t)
		f, err := faults.Plan(r, dir, i%2 == 1)
		if err != nil {
			t.Fatal(err)
		}
		verdict, problems := do(f, dir)
		short, _, _ := strings.Cut(verdict, ":")
		verdicts[short]++
		if len(problems) > 0 {
			t.Errorf("seed %d, %v: %s\n  %s", seed+i, f, verdict, strings.Join(problems, "\n  "))
		} else {
			t.Logf("seed %d, %v: %.300s", seed+i, f, verdict)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
	}
	t.Log(verdicts)
}
