package exchangetest_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/taxii"
	"github.com/tocsin-exchange/tocsin/taxii/taxiiclient"
)

// A team tells of its infections in a collection of its own, which the operator reads, and publishes on a feed of
// its own.
func TestATeamHasAFeedbackCollectionAndAFeed(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, strings.Replace(exchangetest.Register, "feeds:\n", "feeds:\n  - {id: honeypot, publisher: cert-at, operation: honeypot, malware: {name: Mirai}, allow_reserved: true}\n", 1))
	at, pl, isp := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, "isp-one")
	for n, m := range []member{at, isp} {
		if why := m.add("feedback-"+m.id, sample(1+n, version1, "")); why != "" {
			t.Fatal(m.id, why)
		}
	}
	objects, _ := e.Pull(t, "feedback-cert-at", taxiiclient.Cursor{}, taxii.Filter{})
	if got := strings.Join(objects, "\n"); !strings.Contains(got, sampleID(1)) {
		t.Error(got)
	}
	code, _, text := e.Do(t, "GET", "/exchange/collections/feedback-cert-at/", at.id, at.token, "", "Accept", taxii.MediaType)
	if code != http.StatusOK || !strings.Contains(text, `"can_read":false`) || !strings.Contains(text, `"can_write":true`) {
		t.Error(code, text)
	}
	for _, c := range []struct {
		m                  member
		method, path, body string
		want               int
	}{
		{at, "GET", "/exchange/collections/feedback-cert-at/objects/", "", http.StatusForbidden},
		{pl, "GET", "/exchange/collections/feedback-cert-at/objects/", "", http.StatusNotFound},
		{pl, "POST", "/exchange/collections/feedback-cert-at/objects/", envelope(sample(9, version1, "")), http.StatusNotFound},
		{at, "POST", "/v1/feeds/honeypot/events?format=csv", "ip,timestamp,cc\n240.2.0.1,2026-03-18T10:00:00Z,PL\n", http.StatusOK},
		{pl, "POST", "/v1/feeds/honeypot/events?format=csv", "ip,timestamp,cc\n240.2.0.2,2026-03-18T10:00:00Z,AT\n", http.StatusNotFound},
	} {
		accept := []string{"Accept", taxii.MediaType, "Content-Type", taxii.MediaType}
		if strings.HasPrefix(c.path, "/v1/") {
			accept = nil
		}
		if code, _, text := e.Do(t, c.method, c.path, c.m.id, c.m.token, c.body, accept...); code != c.want {
			t.Error(c.m.id, c.method, c.path, code, text)
		}
	}
	for _, c := range []string{"cert-pl", "feed-honeypot"} {
		if objects, _ := e.Pull(t, c, taxiiclient.Cursor{}, taxii.Filter{}); !strings.Contains(strings.Join(objects, "\n"), "240.2.0.1") {
			t.Error(c, objects)
		}
	}
}
