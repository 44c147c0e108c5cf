package exchangetest_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// limited starts an exchange with limits.
func limited(t testing.TB, l api.Limits) *exchangetest.Exchange {
	t.Helper()
	e := exchangetest.OpenWith(t, node.Options{Dir: t.TempDir(), HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Limits: l})
	e.Apply(t, writable)
	return e
}

func TestEachCallerHasItsOwnLimits(t *testing.T) {
	e := limited(t, api.Limits{Requests: 5, Logins: 0.01})
	at, pl := e.Token(t, "cert-at"), e.Token(t, "cert-pl")
	codes := make(map[int]int)
	var retry string
	for range 40 {
		code, h, text := e.Do(t, "GET", "/taxii2/", "cert-at", at, "", "Accept", taxii.MediaType)
		if codes[code]++; code == 429 {
			retry = h.Get("Retry-After")
			if !strings.Contains(text, `"http_status":"429"`) {
				t.Error(text)
			}
		}
	}
	if codes[200] < 10 || codes[200] > 15 || codes[429] == 0 || retry == "" {
		t.Error(codes, retry)
	}
	for range 8 { // another member's are untouched
		if code, _, text := e.Do(t, "GET", "/v1/self", "cert-pl", pl, ""); code != 200 {
			t.Error(code, text)
		}
	}
	// Who guesses is slowed, and locks nobody out.
	for range 30 {
		e.Do(t, "GET", "/v1/self", "cert-pl", "guess", "")
	}
	if code, _, _ := e.Do(t, "GET", "/v1/self", "cert-pl", "guess", ""); code != 429 {
		t.Error("guessing goes on:", code)
	}
	<-time.After(300 * time.Millisecond)
	if code, _, text := e.Do(t, "GET", "/v1/self", "cert-pl", pl, ""); code != 200 {
		t.Error("the member is locked out:", text)
	}
	audited(t, e, func(a *exchange.AuditEntry) bool { return a.Action == exchange.AuditLimited && a.Member == "cert-at" })
}

// Many pages of one caller, one after the other and at a time, all end.
func TestPagesAreGivenBack(t *testing.T) {
	e := limited(t, api.Limits{})
	token := e.Token(t, "cert-at")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 10 {
				if code, _, text := e.Do(t, "GET", boardObjects, "cert-at", token, "", "Accept", taxii.MediaType); code != 200 {
					t.Error(code, text)
				}
			}
		})
	}
	wg.Wait()
}

// ends waits until a connection has ended, and says after how long.
func ends(t *testing.T, c net.Conn, within time.Duration) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c)
	var timeout net.Error
	if err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("the connection is still open after %v (%v)", within, timeout)
	}
}

