package exchangetest_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/api"
	"github.com/tocsin-exchange/tocsin/exchange/apiclient"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// audited waits until the audit has an entry that is wanted, and returns the first.
func audited(t *testing.T, e *exchangetest.Exchange, want func(e *exchange.AuditEntry) bool) exchange.AuditEntry {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
		var found *exchange.AuditEntry
		err := e.Journal.EachAudit(t.Context(), time.Time{}, func(a *exchange.AuditEntry) bool {
			if found == nil && want(a) {
				found = a
			}
			return found == nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if found != nil {
			return *found
		}
	}
	var all []exchange.AuditEntry
	_ = e.Journal.EachAudit(t.Context(), time.Time{}, func(a *exchange.AuditEntry) bool { all = append(all, *a); return true })
	t.Fatalf("the audit has no such entry: %+v", all)
	return exchange.AuditEntry{}
}

func TestTheAuditSaysWhoDidWhat(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, isp, admin := as(t, e, "cert-at"), as(t, e, "isp-one"), as(t, e, exchange.Admin)
	began := time.Now()
	e.Publish(t, "rustock", "ip,timestamp,cc,asn,tlp\n240.1.0.1,2026-03-19T10:00:00Z,AT,64511,\n240.1.0.2,2026-03-19T10:00:00Z,AT,64511,amber+strict\n")
	if code, _, text := e.Do(t, "GET", "/exchange/collections/cert-at/objects/", at.id, at.token, "", "Accept", taxii.MediaType); code != 200 {
		t.Fatal(text)
	}
	e.Do(t, "GET", "/exchange/collections/cert-at/objects/", isp.id, isp.token, "", "Accept", taxii.MediaType)
	e.Do(t, "GET", "/v1/self", at.id, "wrong", "")
	e.Do(t, "GET", "/v1/self", "my-token-in-the-wrong-place", "wrong", "")
	e.Do(t, "GET", "/v1/audit", at.id, at.token, "")
	e.Do(t, "POST", "/v1/register", admin.id, admin.token, "collections:\n  - {id: more, ceiling: green}\n")
	for _, path := range []string{"/v1/explain?address=240.1.0.1", "/v1/register", "/v1/audit/given?address=240.1.0.1", "/v1/quarantine"} {
		if code, h, text := e.Do(t, "GET", path, admin.id, admin.token, ""); code != 200 || h.Get("Cache-Control") != "no-store" {
			t.Error(path, code, h, text)
		}
	}
	at.add("mid", sample(1, version1, unknown))
	at.add("low", sample(2, version1, green+vendor))
	at.add("mid", sample(2, version2, amber+vendor))
	ctx, cancel := context.WithCancel(t.Context())
	_ = client(e, at.id, at.token).Events(ctx, "cert-at", "", "", func(*apiclient.Event) error { cancel(); return nil })
	for what, want := range map[string]func(a *exchange.AuditEntry) bool{
		"read": func(a *exchange.AuditEntry) bool {
			return a.Member == "cert-at" && a.Channel == exchange.ChannelTAXII && a.Count > 4 && a.From == "127.0.0.1"
		},
		"read ": func(a *exchange.AuditEntry) bool {
			return a.Member == "cert-at" && a.Channel == exchange.ChannelEvents && a.Count > 4
		},
		"published": func(a *exchange.AuditEntry) bool {
			return a.Member == exchange.Admin && a.Feed == "rustock" && a.Count == 2
		},
		"withheld": func(a *exchange.AuditEntry) bool {
			return a.Collection == "isp-one" && a.Count == 1 && a.Detail == "above-ceiling"
		},
		"asked":         func(a *exchange.AuditEntry) bool { return a.Member == exchange.Admin && a.Detail == "GET /v1/explain" },
		"asked ":        func(a *exchange.AuditEntry) bool { return a.Detail == "GET /v1/register" },
		"asked  ":       func(a *exchange.AuditEntry) bool { return a.Detail == "GET /v1/audit/given" },
		"asked   ":      func(a *exchange.AuditEntry) bool { return a.Detail == "GET /v1/quarantine" },
		"refused":       func(a *exchange.AuditEntry) bool { return a.Member == "isp-one" && a.Collection == "cert-at" },
		"refused ":      func(a *exchange.AuditEntry) bool { return a.Member == "cert-at" && a.Detail == "GET /v1/audit" },
		"failed-login":  func(a *exchange.AuditEntry) bool { return a.Member == "cert-at" },
		"failed-login ": func(a *exchange.AuditEntry) bool { return a.Member == "" },
		"register": func(a *exchange.AuditEntry) bool {
			return a.Member == exchange.Admin && strings.Contains(a.Detail, "collection more")
		},
		"quarantined": func(a *exchange.AuditEntry) bool {
			return a.Member == "cert-at" && a.Collection == "mid" && strings.Contains(a.Detail, "acac")
		},
		"withdrawn": func(a *exchange.AuditEntry) bool { return a.Collection == "low" && strings.Contains(a.Detail, "AMBER") },
		"posted": func(a *exchange.AuditEntry) bool {
			return a.Member == "cert-at" && a.Collection == "low" && a.Count == 1
		},
	} {
		audited(t, e, func(a *exchange.AuditEntry) bool { return string(a.Action) == strings.TrimSpace(what) && want(a) })
	}
	_, _, text := e.Do(t, "GET", "/v1/audit?member=cert-at&action=read&since="+began.UTC().Format(time.RFC3339), admin.id, admin.token, "")
	var got api.Audit
	if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Entries) < 2 ||
		slices.ContainsFunc(got.Entries, func(a exchange.AuditEntry) bool { return a.Member != "cert-at" || a.Action != exchange.AuditRead }) {
		t.Error(text)
	}
	if strings.Contains(text, "240.1.") || strings.Contains(text, "wrong-place") {
		t.Error("the audit names a victim, or a token:", text)
	}
	if n, err := e.Journal.VerifyAudit(t.Context()); err != nil || n == 0 {
		t.Error(n, err)
	}
}

