package exchangetest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

func client(e *exchangetest.Exchange, user, token string) *apiclient.Client {
	return &apiclient.Client{Server: e.HTTPURL(), User: user, Token: token, HTTP: taxiiclient.NewHTTP()}
}

var errEnough = errors.New("enough")

// receive reads events from where last says until there are n objects, and
// returns their ids and where it stands.
func receive(t *testing.T, e *exchangetest.Exchange, user, token, collection, from, last string, n int) (ids []string, _ string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := client(e, user, token).Events(ctx, collection, from, last, func(ev *apiclient.Event) error {
		last = ev.ID
		err := stix.Objects(ev.Bundle, func(raw []byte) error {
			if id := property(string(raw), "id")[0]; !strings.HasPrefix(id, "identity--") { // of who has added the others
				ids = append(ids, id)
			}
			return nil
		})
		if err == nil && len(ids) >= n {
			err = errEnough
		}
		return err
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("%d of %d objects: %v", len(ids), n, err)
	}
	return ids, last
}

func TestEventsResumeWithoutGapOrRepeat(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	n := 0
	add := func(many int) {
		var objects []string
		for range many {
			n++
			objects = append(objects, sample(n, version1, ""))
		}
		post(t, e, "board", "cert-at", at, envelope(objects...))
	}
	add(3)
	got, last := receive(t, e, "cert-at", at, "board", "", "", 3)
	add(1200)
	more, last := receive(t, e, "cert-at", at, "board", "", last, 1200)
	got = append(got, more...)
	// What comes while somebody listens.
	var posting sync.WaitGroup
	posting.Go(func() {
		<-time.After(100 * time.Millisecond)
		add(2)
	})
	more, last = receive(t, e, "cert-at", at, "board", "", last, 2)
	posting.Wait() // its answer can come later than the event
	got = append(got, more...)
	for i, id := range got {
		if want := property(sample(i+1, version1, ""), "id")[0]; id != want {
			t.Fatalf("event %d is %s, want %s", i, id, want)
		}
	}
	if more, _ := receive(t, e, "cert-at", at, "board", "3", "", 1); more[0] != got[503] {
		t.Errorf("from the third block: %s, want %s", more[0], got[503])
	}
	if last == "" {
		t.Error("events have no ids")
	}
}

// eventStatus asks for a stream and returns what it answers.
func eventStatus(t *testing.T, e *exchangetest.Exchange, user, token, collection, last string) (int, http.Header, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.HTTPURL()+"/v1/collections/"+collection+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		req.SetBasicAuth(user, token)
	}
	req.Header.Set("Last-Event-ID", last)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	return res.StatusCode, res.Header, nil
}

func TestEventsHaveTheRightsOfTAXII(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at, isp := e.Token(t, "cert-at"), e.Token(t, "isp-one")
	for _, c := range []struct {
		user, token, collection, last string
		want                          int
	}{
		{"cert-at", at, "cert-at", "", 200},
		{"isp-one", isp, "isp-one", "", 200}, // which gets nothing over NATS
		{"isp-one", isp, "cert-at", "", 404},
		{"cert-at", at, "cert-pl", "", 404},
		{"cert-at", at, "nothing", "", 404},
		{"cert-at", "wrong", "cert-at", "", 401},
		{"", "", "cert-at", "", 401},
		{"", "", "news", "", 200},
		{"cert-at", at, "cert-at", "x", 400},
		{"cert-at", at, "cert-at", "5-3", 400},
		{"cert-at", at, "cert-at", "-1-3", 400},
		{"cert-at", at, "cert-at", "0-99999999999999999999", 400},
	} {
		code, h, err := eventStatus(t, e, c.user, c.token, c.collection, c.last)
		if err != nil || code != c.want {
			t.Errorf("%s reads %s from %q: %d, want %d: %v", c.user, c.collection, c.last, code, c.want, err)
		}
		if code == 200 && (h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-store") {
			t.Error(h)
		}
	}
}

// A stream ends soon after the right to read it.
func TestEventsEndWithTheRight(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	pl := e.Token(t, "cert-pl")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL()+"/v1/collections/board/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("cert-pl", pl)
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := e.Register.RevokeTokens(t.Context(), "test", "cert-pl", ""); err != nil {
		t.Fatal(err)
	}
	post(t, e, "board", "cert-at", e.Token(t, "cert-at"), envelope(sample(1, version1, "")))
	done := make(chan string, 1)
	go func() {
		var text strings.Builder
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			fmt.Fprintln(&text, s.Text())
		}
		done <- text.String()
	}()
	select {
	case text := <-done:
		if strings.Contains(text, "indicator--") || !strings.Contains(text, "you may not read") {
			t.Error(text)
		}
	case <-time.After(10 * time.Second):
		t.Error("the stream goes on")
	}
}

// A reader who takes nothing does not hold the exchange up.
func TestASlowReaderHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, writable)
	at := e.Token(t, "cert-at")
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, e.HTTPURL()+"/v1/collections/board/events", nil)
	req.SetBasicAuth("cert-at", at)
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("x", 20_000)
	for i := range 20 {
		var objects []string
		for j := range 20 {
			objects = append(objects, sample(100*i+j, version1, `,"name":"`+text+`"`))
		}
		if st := post(t, e, "board", "cert-at", at, envelope(objects...)); st.SuccessCount != 20 {
			t.Fatalf("%+v", st.Failures)
		}
	}
	if got, _ := receive(t, e, "cert-at", at, "board", "", "", 400); len(got) != 400 {
		t.Errorf("%d objects", len(got))
	}
}