func TestSlowCallersAreCut(t *testing.T) {
	t.Parallel()
	e := limited(t, api.Limits{Pace: time.Second})
	at := as(t, e, "cert-at")
	dial := func() net.Conn {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	headers, body := dial(), dial()
	_, _ = fmt.Fprintf(headers, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	go func() {
		for range 100 {
			<-time.After(100 * time.Millisecond)
			if _, err := headers.Write([]byte("x")); err != nil {
				return
			}
		}
	}()
	_, _ = fmt.Fprintf(body, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 100000\r\nAuthorization: Bearer %s\r\n\r\n{", boardObjects, taxii.MediaType, at.token)
	go func() {
		for range 100 {
			<-time.After(100 * time.Millisecond)
			if _, err := body.Write([]byte(" ")); err != nil {
				return
			}
		}
	}()
	large(t, e, as(t, e, "dcu"), "board")
	in, size := halfRead(t, e, boardObjects, at.id, at.token)
	unread := time.After(4 * time.Second)
	ends(t, body, 8*time.Second)
	ends(t, headers, 15*time.Second)
	<-unread
	if n, _ := io.CopyN(io.Discard, in, size); n >= size {
		t.Error("who does not read was waited for")
	}
}

// What is huge, packed, deep or endless is refused with the right status, in bounded memory.
func TestHugeRequestsAreRefused(t *testing.T) {
	e := limited(t, api.Limits{})
	at, dcu := as(t, e, "cert-at"), as(t, e, "dcu")
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	zero := make([]byte, 1<<20)
	for range 1024 {
		_, _ = w.Write(zero)
		_, _ = z.Write(zero)
	}
	_, _ = w.Close(), z.Close()
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	inUse := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse
	}
	debug.FreeOSMemory()
	before, peak := inUse(), uint64(0) // exchanges of tests before are counted for nothing
	for _, c := range []struct {
		name, method, path, user, token string
		body                            io.Reader
		header                          []string
		want                            []int
	}{
		{"1 GB to a collection", "POST", boardObjects, at.id, at.token, io.LimitReader(endless{}, 1<<30), []string{"Content-Type", taxii.MediaType}, []int{413}},
		{"1 GB to a feed", "POST", "/v1/feeds/rustock/events?format=csv", dcu.id, dcu.token, io.LimitReader(endless{}, 1<<30), nil, []int{400, 413, 422}},
		{"1 GB to the register", "POST", "/v1/register", exchange.Admin, e.AdminToken(), io.LimitReader(endless{}, 1<<30), nil, []int{413}},
		{"a gzip bomb to a collection", "POST", boardObjects, at.id, at.token, bytes.NewReader(gz.Bytes()), []string{"Content-Type", taxii.MediaType, "Content-Encoding", "gzip"}, []int{413}},
		{"a gzip bomb to a feed", "POST", "/v1/feeds/rustock/events?format=jsonl", dcu.id, dcu.token, bytes.NewReader(gz.Bytes()), []string{"Content-Encoding", "gzip"}, []int{200, 422}},
		{"a zstd bomb to a feed", "POST", "/v1/feeds/rustock/events?format=csv", dcu.id, dcu.token, bytes.NewReader(packed.Bytes()), []string{"Content-Encoding", "zstd"}, []int{200, 422}},
		{"a zstd bomb to a collection", "POST", boardObjects, at.id, at.token, bytes.NewReader(packed.Bytes()), []string{"Content-Type", taxii.MediaType, "Content-Encoding", "zstd"}, []int{415}},
		{"100,000 deep", "POST", boardObjects, at.id, at.token, strings.NewReader(`{"objects":[` + deep + `]}`), []string{"Content-Type", taxii.MediaType}, []int{202, 422}},
		{"100,000 deep rows", "POST", "/v1/feeds/rustock/events?format=jsonl", dcu.id, dcu.token, strings.NewReader(deep), nil, []int{200, 422}},
		{"100,000 deep lint", "POST", "/v1/lint", at.id, at.token, strings.NewReader(deep), nil, []int{200, 400, 422}},
		{"100,000 deep register", "POST", "/v1/register", exchange.Admin, e.AdminToken(), strings.NewReader(deep), nil, []int{422}},
		{"100,000 deep report", "POST", "/v1/clean", at.id, at.token, strings.NewReader(deep), nil, []int{400}},
		{"a header of 10 MB", "GET", "/taxii2/", at.id, at.token, http.NoBody, []string{"X-Large", strings.Repeat("x", 10<<20)}, []int{431}},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, e.HTTPURL()+c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth(c.user, c.token)
		for i := 0; i+1 < len(c.header); i += 2 {
			req.Header.Set(c.header[i], c.header[i+1])
		}
		debug.FreeOSMemory()
		res, err := http.DefaultClient.Do(req)
		peak = max(peak, inUse())
		if err != nil {
			// The server has answered and hung up while the rest was on its way.
			if !strings.Contains(err.Error(), "reset") && !strings.Contains(err.Error(), "broken pipe") {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
		if !slices.Contains(c.want, res.StatusCode) || strings.Contains(string(text), "goroutine") {
			t.Errorf("%s: %d %.300s", c.name, res.StatusCode, text)
		}
	}
	if peak > before+(600<<20) {
		t.Errorf("%d MiB in use, %d before", peak>>20, before>>20)
	}
	if code, _, text := e.Do(t, "GET", "/v1/self", at.id, at.token, ""); code != 200 {
		t.Error("the exchange does not go on:", code, text)
	}
}

// endless is a text without an end of line.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// Every answer has the headers that it should, and none lets pages of other sites in.
func TestWebHygiene(t *testing.T) {
	a := newAuthority(t)
	e := secure(t, a)
	plain := limited(t, api.Limits{})
	for _, path := range []string{"/taxii2/", "/v1/self", "/v1/none", "/healthz", "/none/collections/"} {
		_, h, text := plain.Do(t, "GET", path, "", "", "", "Origin", "https://elsewhere.example")
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" || h.Get("Strict-Transport-Security") != "" || strings.Contains(text, ".go:") {
			t.Error(path, h, text)
		}
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: withRoots(taxii.TLS(), a.pool())}}
	res, err := c.Get(e.HTTPURL() + "/taxii2/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.Header.Get("Strict-Transport-Security") == "" {
		t.Error(res.Header)
	}
}

// BenchmarkFlood measures the time of one member's pages alone and beside another member who asks for
// as many as it can.
func BenchmarkFlood(b *testing.B) {
	e := limited(b, api.Limits{})
	at, pl := e.Token(b, "cert-at"), e.Token(b, "cert-pl")
	var objects []string
	for n := range 1000 {
		objects = append(objects, sample(n, version1, ""))
	}
	e.Do(b, "POST", boardObjects, "cert-at", at, envelope(objects...), "Content-Type", taxii.MediaType)
	p99 := func() time.Duration {
		list := make([]time.Duration, 0, 400)
		for range 400 {
			start := time.Now()
			if code, _, _ := e.Do(b, "GET", boardObjects+"?limit=100", "cert-pl", pl, "", "Accept", taxii.MediaType); code != 200 {
				b.Fatal(code)
			}
			list = append(list, time.Since(start))
		}
		slices.Sort(list)
		return list[len(list)*99/100]
	}
	for b.Loop() {
		alone := p99()
		// In a process of its own: its client's work is not the exchange's.
		flood := exec.CommandContext(b.Context(), os.Args[0], "-test.run=TestFlooding")
		flood.Env = append(os.Environ(), floodOf+"="+e.HTTPURL()+boardObjects+" "+at)
		if err := flood.Start(); err != nil {
			b.Fatal(err)
		}
		<-time.After(time.Second)
		beside := p99()
		_ = flood.Process.Kill()
		_ = flood.Wait()
		b.ReportMetric(float64(alone.Microseconds())/1000, "p99-alone-ms")
		b.ReportMetric(float64(beside.Microseconds())/1000, "p99-beside-ms")
		b.ReportMetric(float64(beside)/float64(alone), "ratio")
	}
}

// floodOf names the variable that makes TestFlooding ask for pages, as many as it can.
const floodOf = "TOCSIN_TEST_FLOOD"

func TestFlooding(t *testing.T) {
	url, token, flood := strings.Cut(os.Getenv(floodOf), " ")
	if !flood {
		return // it is a part of BenchmarkFlood
	}
	c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	for range 64 {
		go func() {
			for {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
				if err != nil {
					return
				}
				req.SetBasicAuth("cert-at", token)
				if res, err := c.Do(req); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			}
		}()
	}
	<-t.Context().Done()
}

// A chunk whose extension never seems to end is the sender's fault, wherever a body is read.
func TestAChunkExtensionThatIsTooLong(t *testing.T) {
	e := exchangetest.Start(t, labelled)
	dcu := as(t, e, "dcu")
	for _, path := range []string{"/v1/lint", "/v1/feeds/rustock/events?format=csv", "/exchange/collections/low/objects/"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(http.MethodPost, e.HTTPURL()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.SetBasicAuth(dcu.id, dcu.token)
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: %s\r\nAccept: %s\r\nTransfer-Encoding: chunked\r\n\r\n5;x=%s\r\nip,ti\r\n0\r\n\r\n",
			path, r.Header.Get("Authorization"), taxii.MediaType, taxii.MediaType, strings.Repeat("x", 100_000))
		if err != nil {
			t.Log(err) // it may be cut before it is read
		}
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		answer, err := http.ReadResponse(bufio.NewReader(conn), r)
		if err != nil {
			t.Fatal(path, err)
		}
		if answer.StatusCode != http.StatusBadRequest {
			t.Error(path, answer.Status)
		}
		_ = answer.Body.Close()
		_ = conn.Close()
	}
}

// However much members announce, others add objects as long as it has not arrived.
func TestSlowWritersTakeNothingFromOthers(t *testing.T) {
	t.Parallel()
	e := exchangetest.Open(t, t.TempDir())
	var members strings.Builder
	for i := range 6 {
		fmt.Fprintf(&members, "  - {id: w%d, name: Writer, kind: csirt, clearance: amber}\n", i)
	}
	e.Apply(t, strings.Replace(writable, "feeds:\n", members.String()+"feeds:\n", 1))
	for i := range 40 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		member := fmt.Sprintf("w%d", i/8)
		_, err = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\nAuthorization: Bearer %s\r\nExpect: 100-continue\r\n\r\n",
			boardObjects, taxii.MediaType, 10<<20, e.Token(t, member))
		if err != nil {
			t.Fatal(err)
		}
		// Who is told to go on, is read from.
		if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || !strings.Contains(line, "100") {
			t.Fatal(line, err)
		}
		_, _ = c.Write([]byte(`{"objects":[`))
	}
	for range 5 {
		code, _, text := e.Do(t, "POST", boardObjects, "w5", e.Token(t, "w5"), envelope(sample(1, "2026-01-01T00:00:00.000Z", "")), "Content-Type", taxii.MediaType, "Accept", taxii.MediaType)
		if code != http.StatusAccepted {
			t.Error(code, text)
		}
	}
}

// A member who has added too much is refused with the reason, also after a start; others go on, and so does it when some
// of its own is deleted.
func TestWhatAMemberMayAddIsLimited(t *testing.T) {
	t.Parallel()
	opt := node.Options{Dir: t.TempDir(), HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Limits: api.Limits{StandingBytes: 5000, DayBytes: 200_000}}
	e := exchangetest.OpenWith(t, opt)
	e.Apply(t, labelled)
	at, pl, dcu := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, "dcu")
	post := func(m member, n int) (int, string) {
		t.Helper()
		text := strings.Repeat("x", 2000)
		code, h, body := e.Do(t, "POST", "/exchange/collections/mid/objects/", m.id, m.token, envelope(sample(n, version1, green+`,"description":"`+text+`"`)), "Content-Type", taxii.MediaType, "Accept", taxii.MediaType)
		if code == http.StatusInsufficientStorage && h.Get("Retry-After") == "" {
			t.Error("it does not say when to come again")
		}
		return code, body
	}
	for n := range 3 {
		if code, text := post(at, n); code != http.StatusAccepted {
			t.Fatal(code, text)
		}
	}
	refused := func() {
		t.Helper()
		if code, text := post(at, 9); code != http.StatusInsufficientStorage || !strings.Contains(text, "delete some") || !strings.Contains(text, `"http_status":"507"`) {
			t.Fatal(code, text)
		}
	}
	refused()
	if code, text := post(pl, 20); code != http.StatusAccepted {
		t.Error("another member is refused:", code, text)
	}
	e.Stop(t)
	e = exchangetest.OpenWith(t, opt)
	at.e, pl.e, dcu.e = e, e, e
	refused()
	if got := at.has("mid", 1); len(got) != 1 {
		t.Error("what is there cannot be read")
	}
	if code, _, text := e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+sampleID(1)+"/", at.id, at.token, "", "Accept", taxii.MediaType); code != http.StatusOK {
		t.Fatal(code, text)
	}
	if code, text := post(at, 9); code != http.StatusAccepted {
		t.Error("it has deleted some:", code, text)
	}
	// A publisher's day.
	var rows strings.Builder
	rows.WriteString("ip,timestamp,cc\n")
	for i := range 1000 {
		fmt.Fprintf(&rows, "240.0.%d.%d,2026-03-19T00:00:00Z,AT\n", i/256, i%256)
	}
	publish := func() (int, string) {
		code, _, text := e.Do(t, "POST", "/v1/feeds/rustock/events", dcu.id, dcu.token, rows.String(), "Content-Type", "text/csv")
		return code, text
	}
	for range 2 {
		if code, text := publish(); code != http.StatusOK {
			t.Fatal(code, text)
		}
	}
	if code, text := publish(); code != http.StatusInsufficientStorage || !strings.Contains(text, "in a UTC day") {
		t.Error(code, text)
	}
	if r := e.Publish(t, "rustock", rows.String()); r.Rows != 1000 {
		t.Errorf("the operator is refused: %+v", r)
	}
}
