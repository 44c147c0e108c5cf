package exchangetest

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/taxii"
)

// Crowd are writers and followers of one collection, all at once: writers post
// batches of 1 to 200 objects with pauses; followers read by next, by
// added_after alone, and by both as it comes, with limits from 1 to 5000. What
// fails is tried again, as after a restart of the server.
type Crowd struct {
	// Base is where the server is at the moment, without a slash at its end.
	Base func() string
	// Collection is its URL's path, which User may read and write.
	Collection, User, Token string
	Writers                 int

	t       testing.TB
	objects int
	left    atomic.Int64
	posted  atomic.Int64
	done    chan struct{}
}

// CrowdSize is how many objects a crowd writes: the least, or what the
// environment says in TOCSIN_CROWD.
func CrowdSize(least int) int {
	if n, err := strconv.Atoi(os.Getenv("TOCSIN_CROWD")); err == nil && n > 0 {
		return n
	}
	return least
}

// Posted is how many objects have been acknowledged.
func (c *Crowd) Posted() int64 { return c.posted.Load() }

// Run writes a number of objects and reports to the test what a follower missed
// or, by next, got twice.
func (c *Crowd) Run(t testing.TB, objects int) {
	t.Helper()
	c.t, c.objects, c.done = t, objects, make(chan struct{})
	c.left.Store(int64(objects))
	var writers, followers sync.WaitGroup
	for w := range c.Writers {
		writers.Go(func() { c.write(rand.New(rand.NewPCG(1, uint64(w)))) })
	}
	got := make(map[string]map[string]int)
	var mu sync.Mutex
	for i, by := range []string{"next", "added_after", "both"} {
		followers.Go(func() {
			seen := c.follow(by, rand.New(rand.NewPCG(2, uint64(i))))
			mu.Lock()
			defer mu.Unlock()
			got[by] = seen
		})
	}
	writers.Wait()
	close(c.done)
	followers.Wait()
	for by, seen := range got {
		twice := 0
		for _, n := range seen {
			if n > 1 {
				twice++
			}
		}
		t.Logf("by %s: %d of %d, %d of them twice", by, len(seen), objects, twice)
		if len(seen) != objects || twice > 0 {
			t.Errorf("by %s: %d of %d objects, %d of them twice", by, len(seen), objects, twice)
		}
	}
}

func crowdObject(n int64) string {
	return fmt.Sprintf(`{"type":"indicator","spec_version":"2.1","id":"indicator--%08d-0000-4000-8000-%012d","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-01T00:00:00.000Z",`+
		`"pattern":"[ipv4-addr:value = '198.51.100.1']","pattern_type":"stix","valid_from":"2026-01-01T00:00:00Z"}`, n, n)
}

// write posts batches until all objects are in.
func (c *Crowd) write(r *rand.Rand) {
	for {
		size := r.Int64N(200) + 1
		end := c.left.Add(-size) + size
		if end <= 0 {
			return
		}
		var batch []string
		for n := end; n > 0 && n > end-size; n-- {
			batch = append(batch, crowdObject(n))
		}
		var st taxii.Status
		c.ask(http.MethodPost, "objects/", `{"objects":[`+strings.Join(batch, ",")+`]}`, &st)
		if st.SuccessCount+st.PendingCount != len(batch) {
			c.t.Errorf("%d of %d are in: %+v", st.SuccessCount, len(batch), st.Failures)
		}
		c.posted.Add(int64(len(batch)))
		<-time.After(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}

// ask sends a request until it is answered.
func (c *Crowd) ask(method, path, body string, out any) http.Header {
	for {
		h, err := c.once(method, path, body, out)
		if err == nil {
			return h
		}
		if c.t.Context().Err() != nil {
			return h
		}
		<-time.After(20 * time.Millisecond)
	}
}

func (c *Crowd) once(method, path, body string, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.Base()+c.Collection+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth(c.User, c.Token)
	req.Header.Set("Content-Type", taxii.MediaType)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode/100 != 2 {
		if res.StatusCode != http.StatusServiceUnavailable {
			c.t.Errorf("%s %s: %d %.300s", method, path, res.StatusCode, text)
		}
		return nil, fmt.Errorf("status %d", res.StatusCode)
	}
	return res.Header, json.Unmarshal(text, out)
}

// follow reads until the writers are done and nothing is left, and returns how
// often each object came.
func (c *Crowd) follow(by string, r *rand.Rand) map[string]int {
	seen := make(map[string]int)
	next, after := "", ""
	limits := []int{1, 2, 7, 50, 333, 1000, 5000}
	for {
		last := false
		select {
		case <-c.done:
			last = true
		default:
		}
		q := url.Values{"limit": {strconv.Itoa(limits[r.IntN(len(limits))])}}
		if next != "" && (by == "next" || by == "both" && r.IntN(2) == 0) {
			q.Set("next", next)
		} else if after != "" {
			q.Set("added_after", after)
		}
		var env struct {
			More    bool
			Next    string
			Objects []struct{ ID string }
		}
		h := c.ask(http.MethodGet, "objects/?"+q.Encode(), "", &env)
		for _, o := range env.Objects {
			if !strings.HasPrefix(o.ID, "identity--") { // of who writes
				seen[o.ID]++
			}
		}
		if len(env.Objects) > 0 {
			after = h.Get(taxii.HeaderAddedLast)
		}
		next = env.Next
		if !env.More && len(env.Objects) == 0 {
			if last || c.t.Context().Err() != nil {
				return seen
			}
			<-time.After(time.Millisecond)
		}
	}
}