// Who has ever been given an address: journal and audit together.
func TestWhoWasGivenAnAddress(t *testing.T) {
	t.Parallel()
	e := exchangetest.Start(t, labelled)
	at, isp, dcu := as(t, e, "cert-at"), as(t, e, "isp-one"), as(t, e, "dcu")
	given := func(address string) map[string][]string {
		var list []api.Given
		_, _, text := e.Do(t, "GET", "/v1/audit/given?address="+address, exchange.Admin, e.AdminToken(), "")
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Fatal(text)
		}
		out := make(map[string][]string)
		for _, g := range list {
			out[g.Collection] = []string{}
			for _, r := range g.Readers {
				out[g.Collection] = append(out[g.Collection], r.Member+" "+string(r.Channel))
			}
			slices.Sort(out[g.Collection])
		}
		return out
	}
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.1,2026-03-19T10:00:00Z,AT,64511\n")
	for _, m := range []member{at, isp} {
		e.Do(t, "GET", "/exchange/collections/"+m.id+"/objects/", m.id, m.token, "", "Accept", taxii.MediaType)
	}
	<-time.After(5 * time.Millisecond)
	e.Publish(t, "rustock", "ip,timestamp,cc,asn\n240.1.0.9,2026-03-19T10:00:00Z,AT,64511\n")
	_, _, text := e.Do(t, "GET", "/exchange/collections/cert-at/objects/?limit=1", at.id, at.token, "", "Accept", taxii.MediaType)
	if !strings.Contains(text, "next") {
		t.Fatal(text)
	}
	e.Do(t, "GET", "/exchange/collections/feed-rustock/objects/", dcu.id, dcu.token, "", "Accept", taxii.MediaType)
	audited(t, e, func(a *exchange.AuditEntry) bool { return a.Member == "dcu" && a.Action == exchange.AuditRead })
	one, nine := given("240.1.0.1"), given("240.1.0.9")
	if !slices.Equal(one["cert-at"], []string{"cert-at taxii"}) || !slices.Equal(one["isp-one"], []string{"isp-one taxii"}) || !slices.Equal(one["feed-rustock"], []string{"dcu taxii"}) {
		t.Error(one)
	}
	if len(nine["cert-at"]) != 0 || len(nine["isp-one"]) != 0 || len(nine) != 3 {
		t.Error("who has read before it came was not given it:", nine)
	}
	at.add("mid", `{"type":"ipv4-addr","spec_version":"2.1","id":"`+stix.AddressID(netip.MustParseAddr("203.0.113.7"))+`","value":"203.0.113.7"}`)
	e.Do(t, "GET", "/exchange/collections/mid/objects/", isp.id, isp.token, "", "Accept", taxii.MediaType)
	audited(t, e, func(a *exchange.AuditEntry) bool { return a.Member == "isp-one" && a.Collection == "mid" })
	if got := given("203.0.113.7"); !slices.Equal(got["mid"], []string{"isp-one taxii"}) {
		t.Error("what members add:", got)
	}
	if len(given("240.1.0.77")) != 0 {
		t.Error("nobody was given what was never seen")
	}
}
