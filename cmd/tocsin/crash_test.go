package main

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// process is tocsin serve in a process of its own, that can be killed.
type process struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{} // closed once it has ended, where somebody waits for that; nil where nobody does
}

func startProcess(t *testing.T, dir string) *process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(dir, "address.json"))
	p := &process{dir: dir, cmd: exec.Command(exe, "serve", "--data", dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0")}
	p.cmd.Env = append(os.Environ(), "TOCSIN_TEST_MAIN=1")
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	if err := waitReady(dir); err != nil {
		t.Fatal(err)
	}
	return p
}

// kill is kill -9.
func (p *process) kill() {
	if p.ended != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
		return
	}
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

func (p *process) client(t *testing.T) *apiclient.Client {
	t.Helper()
	r, err := (&access{data: p.dir}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	c := newClient(r)
	c.HTTP.RetryMax = 0
	return c
}

// objects reads collections whole, sorted by their text.
func (p *process) objects(t *testing.T, types []string, collections ...string) []string {
	t.Helper()
	if err := waitReady(p.dir); err != nil { // a receipt promises durable, not visible
		t.Fatal(err)
	}
	r, err := (&access{data: p.dir}).resolve()
	if err != nil {
		t.Fatal(err)
	}
	c, err := taxiiclient.New(taxiiclient.Options{Server: r.server, User: r.user, Token: r.token})
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, name := range collections {
		col, err := c.Find(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for page, err := range c.Pages(t.Context(), col, taxiiclient.Cursor{}, taxii.Filter{Limit: 5000, Types: types}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range page.Objects {
				list = append(list, name+" "+string(o))
			}
		}
	}
	slices.Sort(list)
	last := ""
	list = slices.DeleteFunc(list, func(o string) bool { // what hosts' objects refer to stands at several places; they stand at one
		_, text, _ := strings.Cut(o, " ")
		again := o == last && !exchangetest.OfAHost(text)
		last = o
		return again
	})
	return list
}

func initDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register)
	e.Stop(t)
	return dir
}

var crashCollections = []string{"cert-at", "cert-pl", "feed-rustock"}

// cleanRun is what the log gives without any accident.
func cleanRun(t *testing.T, source string) []string {
	t.Helper()
	p := startProcess(t, initDir(t))
	r, err := p.client(t).Publish(t.Context(), strings.NewReader(source), apiclient.Publication{Feed: "rustock"})
	if err != nil || r.Rejected != 0 {
		t.Fatal(r, err)
	}
	return p.objects(t, nil, crashCollections...)
}

func compareRuns(t *testing.T, want, got []string) {
	t.Helper()
	if slices.Equal(want, got) {
		return
	}
	count := map[string]int{}
	for _, o := range got {
		count[o]++
	}
	for _, o := range want {
		count[o]--
	}
	shown := 0
	for o, n := range count {
		if n != 0 && shown < 5 {
			shown++
			t.Errorf("%+d: %.300s", n, o)
		}
	}
	t.Errorf("%d objects, a clean run has %d", len(got), len(want))
}

// The server is killed twenty times while a publisher sends, which tries again
// each time. What was acknowledged is there after each kill, and in the end all
// is as in a run without accidents.
func TestKillsLoseNothingAcknowledged(t *testing.T) {
	t.Parallel()
	const kills, hosts = 20, 12_000
	source := logRows(hosts)
	dir := initDir(t)
	p := startProcess(t, dir)
	acknowledged := int64(0)
	for i := range kills {
		client := p.client(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan *exchange.Receipt)
		part := source[:strings.LastIndexByte(source[:len(source)*(i+1)/kills], '\n')+1]
		go func() {
			r, _ := client.Publish(ctx, strings.NewReader(part), apiclient.Publication{Feed: "rustock"})
			done <- r
		}()
		<-time.After(time.Duration(10+rand.IntN(80)) * time.Millisecond)
		p.kill()
		cancel()
		r := <-done
		acknowledged = max(acknowledged, r.Events+r.Duplicates)
		p = startProcess(t, dir)
		if n := int64(len(p.objects(t, []string{"observed-data"}, "feed-rustock"))); n < acknowledged {
			t.Fatalf("kill %d: %d hosts are there, %d were acknowledged", i, n, acknowledged)
		}
	}
	r, err := p.client(t).Publish(t.Context(), strings.NewReader(source), apiclient.Publication{Feed: "rustock"})
	if err != nil || r.Events+r.Duplicates != hosts {
		t.Fatalf("%+v, %v", r, err)
	}
	got := p.objects(t, nil, crashCollections...)
	p.kill()
	compareRuns(t, cleanRun(t, source), got)
	verifyWhole(t, dir, 2)
}

// The publisher is killed half way, and runs again.
func TestAKilledPublisherRunsAgain(t *testing.T) {
	t.Parallel()
	source := logRows(12_000)
	file := filepath.Join(t.TempDir(), "log.csv")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, initDir(t))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	publish := func() *exec.Cmd {
		c := exec.Command(exe, "publish", "--feed", "rustock", "--data", p.dir, "--json", file)
		c.Env = append(os.Environ(), "TOCSIN_TEST_MAIN=1")
		c.Stderr = os.Stderr
		return c
	}
	first := publish()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	// Half way: something is there.
	for len(p.objects(t, nil, "cert-at")) == 0 {
		<-time.After(5 * time.Millisecond)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	out, err := publish().Output()
	if err != nil {
		t.Fatal(err)
	}
	var r exchange.Receipt
	if err := json.Unmarshal(out, &r); err != nil || r.Events+r.Duplicates != 12_000 {
		t.Errorf("%s, %v", out, err)
	}
	compareRuns(t, cleanRun(t, source), p.objects(t, nil, crashCollections...))
}

// verifyWhole walks the chains of an exchange that does not run.
func verifyWhole(t *testing.T, dir string, chains int) {
	t.Helper()
	var out, errs strings.Builder
	if code := run([]string{"verify", "--data", dir}, strings.NewReader(""), &out, &errs); code != 0 || strings.Count(out.String(), "whole") < chains {
		t.Errorf("verify: %d\n%s%s", code, out.String(), errs.String())
	}
}

// The same over kill -9 in the middle, twice: what was acknowledged reaches every
// follower.
func TestFollowersMissNothingOverAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := exchangetest.Open(t, dir)
	e.Apply(t, exchangetest.Register+"\n  - {id: board, ceiling: amber, readers: all, writers: all}\n")
	token := e.Token(t, "cert-at")
	e.Stop(t)
	p := startProcess(t, dir)
	var base atomic.Pointer[string]
	move := func() {
		r, err := (&access{data: dir}).resolve()
		if err != nil {
			t.Error(err)
		}
		base.Store(&r.server)
	}
	move()
	size := exchangetest.CrowdSize(6000)
	c := &exchangetest.Crowd{Base: func() string { return *base.Load() }, Collection: "/exchange/collections/board/", User: "cert-at", Token: token, Writers: 8}
	finished, killed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(killed)
		for _, at := range []int{size / 3, 2 * size / 3} {
			for c.Posted() < int64(at) {
				select {
				case <-finished:
					return
				case <-time.After(time.Millisecond):
				}
			}
			p.kill()
			p = startProcess(t, dir)
			move()
		}
	}()
	c.Run(t, size)
	close(finished)
	<-killed
	p.kill()
	verifyWhole(t, dir, 1)
}
