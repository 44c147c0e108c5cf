package exchangetest_test

import (
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tocsin-exchange/tocsin/exchange"
	"github.com/tocsin-exchange/tocsin/exchange/exchangetest"
	"github.com/tocsin-exchange/tocsin/exchange/node"
	"github.com/tocsin-exchange/tocsin/stix"
	"github.com/tocsin-exchange/tocsin/taxii"
)

// After a run with values above GREEN that can be told from everything else, they are only where they may
// be: with those who may have them, and in the data directory. Tokens are nowhere.
func TestCanariesStayWhereTheyMayBe(t *testing.T) {
	outside := t.TempDir() // all that is written beside the data directory
	t.Setenv("TMPDIR", outside)
	t.Setenv("HOME", outside)
	var log exchangetest.Buffer
	dir := t.TempDir()
	e := exchangetest.OpenWith(t, node.Options{
		Dir: dir, HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Metrics: "127.0.0.1:0",
		Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelInfo})),
	})
	e.Apply(t, labelled)
	at, pl, isp, dcu := as(t, e, "cert-at"), as(t, e, "cert-pl"), as(t, e, "isp-one"), as(t, e, "dcu")
	const victim, hostname, secret = "240.77.66.55", "canary-host.example", "canary-text-of-a-report"
	canaries := []string{victim, hostname, secret, "canary-pattern", stix.AddressID(netip.MustParseAddr(victim)), "canary-malware", "canary-label"}
	// The operator and those who may have them.
	e.Publish(t, "rustock", "ip,timestamp,cc,hostname,malware,tlp\n"+victim+",2026-03-19T10:00:00Z,AT,"+hostname+",canary-malware,amber\n")
	e.Publish(t, "rustock", "ip,timestamp,cc,hostname,malware,tlp\n"+victim+",2026-03-19T11:00:00Z,AT,"+hostname+",canary-malware,red\n")
	at.add("mid", sample(1, version1, amber+`,"description":"`+secret+`"`))
	at.add("room", sample(2, version1, red+`,"description":"`+secret+`"`))
	at.add("mid", sample(3, version1, unknown+`,"description":"`+secret+`"`))
	at.add("mid", sample(6, version1, `,"labels":["tlp:canary-label"]`)) // held
	at.add("mid", `{"type":"ipv4-addr","spec_version":"2.1","id":"`+stix.AddressID(netip.MustParseAddr(victim))+`","value":"`+victim+`"}`)
	e.Do(t, "DELETE", "/exchange/collections/mid/objects/"+stix.AddressID(netip.MustParseAddr(victim))+"/", at.id, at.token, "", "Accept", taxii.MediaType)
	at.add("low", sample(4, version1, amber+`,"description":"`+secret+`"`))                        // refused
	at.add("mid", strings.Replace(sample(5, version1, amber), "[ipv4-addr", "[canary-pattern", 1)) // lint refuses
	e.Do(t, "POST", "/v1/feeds/rustock/events?format=csv", dcu.id, dcu.token, "ip,timestamp,hostname\nnot-an-address,"+hostname+",x\n"+victim+",never,"+hostname+"\n")
	e.Do(t, "POST", "/v1/feeds/rustock/events?format=jsonl", dcu.id, dcu.token, `{"ip":"`+victim+`","hostname":"`+hostname)
	e.Do(t, "POST", "/v1/clean", at.id, at.token, `{"hosts":[{"address":"`+victim+`"}]}`)
	e.Do(t, "GET", "/v1/explain?address="+victim+"&day=2026-03-19", at.id, at.token, "")
	if _, _, text := e.Do(t, "GET", "/exchange/collections/cert-at/objects/", at.id, at.token, "", "Accept", taxii.MediaType); !strings.Contains(text, victim) {
		t.Fatal("the one who may have it does not")
	}
	// Everybody else tries whatever there is.
	var told strings.Builder
	for _, m := range []member{pl, isp, {t, e, "", ""}, {t, e, "cert-at", "wrong"}} {
		for _, path := range []string{
			"/exchange/collections/cert-at/objects/", "/exchange/collections/cert-at/manifest/", "/exchange/collections/feed-rustock/objects/", "/exchange/collections/quarantine/objects/",
			"/exchange/collections/low/objects/", "/exchange/collections/room/objects/", "/exchange/collections/unclaimed/objects/", "/v1/collections", "/v1/members", "/v1/feeds",
			"/v1/explain?address=240.77.66.54", "/v1/collections/cert-at/withdrawn", "/v1/collections/low/withdrawn", "/v1/audit", "/v1/quarantine", "/exchange/collections/", "/metrics", "/readyz", "/healthz",
			"/exchange/collections/low/objects/" + "indicator--00000001-0000-4000-8000-000000000001/",
		} {
			_, h, text := e.Do(t, "GET", path, m.id, m.token, "", "Accept", taxii.MediaType)
			fmt.Fprintln(&told, path, h, text)
		}
		_, _, text := e.Do(t, "POST", "/exchange/collections/low/objects/", m.id, m.token, envelope(sample(1, version1, "")), "Content-Type", taxii.MediaType)
		fmt.Fprintln(&told, text)
	}
	_, _, metrics := e.Do(t, "GET", "/metrics", exchange.Admin, e.AdminToken(), "")
	audit := ""
	audited(t, e, func(a *exchange.AuditEntry) bool { return a.Action == exchange.AuditRefused })
	for range 2 { // the second has what the first did
		_, _, audit = e.Do(t, "GET", "/v1/audit", exchange.Admin, e.AdminToken(), "")
	}
	_, _, held := e.Do(t, "GET", "/v1/quarantine?all", exchange.Admin, e.AdminToken(), "")
	tokens := []string{at.token, pl.token, isp.token, dcu.token, e.AdminToken()}
	e.Stop(t)
	var files strings.Builder
	read(t, outside, &files)
	for what, text := range map[string]string{"what others are told": told.String(), "the metrics": metrics, "the log": log.String(), "files outside": files.String()} {
		for _, c := range canaries {
			if strings.Contains(text, c) {
				t.Errorf("%q is in %s", c, what)
			}
		}
	}
	if !strings.Contains(audit, string(exchange.AuditDeleted)) || !strings.Contains(audit, string(exchange.AuditQuarantined)) {
		t.Error("the audit is not there yet:", audit)
	}
	for _, c := range canaries {
		if strings.Contains(audit, c) || strings.Contains(held, c) {
			t.Errorf("%q is in the audit, or in what the operator sees of quarantine: %s %s", c, audit, held)
		}
	}
	var data strings.Builder
	read(t, dir, &data)
	for i, token := range tokens {
		for what, text := range map[string]string{
			"what others are told": told.String(), "the metrics": metrics, "the log": log.String(), "files outside": files.String(), "the audit": audit, "the data directory": data.String(),
		} {
			if n := strings.Count(text, token); n > 0 && !(i == len(tokens)-1 && what == "the data directory" && n == 1) {
				t.Errorf("token %d is in %s", i, what)
			}
		}
	}
}

// read adds the content of all files below a directory.
func read(t *testing.T, dir string, to io.Writer) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		_, _ = fmt.Fprintln(to, path)
		_, _ = to.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
