package exchangetest_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/submission"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// relationship is one from one object to another.
func relationship(n int, from, to, more string) string {
	return fmt.Sprintf(`{"type":"relationship","spec_version":"2.1","id":"relationship--%08d-0000-4000-8000-000000000000","created":"%s","modified":"%s",`+
		`"relationship_type":"related-to","source_ref":"%s","target_ref":"%s"%s}`, n, version1, version1, from, to, more)
}

// Whoever hands on what is another's, or a feed's, lowers no label and shows nothing of it.
func TestWhoRelaysLowersNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(labelled, "collections:\n", "collections:\n  - {id: old, ceiling: green, readers: all, writers: all, stix: [\"2.0\", \"2.1\"]}\n", 1))
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	const vendor = `,"created_by_ref":"identity--00000000-0000-4000-8000-0000000000cc"`
	own := `,"created_by_ref":"` + e.Identity("cert-pl") + `"`
	if why := pl.add("mid", sample(1, version1, amber+vendor)); why != "" {
		t.Fatal(why)
	}
	x := property(sample(1, version1, ""), "id")[0]
	e.Publish(t, "rustock", "ip,timestamp,cc\n240.0.0.1,2026-03-19T10:00:00Z,AT\n")
	_, _, text := e.Do(t, "GET", "/exchange/collections/cert-at/objects/?match[type]=indicator", at.id, at.token, "", "Accept", taxii.MediaType)
	var got struct{ Objects []json.RawMessage }
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Objects) != 1 {
		t.Fatal(text)
	}
	victim := string(got.Objects[0])
	id := property(victim, "id")[0]
	for what, why := range map[string]string{
		"a version of another creator":         pl.add("low", sample(1, version2, green+own)),
		"one of STIX 2.0 without a version":    at.add("old", `{"type":"indicator","id":"`+x+`","pattern":"x","labels":["tlp:green"]}`),
		"a relationship in capitals":           pl.add("low", relationship(1, strings.ToUpper(x[len("indicator--"):]), x, green)),
		"a relationship in capitals ":          pl.add("low", relationship(2, "indicator--"+strings.ToUpper(x[len("indicator--"):]), "indicator--00000077-0000-4000-8000-000000000000", green)),
		"a relationship to what a feed made":   at.add("low", relationship(3, id, "indicator--00000077-0000-4000-8000-000000000000", green)),
		"what a feed made":                     at.add("low", strings.Replace(victim, `"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"`, `"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"`, 1)),
		"what a feed made, of another creator": at.add("low", strings.NewReplacer(`"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"`, `"marking-definition--34098fce-860f-48ae-8e50-ebd3cc5e41da"`, property(victim, "created_by_ref")[0], e.Identity("cert-at")).Replace(victim)),
	} {
		if why == "" {
			t.Errorf("%s was taken", what)
		}
	}
	st := post(t, e, "low", pl.id, pl.token, envelope(sample(1, version1, ""), relationship(4, x, x, green)))
	if st.SuccessCount != 0 {
		t.Errorf("beside what it refers to: %+v", st)
	}
	// Several labels in one text, and one that only looks like a label.
	for n, label := range []string{"tlp:red tlp:clear", "tlp:red|tlp:clear", "TLP RED", "tlp：red", "TLP:VERY-RED"} {
		text, _ := json.Marshal([]string{label})
		if why := pl.add("low", sample(20+n, version1, `,"labels":`+string(text))); why == "" {
			t.Errorf("label %q was taken for green", label)
		}
	}
}

// A letter that grows in lower case does not end the process, wherever it comes.
func TestOddLettersInLabels(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, dcu := as(t, e, "cert-at"), as(t, e, "dcu")
	odd := sample(1, version1, `,"labels":["ȺȺȺȺȺȺȺȺȺȺȺȺ tlp:"]`)
	if why := at.add("low", odd); !strings.Contains(why, "quarantine") {
		t.Error(why)
	}
	code, _, text := e.Do(t, "POST", "/v1/feeds/rustock/events?format=stix", dcu.id, dcu.token, `{"type":"bundle","id":"bundle--00000000-0000-4000-8000-000000000000","objects":[`+odd+`]}`)
	if code != 200 && code != 422 {
		t.Error(code, text)
	}
}

// What is released from quarantine does not undo what has been said since.
func TestReleaseLowersNothing(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, pl := as(t, e, "cert-at"), as(t, e, "cert-pl")
	at.add("low", sample(1, version1, strings.Replace(unknown, `,"marking-definition--f88d31f6-486f-44da-b317-01333bde0b82"`, "", 1)))
	if why := at.add("room", sample(1, version2, red)); why != "" {
		t.Fatal(why)
	}
	_, _, text := e.Do(t, "GET", "/v1/quarantine", exchange.Admin, e.AdminToken(), "")
	var list []submission.Quarantined
	if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != 1 {
		t.Fatal(text)
	}
	if code, _, text := e.Do(t, "POST", "/v1/quarantine/"+list[0].ID, exchange.Admin, e.AdminToken(), `{"label":"green","reason":"x"}`); code != 409 {
		t.Error(code, text)
	}
	// Who may know of neither is not told of them, and adds an object of its own.
	if why := pl.add("low", sample(1, version2, "")); why != "" {
		t.Error("what cert-pl may not see has made a difference:", why)
	}
	eva, _, err := e.Register.NewToken(t.Context(), "test", "cert-at", exchange.Token{Person: "eva"})
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]int{eva: 200, at.token: 404} {
		if code, h, text := e.Do(t, "GET", "/v1/quarantine/"+list[0].ID+"/object", "cert-at", user, ""); code != want || code == 200 && (!strings.Contains(text, `"indicator"`) || h.Get("Cache-Control") != "no-store") {
			t.Error(code, h, text)
		}
	}
}

// Requests without credentials whose bodies never come take no place from members.
func TestStrangersLeaveRoomForMembers(t *testing.T) {
	t.Parallel()
	e := limited(t, api.Limits{AllConcurrent: 20, Concurrent: 100, Pace: time.Second})
	dcu := as(t, e, "dcu")
	for range 40 {
		c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = fmt.Fprintf(c, "GET /public/collections/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nx")
		c, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(e.HTTPURL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = fmt.Fprintf(c, "POST /public/collections/news/objects/ HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: 1000\r\n\r\nx", taxii.MediaType)
	}
	<-time.After(200 * time.Millisecond)
	for range 5 {
		if code, _, text := e.Do(t, "GET", "/exchange/collections/", dcu.id, dcu.token, "", "Accept", taxii.MediaType); code != 200 {
			t.Error(code, text)
		}
	}
}
